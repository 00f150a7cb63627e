package runtimes

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// need is a component that a runtime lacks here.
type need struct {
	component string
	what      string // for people: Python 3.12
	optional  bool   // functions run without it
}

// lacks lists what a runtime lacks here and a package registry has. Errors: *UnknownError; *NotInstalledError when it
// lacks what none has.
func (r *Registry) lacks(identifier, architecture string) ([]need, error) {
	f, version, known := lookup(identifier)
	if !known {
		return nil, &UnknownError{Identifier: identifier}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var wants []need
	here := false // an interpreter of the host's
	switch f {
	case nodejs:
		wants = []need{{"nodejs" + version, "Node.js " + version, false}, {nodeSDK, "AWS's SDK for JavaScript", true}}
		_, _, here = r.hostNodeLocked(version)
	case python:
		wants = []need{{"cpython" + version, "Python " + version, false}, {"python" + version, "AWS's client for Python " + version, false},
			{pythonSDK(version), "AWS's SDK for Python", true}}
		_, here = r.hostPythonLocked(version)
	case java:
		wants = []need{{"jdk" + version, "Java " + version, false}, {"java", "AWS's client for Java", false}}
		_, _, here = hostJava(version)
	case provided:
		if architecture != "" && architecture != hostArchitecture() {
			return nil, &NotInstalledError{Identifier: identifier, Missing: "a machine of architecture " + architecture}
		}
		return nil, nil
	default:
		return nil, unservedError(identifier)
	}
	var lacking []need
	for i, n := range wants {
		if _, _, ok := r.installed(n.component); ok || i == 0 && here {
			continue
		}
		if err := r.missing(identifier, n.what, n.component); err.Install != "" {
			lacking = append(lacking, n)
		} else if !n.optional {
			return nil, err
		}
	}
	return lacking, nil
}

// missing is the error for a runtime that lacks a component: what to type, or why nothing helps.
func (r *Registry) missing(identifier, what, component string) *NotInstalledError {
	e := &NotInstalledError{Identifier: identifier, Missing: what}
	c, ok := componentFor(component)
	switch {
	case !ok:
		e.Hint = "no package registry has it for this host; one that you install is found by itself: on PATH, or where " +
			"pyenv, uv, nvm, fnm, SDKMAN and distributions put it"
	case hostGlibc() < c.glibc():
		e.Missing = fmt.Sprintf("glibc 2.%d or later, for %s", c.glibc(), what)
		e.Hint = "this host has another C library"
		if hostGlibc() > 0 {
			e.Hint = fmt.Sprintf("this host has 2.%d", hostGlibc())
		}
	default:
		e.Install = r.installCommand + " " + identifier
	}
	return e
}

// debianPackages are the packages with the libraries that fetched interpreters need and a bare Debian lacks.
var debianPackages = map[string]string{"libatomic.so.1": "libatomic1", "libstdc++.so.6": "libstdc++6", "libgcc_s.so.1": "libgcc-s1", "libsqlite3.so.0": "libsqlite3-0"}

// lacksLibrary is the error for a fetched interpreter that needs a library which the host does not have; nil: it has all.
func lacksLibrary(identifier, what string, missing []string) error {
	if len(missing) == 0 {
		return nil
	}
	e := &NotInstalledError{Identifier: identifier, Missing: missing[0] + ", a library that " + what + " needs,",
		Hint: "the functions of it run when you install the package of your distribution that has it"}
	if name := debianPackages[missing[0]]; name != "" {
		e.Install = "apt-get update && apt-get install -y " + name
	}
	return e
}

// FetchError says that what a runtime lacks could not be fetched now. It is worth trying again later.
type FetchError struct {
	Identifier string
	What       string // Python 3.12
	Install    string // what to type to try at once
	Err        error
}

func (e *FetchError) Error() string {
	return fmt.Sprintf("runtime %s is not installed: %s could not be fetched: %v; it is tried again by itself, or at once by: %s", e.Identifier, e.What, e.Err, e.Install)
}

func (e *FetchError) Unwrap() error { return e.Err }

// Provide makes a runtime ready to run functions: it fetches what is lacking, unless the registry is offline, and
// returns when that is there. Callers who want the same at one time share one fetch, which ends when the last of them
// gives up. AWS's SDK is fetched, too; a runtime is ready without it.
//
// Errors: *UnknownError; *NotInstalledError when nothing can be fetched that helps; *FetchError; the context's.
func (r *Registry) Provide(ctx context.Context, identifier, architecture string) error {
	lacking, err := r.lacks(identifier, architecture)
	if err != nil {
		return err
	}
	for _, n := range lacking {
		if r.offline || n.optional && !r.due(n.component) {
			continue // what is required and lacks, Check says
		}
		if _, _, ok := r.installed(n.component); ok { // came with another function's, meanwhile
			continue
		}
		err := r.fetchOnce(ctx, n)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case n.optional:
			r.log.Warn("functions run without it until it can be fetched", "what", n.what, "runtime", identifier, "error", err)
		default:
			return &FetchError{Identifier: identifier, What: n.what, Install: r.installCommand + " " + identifier, Err: err}
		}
	}
	r.makeClient(identifier)
	return r.Check(identifier, architecture)
}

// Recoverable says whether Provide is worth calling for a runtime that failed: it is there now, or can be fetched and
// the last attempt was long enough ago.
func (r *Registry) Recoverable(identifier, architecture string) bool {
	if r.Check(identifier, architecture) == nil {
		return true
	}
	lacking, err := r.lacks(identifier, architecture)
	if err != nil || r.offline || len(lacking) == 0 {
		return false
	}
	for _, n := range lacking {
		if !n.optional && !r.due(n.component) {
			return false
		}
	}
	return true
}

