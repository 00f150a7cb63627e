// Package childtest runs a part of a test in a process of its own: one that the test kills.
//
// The part is a test function of the same package that begins with Arg, and says by lines on its standard output how far
// it is. The process is the test binary again, so it has what the test has.
package childtest

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
)

const (
	partVar = "THAW_TEST_CHILD"
	argVar  = "THAW_TEST_CHILD_ARG"
)

// Arg is what Start was given for this part. In a process that was not started to run it, the test is skipped. The
// process ends with the one that started it, however that ends.
func Arg(t testing.TB) string {
	t.Helper()
	if os.Getenv(partVar) != t.Name() {
		t.Skip("a part of other tests")
	}
	go func() {
		io.Copy(io.Discard, os.Stdin) //nolint:errcheck // until the parent has gone
		os.Exit(1)
	}()
	return os.Getenv(argVar)
}

// Process is a child. It is killed with the test at the latest.
type Process struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  *bufio.Reader
	kill func() string
}

// Start runs a part in a process of its own, with further variables of the form NAME=VALUE.
func Start(t testing.TB, part, arg string, env ...string) *Process {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^"+part+"$", "-test.timeout=30m")
	cmd.Env = append(append(os.Environ(), partVar+"="+part, argVar+"="+arg), env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil { // closed when the child has been waited for
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &Process{t: t, cmd: cmd, out: bufio.NewReader(out)}
	p.kill = sync.OnceValue(func() string {
		cmd.Process.Kill()           //nolint:errcheck // it may have ended
		rest, _ := io.ReadAll(p.out) // until the pipe's end
		cmd.Wait()                   //nolint:errcheck // killed
		return string(rest)
	})
	t.Cleanup(func() { p.Kill() })
	return p
}

func (p *Process) PID() int { return p.cmd.Process.Pid }

// Line is the next line that the child says, without its end. The test fails when the child ends instead.
func (p *Process) Line() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("the child says %q, and then %v", line, err)
	}
	return strings.TrimSuffix(line, "\n")
}

// Says fails the test unless the next line is this one.
func (p *Process) Says(want string) {
	p.t.Helper()
	if got := p.Line(); got != want {
		p.t.Fatalf("the child says %q, want %q", got, want)
	}
}

func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// Kill ends the child by SIGKILL, waits for its end, and returns what it had said that nobody has read. It may be called
// more than once, and by any goroutine that reads no line at the time.
func (p *Process) Kill() (rest string) { return p.kill() }
