package guest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"thaw/guest/wire"
	"thaw/runtimeapi"
)

// Marker is a variable that a server without process namespaces gives its guests, and they to all that they start, so that nothing
// is lost when a guest is killed. Its value names the sandbox.
const Marker = "_THAW_SANDBOX"

// logFD is the number of the framed log descriptor in the runtime, as recorded from the service.
const logFD = 62

// apiFD is the number of the connected socket in a runtime that takes one (wire.Start.APISocket). Node marks its first sixteen descriptors so that its
// children do not inherit them.
const apiFD = 15

// apiSocketVar tells the client of it. The inode is how the client knows that a wrapper has not put something else there.
func apiSocketVar(f *os.File) string {
	var st syscall.Stat_t
	syscall.Fstat(int(f.Fd()), &st)
	return fmt.Sprintf("_THAW_RUNTIME_API_FD=%d:%d", apiFD, st.Ino)
}

// launchError is why a runtime never ran, in AWS's words, and what the kernel said, where it did.
type launchError struct {
	errorType, text string
	err             error
}

func (e *launchError) Unwrap() error { return e.err }

// starved says whether a process could not be started for want of what the sandbox and its host give: memory,
// processes, descriptors, files that can be read. Whatever else the kernel answers is about the function: what it wants
// run is not there, or cannot be run.
func starved(err error) bool {
	var errno syscall.Errno
	if !errors.As(err, &errno) {
		return false
	}
	switch errno {
	case syscall.ENOMEM, syscall.EAGAIN, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.EIO:
		return true
	}
	return false
}

func (e *launchError) Error() string { return e.errorType + ": " + e.text }

// command finds out what to run: the host's argv, or the first candidate that exists and is no folder. Whether it can be executed shows
// when it is. Source: AWS Lambda Developer Guide, OS-only runtimes; aws-lambda-runtime-interface-emulator, rapidcore/sandbox_builder.go.
func command(s *wire.Start) ([]string, error) {
	if len(s.Argv) > 0 {
		return s.Argv, nil
	}
	var unread error
	for _, path := range s.Candidates {
		info, err := os.Stat(path)
		if err == nil && !info.IsDir() {
			return []string{path}, nil
		}
		if starved(err) {
			unread = err
		}
	}
	return nil, &launchError{runtimeapi.RuntimeInvalidEntrypoint, "Couldn't find valid bootstrap(s): [" + strings.Join(s.Candidates, " ") + "]", unread}
}

// wrap puts AWS_LAMBDA_EXEC_WRAPPER in front of a managed runtime's command. On the service the runtime's own bootstrap script does it,
// with the shell's exec: so a missing wrapper is exit status 127 and one that cannot be executed is 126, and what is no
// binary and names no interpreter is a script of the shell. OS-only runtimes (found by Candidates) have no such script and get the variable only.
func wrap(s *wire.Start, argv []string) []string {
	if wrapper := variable(s.Vars, "AWS_LAMBDA_EXEC_WRAPPER"); wrapper != "" && len(s.Argv) > 0 {
		return append([]string{wrapper}, argv...)
	}
	return argv
}

func variable(vars []string, name string) string {
	value := ""
	for _, v := range vars {
		if k, rest, ok := strings.Cut(v, "="); ok && k == name {
			value = rest
		}
	}
	return value
}

// environment is what the runtime gets: the host's variables and what only the guest knows.
func environment(s *wire.Start, api, token string) []string {
	vars := append(make([]string, 0, len(s.Vars)+4), s.Vars...)
	vars = append(vars, "AWS_LAMBDA_RUNTIME_API="+api)
	if s.SnapStart {
		vars = append(vars, "AWS_CONTAINER_CREDENTIALS_FULL_URI=http://"+api+"/2021-04-23/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN="+token)
	}
	if mark, ok := os.LookupEnv(Marker); ok {
		vars = append(vars, Marker+"="+mark)
	}
	if s.LogFrames {
		vars = append(vars, "_LAMBDA_TELEMETRY_LOG_FD="+strconv.Itoa(logFD))
	}
	return vars
}

