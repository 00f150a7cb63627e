package runtimes

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Options of Open.
type Options struct {
	Dir string       // folder for what Install fetches and for our own clients; made when missing
	Log *slog.Logger // nil: silent
	// Offline says that Provide fetches nothing. Install does.
	Offline bool
	// InstallCommand is what errors tell people to type in front of a runtime's name; empty: "thaw runtime install".
	InstallCommand string
}

// Registry answers for all runtimes of this host. Its methods may be called from any goroutine.
type Registry struct {
	dir            string
	log            *slog.Logger
	offline        bool
	installCommand string
	restsFor       time.Duration // the constant, but in tests

	reading sync.Mutex // who reads a folder in the background
	making  sync.Map   // folder -> *sync.Mutex: one makes it at a time
	sums    sync.Map   // folder -> verdict, for those that were looked at

	mu     sync.Mutex
	plans  map[string]plannedAt // by identifier
	probes map[string]probed    // by path of an interpreter

	fetchMu  sync.Mutex
	fetches  map[string]*fetch  // under way, by component
	failures map[string]failure // by component
}

// plannedAt is a plan together with the state of the files it was made from.
type plannedAt struct {
	plan  Plan
	parts parts
	state string
}

// Open returns the registry of a folder, which it makes when it is missing. Nothing is fetched.
func Open(o Options) (*Registry, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("runtimes folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("runtimes folder: %w", err)
	}
	if err := sweep(dir); err != nil {
		return nil, err
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Registry{dir: dir, log: log, offline: o.Offline, installCommand: firstOf(o.InstallCommand, "thaw runtime install"), restsFor: restsFor,
		plans: map[string]plannedAt{}, probes: map[string]probed{}, fetches: map[string]*fetch{}, failures: map[string]failure{}}, nil
}

// abandoned is the age at which a half-made folder can only be that of a process that was killed: the longest installation takes minutes.
const abandoned = 6 * time.Hour

// sweep removes what killed processes left half-made.
func sweep(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, ".tmp-*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > abandoned {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("sweep %s: %w", filepath.Base(path), err)
			}
		}
	}
	return nil
}

// Dir is the folder that the registry was opened with.
func (r *Registry) Dir() string { return r.dir }

// Check says whether functions of this runtime and architecture can run here: nil, *NotInstalledError or *UnknownError.
func (r *Registry) Check(identifier, architecture string) error {
	_, err := r.Plan(identifier, architecture)
	return err
}

