package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"thaw/internal/outer"
)

// lane is a group of tests and where they run.
type lane struct {
	name    string
	groups  []group
	kind    outer.Kind    // of the outer machine; empty: this host
	prepare func(*inside) // says what the machine has
}

// group is what one go test runs of a lane.
type group struct {
	packages []string
	tests    []string // names, where the lane runs some tests of a package alone
	skip     []string // names
	heart    string   // a pattern of the tests that run where not all are asked for; empty: all
}

// inside is what a lane puts into its machine.
type inside struct {
	ctx   context.Context
	dir   string   // of files that are made for the lane, and go with it
	flags []string // of the program outer
	err   error    // the first; a *missingError: the lane cannot run here
}

// allVar has suites run all of what they make smaller where machines are slow (sandboxtest.AllVar).
const allVar = "THAW_TEST_ALL"

// limit bounds one package of a lane. All cases of a suite take long where one emulated processor emulates another.
func limit(whole bool) time.Duration {
	if whole {
		return time.Hour
	}
	return 20 * time.Minute
}

// memoryMiB is what an outer machine has. Among all cases of a suite are twenty sandboxes at once.
func memoryMiB(whole bool) int {
	if whole {
		return 8192
	}
	return 3072
}

// endLimit bounds how long go test may take to end what it has started.
const endLimit = 20 * time.Second

func (l lane) run(ctx context.Context, flags []string, whole bool, r *results) error {
	in := &inside{}
	if l.kind != "" {
		var err error
		if in, err = l.machine(ctx, whole); err != nil {
			return err
		}
		defer os.RemoveAll(in.dir)
	}
	var errs error
	for _, g := range l.groups {
		args := []string{"test", "-json", "-vet=off", "-count=1", "-p", "1", "-timeout", limit(whole).String()}
		if len(g.tests) > 0 {
			args = append(args, "-run", pattern(g.tests))
		} else if g.heart != "" && !whole {
			args = append(args, "-run", g.heart, "-short")
		}
		if len(g.skip) > 0 {
			args = append(args, "-skip", pattern(g.skip))
		}
		if l.kind != "" {
			args = append(args, "-exec", strings.Join(in.flags, " "))
		} else {
			args = append(args, flags...)
		}
		if err := r.run(ctx, append(args, g.packages...), l.kind != ""); err != nil {
			errs = errors.Join(errs, err)
		}
	}
	if l.kind != "" {
		r.table()
	}
	return errs
}

// pattern is the regular expression of go test for these names.
func pattern(names []string) string { return "^(" + strings.Join(names, "|") + ")$" }

// run runs go test and takes its results.
func (r *results) run(ctx context.Context, args []string, static bool) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Stderr = r.out
	// go test ends without ending what it has started: so all of it is one group. It ends with this process, too.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = endLimit
	if static {
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
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// machine makes what an outer machine needs, and the command that starts it.
func (l lane) machine(ctx context.Context, whole bool) (*inside, error) {
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
	in.flags = []string{in.build("./internal/outer/run"), "-machine", string(l.kind), "-limit", limit(whole).String(), "-memory", strconv.Itoa(memoryMiB(whole)), "-var", allVar}
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