// Fetching says in words what is being fetched for a runtime at this moment; empty: nothing.
func (r *Registry) Fetching(identifier string) string {
	f, version, _ := lookup(identifier)
	names := map[family][]string{
		nodejs: {"nodejs" + version, nodeSDK},
		python: {"cpython" + version, "python" + version, pythonSDK(version)},
		java:   {"jdk" + version, "java"},
	}
	r.fetchMu.Lock()
	defer r.fetchMu.Unlock()
	for _, name := range names[f] {
		if running := r.fetches[name]; running != nil {
			return running.String()
		}
	}
	return ""
}

// fetch is the installation of one component that is under way.
type fetch struct {
	what       string
	done       chan struct{} // closed when err is set
	err        error
	waiters    int // guarded by fetchMu
	cancel     context.CancelFunc
	got, total atomic.Int64 // bytes
}

func (f *fetch) String() string {
	got, total := f.got.Load(), f.total.Load()
	if total == 0 || got >= total {
		return f.what + " is being installed"
	}
	return fmt.Sprintf("%s is being fetched: %d of %d MB", f.what, got>>20, (total+1<<20-1)>>20)
}

// failure is what is remembered of attempts that failed.
type failure struct {
	attempts int
	next     time.Time // the next attempt that nobody asked for
}

// Attempts that nobody asked for are so far apart at first and at most.
const firstPause, longestPause = 15 * time.Second, 10 * time.Minute

// due says whether an attempt to fetch a component may be made that nobody asked for.
func (r *Registry) due(component string) bool {
	r.fetchMu.Lock()
	defer r.fetchMu.Unlock()
	return !time.Now().Before(r.failures[component].next)
}

// fetchOnce installs a component together with everybody who wants it now. It returns when the installation ended, or,
// after ctx ended, when this caller's part in it did.
func (r *Registry) fetchOnce(ctx context.Context, n need) error {
	r.fetchMu.Lock()
	f := r.fetches[n.component]
	if f == nil {
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		f = &fetch{what: n.what, done: make(chan struct{}), cancel: cancel}
		r.fetches[n.component] = f
		go r.runFetch(own, n, f)
	}
	f.waiters++
	r.fetchMu.Unlock()
	select {
	case <-f.done:
		return f.err
	case <-ctx.Done():
	}
	r.fetchMu.Lock()
	f.waiters--
	last := f.waiters == 0
	r.fetchMu.Unlock()
	if last {
		f.cancel()
		<-f.done
	}
	return context.Cause(ctx)
}

// runFetch ends with the last of its waiters.
func (r *Registry) runFetch(ctx context.Context, n need, f *fetch) {
	began := time.Now()
	r.log.Info("fetching", "what", n.what, "component", n.component)
	told := make(chan struct{})
	go func() {
		defer close(told)
		for tick := time.NewTicker(5 * time.Second); ; {
			select {
			case <-tick.C:
				r.log.Info("still fetching", "what", n.what, "progress", f.String())
			case <-ctx.Done():
				tick.Stop()
				return
			}
		}
	}()
	_, f.err = r.installComponent(ctx, n.component, func(string) {}, func(got, total int64) {
		f.got.Add(got)
		f.total.Add(total)
	})
	given := ctx.Err() != nil
	f.cancel()
	<-told
	r.fetchMu.Lock()
	delete(r.fetches, n.component)
	switch past := r.failures[n.component]; {
	case f.err == nil:
		delete(r.failures, n.component)
	case !given:
		pause := min(firstPause<<min(past.attempts, 10), longestPause)
		r.failures[n.component] = failure{past.attempts + 1, time.Now().Add(pause)}
	}
	r.fetchMu.Unlock()
	switch {
	case f.err == nil:
		r.log.Info("fetched", "what", n.what, "component", n.component, "seconds", time.Since(began).Seconds())
	case !given:
		r.log.Warn("not fetched", "what", n.what, "component", n.component, "error", f.err)
	}
	close(f.done)
}

// makeClient makes a Python client's folder ahead of Plan, which would compile it under the lock that every start of an
// environment needs.
func (r *Registry) makeClient(identifier string) {
	f, version, _ := lookup(identifier)
	if f != python {
		return
	}
	r.mu.Lock()
	facts, _, ok := r.pythonInterpreterLocked(version)
	wheels, _, installed := r.installed("python" + version)
	sdk := r.sdk(pythonSDK(version))
	r.mu.Unlock()
	if ok && installed {
		if _, err := r.pythonClient(facts, wheels, sdk); err != nil {
			r.log.Warn("client for Python", "runtime", identifier, "error", err) // Plan meets it again, and says so
		}
	}
}

// nodeSDK is the component with the AWS SDK for JavaScript.
const nodeSDK = "awssdk-nodejs"

// pythonSDK is the component with the AWS SDK for a version of Python: old ones have the last that supports them.
func pythonSDK(version string) string {
	if _, ok := componentFor("awssdk-python" + version); ok {
		return "awssdk-python" + version
	}
	return "awssdk-python3"
}

// sdk is the folder of an installed SDK; empty: it is not there.
func (r *Registry) sdk(component string) string {
	dir, _, ok := r.installed(component)
	if !ok {
		return ""
	}
	return dir
}

// setSDK tells of a runtime's SDK, or waits for it.
func (p *parts) setSDK(r *Registry, component, name, source string) {
	dir, c, ok := r.installed(component)
	if ok {
		p.sdk, p.sdkVersion, p.sdkSource = name, c.version(), source
	} else {
		p.awaited = dir
	}
}