// Plan says how to run functions of a runtime. architecture is x86_64 or arm64, empty for this host's.
//
// Managed runtimes run on this host's interpreter whatever the function's architecture: their code is text or bytecode, and the API's
// default (x86_64) would otherwise shut out every arm64 host. OS-only functions are machine code and are refused.
//
// Errors: *UnknownError when the API knows no such identifier, *NotInstalledError when it cannot run here now.
func (r *Registry) Plan(identifier, architecture string) (Plan, error) {
	f, version, known := lookup(identifier)
	if !known {
		return Plan{}, &UnknownError{Identifier: identifier}
	}
	if f == provided && architecture != "" && architecture != hostArchitecture() {
		return Plan{}, &NotInstalledError{Identifier: identifier, Missing: "a machine of architecture " + architecture}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if p, ok := r.plans[identifier]; ok && stateOf(p.parts.watched()) == p.state {
		return p.plan, nil
	}
	parts, err := r.partsLocked(identifier, f, version)
	if err != nil {
		delete(r.plans, identifier)
		return Plan{}, err
	}
	if parts.plan.Mounts, err = r.addLocales(parts.plan.Mounts); err != nil {
		return Plan{}, err
	}
	state := stateOf(parts.watched())
	plan := parts.plan
	plan.Identity = identity(parts, state)
	r.plans[identifier] = plannedAt{plan, parts, state}
	return plan, nil
}

// parts is a plan in the making, with what Ls tells about it.
type parts struct {
	plan Plan

	interpreter        string // host path; empty for OS-only runtimes
	interpreterVersion string
	interpreterSource  string // host, or the registry it came from
	client             string // name of the client
	clientVersion      string
	clientSource       string
	sdk                string // name of AWS's SDK; empty: none
	sdkVersion         string
	sdkSource          string
	libraries          []string // host paths of every shared library that the interpreter needs
	awaited            string   // host path of what will be part of the plan when it is there; empty: nothing
}

// watched are the host paths whose change makes another plan: the interpreter, its libraries, and each mounted file or folder.
// A package manager replaces a file by renaming, which also changes the folder's time, so folders need not be walked.
func (p parts) watched() []string {
	var out []string
	if p.interpreter != "" {
		out = append(out, p.interpreter)
	}
	out = append(out, p.libraries...)
	if p.awaited != "" {
		out = append(out, p.awaited)
	}
	for _, m := range p.plan.Mounts {
		out = append(out, m.Source)
	}
	return out
}

func (r *Registry) partsLocked(identifier string, f family, version string) (parts, error) {
	switch f {
	case nodejs:
		return r.nodeLocked(identifier, version)
	case python:
		return r.pythonLocked(identifier, version)
	case java:
		return r.javaLocked(identifier, version)
	case provided:
		return r.providedLocked(identifier)
	}
	return parts{}, unservedError(identifier)
}

// unservedError is for identifiers that nothing here serves.
func unservedError(identifier string) *NotInstalledError {
	name := strings.TrimRight(identifier, "0123456789.x")
	e := &NotInstalledError{Identifier: identifier, Missing: "support for " + name}
	if strings.HasPrefix(name, "ruby") || strings.HasPrefix(name, "dotnet") {
		e.Hint = "it comes with container images, which this server does not have yet; until then such code runs under provided.al2023, with a bootstrap"
	}
	return e
}

// Row is what is known of one runtime identifier.
type Row struct {
	Identifier         string `json:"identifier"`
	Ready              bool   `json:"ready"`
	Interpreter        string `json:"interpreter,omitempty"` // host path
	InterpreterVersion string `json:"interpreterVersion,omitempty"`
	InterpreterSource  string `json:"interpreterSource,omitempty"` // host, npm
	Client             string `json:"client,omitempty"`
	ClientVersion      string `json:"clientVersion,omitempty"`
	ClientSource       string `json:"clientSource,omitempty"` // thaw, PyPI, Maven Central, function
	SDK                string `json:"sdk,omitempty"`
	SDKVersion         string `json:"sdkVersion,omitempty"`
	SDKSource          string `json:"sdkSource,omitempty"` // npm, PyPI
	Missing            string `json:"missing,omitempty"`
	Install            string `json:"install,omitempty"`   // what to type
	Hint               string `json:"hint,omitempty"`      // what helps where nothing can be typed
	Fetchable          bool   `json:"fetchable,omitempty"` // all that is missing comes by itself with the first function that needs it
	// Fetches is what comes then, for people: Python 3.14, AWS's client for Python 3.14 ...
	Fetches []string `json:"fetches,omitempty"`
}

// Ls tells for every identifier of the API, in the order of the API, what serves it or what to type. It may take a moment
// the first time: interpreters are asked for their versions.
func (r *Registry) Ls() []Row {
	rows := make([]Row, 0, len(identifiers))
	for _, id := range identifiers {
		row := Row{Identifier: id}
		err := r.Check(id, "")
		r.mu.Lock()
		p, ok := r.plans[id]
		r.mu.Unlock()
		if err == nil && ok {
			p := p.parts
			row.Ready = true
			row.Interpreter, row.InterpreterVersion, row.InterpreterSource = p.interpreter, p.interpreterVersion, p.interpreterSource
			row.Client, row.ClientVersion, row.ClientSource = p.client, p.clientVersion, p.clientSource
			row.SDK, row.SDKVersion, row.SDKSource = p.sdk, p.sdkVersion, p.sdkSource
		}
		if missing, ok := err.(*NotInstalledError); ok {
			row.Missing, row.Install, row.Hint = missing.Missing, missing.Install, missing.Hint
			if lacking, err := r.lacks(id, ""); err == nil {
				for _, n := range lacking {
					row.Fetches = append(row.Fetches, n.what)
					row.Fetchable = row.Fetchable || !n.optional
				}
			}
		} else if err != nil {
			row.Missing = err.Error()
		}
		rows = append(rows, row)
	}
	return rows
}

// installed is the host folder of an installed component.
func (r *Registry) installed(name string) (dir string, c component, ok bool) {
	c, ok = componentFor(name)
	if !ok {
		return "", c, false
	}
	dir = filepath.Join(r.dir, c.folder())
	return dir, c, r.whole(dir)
}