// limits sets the guest's own limits, which the runtime inherits: between fork and exec there is no place for it.
func limits(s *wire.Start) error {
	for _, l := range []struct {
		name  string
		which int
		value uint64
	}{{"RLIMIT_NOFILE", unix.RLIMIT_NOFILE, s.NoFile}, {"RLIMIT_NPROC", unix.RLIMIT_NPROC, s.NProc}} {
		if l.value == 0 {
			continue
		}
		if err := syscall.Setrlimit(l.which, &syscall.Rlimit{Cur: l.value, Max: l.value}); err != nil {
			return fmt.Errorf("%s of %d: %w", l.name, l.value, err)
		}
	}
	return nil
}

// placeBy hands the secret to the sandbox's kernel from which it places the memory of all that is started from now on.
func placeBy(secret []byte) error {
	if len(secret) != wire.LayoutBytes {
		return fmt.Errorf("layout of %d bytes", len(secret))
	}
	if _, _, errno := syscall.Syscall(unix.SYS_PRCTL, wire.PrctlLayout, uintptr(unsafe.Pointer(&secret[0])), wire.LayoutBytes); errno != 0 {
		return fmt.Errorf("layout: %w", errno)
	}
	return nil
}

// launched is what came of a launch: a process, or an exit status that a shell would have given, with the line it would have written.
type launched struct {
	pid    int
	status int
	line   string
	err    error // what the kernel said
}

// launch starts the runtime in a process group of its own. files are stdin, stdout, stderr and perhaps the framed log descriptor; api is a
// connection to the Runtime API, or nil.
func launch(s *wire.Start, place Place, vars []string, files []*os.File, api *os.File) (launched, error) {
	argv, err := command(s)
	if err != nil {
		return launched{}, err
	}
	if info, err := os.Stat(s.Dir); err != nil || !info.IsDir() {
		if err == nil {
			err = syscall.ENOTDIR
		}
		return launched{}, &launchError{runtimeapi.RuntimeInvalidWorkingDir, "chdir " + s.Dir + ": " + reason(err), err}
	}
	attr := &syscall.ProcAttr{Dir: s.Dir, Env: vars, Sys: place.birth()}
	for _, f := range files[:3] {
		attr.Files = append(attr.Files, f.Fd())
	}
	at := func(fd int, f *os.File) {
		for len(attr.Files) < fd {
			attr.Files = append(attr.Files, ^uintptr(0))
		}
		attr.Files = append(attr.Files, f.Fd())
	}
	if api != nil {
		at(apiFD, api)
	}
	if len(files) > 3 {
		at(logFD, files[3])
	}
	if s.UID >= 0 {
		attr.Sys.Credential = &syscall.Credential{Uid: uint32(s.UID), Gid: uint32(s.GID)}
		for _, f := range files[1:] {
			// So that /dev/stdout and /dev/stderr can be opened by the runtime.
			syscall.Fchown(int(f.Fd()), s.UID, s.GID)
		}
	}
	wrapped := wrap(s, argv)
	pid, err := syscall.ForkExec(wrapped[0], wrapped, attr)
	if err == nil {
		return launched{pid: pid}, nil
	}
	if len(wrapped) == len(argv) {
		return launched{}, &launchError{runtimeapi.RuntimeInvalidEntrypoint, "fork/exec " + argv[0] + ": " + reason(err), err}
	}
	switch {
	case errors.Is(err, syscall.ENOENT), errors.Is(err, syscall.ENOTDIR):
		return launched{status: 127, line: wrapped[0] + ": No such file or directory"}, nil
	case errors.Is(err, syscall.ENOEXEC):
		if pid, err = syscall.ForkExec("/bin/sh", append([]string{"/bin/sh"}, wrapped...), attr); err == nil {
			return launched{pid: pid}, nil
		}
	}
	return launched{status: 126, line: wrapped[0] + ": " + reason(err), err: err}, nil
}

// reason is an error without the operation and the path in front.
func reason(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return err.Error()
}
