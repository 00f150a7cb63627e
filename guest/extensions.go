package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"thaw/guest/wire"
	"thaw/runtimeapi"
)

// External extensions. Source: AWS Lambda Developer Guide, Extensions API; spec 1.2, 3.1, 6.1.4.

const (
	extensionsDir = "extensions"
	// disableFile, beside extensionsDir, takes extensions away from a function. Source:
	// aws-lambda-runtime-interface-emulator, extensions/.
	disableFile = "disable-extensions-jwigqn8j"
	// errorGrace is how long an extension that reported an error has to exit by itself; it is the runtime's, too.
	// Source: spec 1.5, 3.4.
	errorGrace = 500 * time.Millisecond
)

// Reasons of a launch that failed, as platform.extension has them. Source: spec 3.1.
const (
	permissionDenied  = "PermissionDenied"
	tooManyExtensions = "TooManyExtensions"
	unknownError      = "UnknownError"
)

// child is the process of an external extension.
type child struct {
	name string
	pid  int
	gone chan struct{} // closed when its exit was dealt with
	told sync.Once     // its failure is told once
}

// externals lists the extensions below a folder of layers: the entries that are no folders, sorted. E-003
func externals(opt string) (names []string, disabled bool, err error) {
	if opt == "" {
		return nil, false, nil
	}
	if _, err := os.Stat(filepath.Join(opt, disableFile)); err == nil { // E-095
		return nil, true, nil
	}
	entries, err := os.ReadDir(filepath.Join(opt, extensionsDir))
	if err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
		return nil, false, fmt.Errorf("extensions: %w", err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, false, nil
}

// notForExtensions are the runtime's variables that an extension does not get, beside all that begin with an underscore. E-094
var notForExtensions = []string{
	"AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS",
	"LAMBDA_RUNTIME_DIR", "LAMBDA_TASK_ROOT",
}

func extensionVars(vars []string) []string {
	return slices.DeleteFunc(slices.Clone(vars), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "_") && name != Marker || slices.Contains(notForExtensions, name)
	})
}

// launchExtensions starts all extensions, each in a process group of its own. The runtime follows when all have
// registered. E-001, E-002
func (n *generation) launchExtensions(s *wire.Start, names, vars []string, outputs []*os.File) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.killed {
		return nil
	}
	if len(names) > runtimeapi.MaxExtensions { // E-006
		return n.launchFailed(names[runtimeapi.MaxExtensions], tooManyExtensions, fmt.Sprintf("there are %d extensions; the limit is %d", len(names), runtimeapi.MaxExtensions))
	}
	for i, name := range names {
		c := &child{name: name, gone: make(chan struct{})}
		out := outputs[i]
		attr := &syscall.ProcAttr{Dir: "/", Env: vars, Files: []uintptr{n.guest.stdin.Fd(), out.Fd(), out.Fd()}, Sys: n.guest.place.birth()}
		if s.UID >= 0 {
			attr.Sys.Credential = &syscall.Credential{Uid: uint32(s.UID), Gid: uint32(s.GID)}
			syscall.Fchown(int(out.Fd()), s.UID, s.GID)
		}
		path := filepath.Join(s.Opt, extensionsDir, name)
		var err error
		c.pid = n.guest.procs.fork(func() (pid int) {
			pid, err = syscall.ForkExec(path, []string{path}, attr) // E-004
			return pid
		}, func(status syscall.WaitStatus) {
			n.guest.work.Go(func() { n.extensionExited(c, status) })
		})
		if err != nil {
			why := unknownError
			if errors.Is(err, os.ErrPermission) { // E-005
				why = permissionDenied
			}
			return n.launchFailed(name, why, "fork/exec "+path+": "+reason(err))
		}
		n.exts = append(n.exts, c)
		if err := n.api.Launched(name); err != nil {
			return err
		}
	}
	return nil
}

// launchFailed tells the server that an extension has no process, which is the end of Init.
func (n *generation) launchFailed(name, why, text string) error {
	if err := n.api.LaunchFailed(name, why); err != nil {
		return err
	}
	return n.box.send(wire.KindExited, wire.Exited{Generation: n.number, Extension: name, ErrorType: runtimeapi.ExtensionLaunchError, Code: 1, LaunchText: text}, nil)
}

// extensionExited deals with the end of an extension: outside a shutdown it is a failure, whatever its status. E-066
func (n *generation) extensionExited(c *child, status syscall.WaitStatus) {
	defer close(c.gone)
	n.mu.Lock()
	killed := n.killed
	n.mu.Unlock()
	if killed {
		return
	}
	e := wire.Exited{Generation: n.number, Extension: c.name}
	if n.killedForMemory() && n.launched() {
		return // the runtime was killed with it, and its exit says why
	}
	e.Code, e.Signal = ending(status)
	e.ErrorType = n.api.ExtensionExited(c.name, e.Code == 0)
	n.fail(c, e)
}

func (n *generation) fail(c *child, e wire.Exited) {
	c.told.Do(func() {
		n.out.finish()
		n.box.send(wire.KindExited, e, nil)
	})
}

// Condemned is runtimeapi.Host: the extension reported an error and should exit. One that does not has failed all the same.
func (n *generation) Condemned(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := &child{name: name, gone: make(chan struct{})} // an internal one has no process
	for _, x := range n.exts {
		if x.name == name {
			c = x
		}
	}
	n.guest.work.Go(func() {
		if within(errorGrace, c.gone) {
			return
		}
		n.mu.Lock()
		killed := n.killed
		n.mu.Unlock()
		if killed {
			return
		}
		n.fail(c, wire.Exited{Generation: n.number, Extension: name, ErrorType: n.api.ExtensionExited(name, true), Code: 1,
			LaunchText: "extension " + name + " reported an error and did not exit"})
	})
}
