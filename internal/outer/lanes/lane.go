package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"thaw/internal/outer"
)

// lane is a group of tests and where they run.
type lane struct {
	name     string
	packages []string
	args     []string      // of go test
	kind     outer.Kind    // of the outer machine; empty: this host
	prepare  func(*inside) // says what the machine has
}

// inside is what a lane puts into its machine.
type inside struct {
	ctx   context.Context
	dir   string   // of files that are made for the lane, and go with it
	flags []string // of the program outer
	err   error    // the first; a *missingError: the lane cannot run here
}

// endLimit bounds how long go test may take to end what it has started.
const endLimit = 20 * time.Second

func (l lane) run(ctx context.Context, flags []string, r *results) error {
	args := append([]string{"test", "-json", "-vet=off", "-count=1"}, l.args...)
	if l.kind == "" {
		args = append(args, flags...)
	} else {
		in, err := l.machine(ctx)
		if err != nil {
			return err
		}
		defer os.RemoveAll(in.dir)
		args = append(args, "-p", "1", "-exec", strings.Join(in.flags, " "))
	}
	cmd := exec.CommandContext(ctx, "go", append(args, l.packages...)...)
	cmd.Stderr = r.out
	// go test ends without ending what it has started: so all of it is one group. It ends with this process, too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = endLimit
	if l.kind != "" {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = r.read(out)
	if werr := cmd.Wait(); werr != nil && !r.failed() {
		err = errors.Join(err, werr)
	}
	if l.kind != "" {
		r.table()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// machine makes what an outer machine needs, and the command that starts it.
func (l lane) machine(ctx context.Context) (*inside, error) {
	if err := outer.Missing(); err != nil {
		return nil, &missingError{strings.ReplaceAll(err.Error(), "\n", ", ")}
	}
	if _, err := outer.Find(ctx, l.kind, 0); err != nil {
		return nil, &missingError{err.Error()}
	}
	dir, err := os.MkdirTemp("", "thaw-lane-")
	if err != nil {
		return nil, err
	}
	in := &inside{ctx: ctx, dir: dir}
	in.flags = []string{in.build("./internal/outer/run"), "-machine", string(l.kind)}
	l.prepare(in)
	if in.err != nil {
		os.RemoveAll(dir)
	}
	return in, in.err
}

func (in *inside) fail(err error) {
	if in.err == nil {
		in.err = err
	}
}

// build compiles a program of this tree, static, and returns its path.
func (in *inside) build(pkg string) string {
	exe := filepath.Join(in.dir, filepath.Base(pkg))
	if in.err != nil {
		return exe
	}
	cmd := exec.CommandContext(in.ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", exe, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		in.fail(fmt.Errorf("build %s: %w\n%s", pkg, err, out))
	}
	return exe
}

// file puts a file or folder of this host into the machine.
func (in *inside) file(here, there string) {
	here, err := filepath.Abs(here) // the program starts in the folder of a package
	if err != nil {
		in.fail(err)
	}
	in.flags = append(in.flags, "-file", here+"="+there)
}

// program puts a command in, with its libraries, if this host has it.
func (in *inside) program(command string) {
	if _, err := exec.LookPath(command); err == nil {
		in.flags = append(in.flags, "-program", command)
	}
}
