package gvisor

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/sandbox"
	"thaw/sandbox/host/cgroup"
)

// unusable holds that a sandbox whose freeze or thaw came to an unknown end refuses every other, and closes without
// leaving anything.
func unusable(t *testing.T, g *guestOf, why string) {
	t.Helper()
	for _, change := range []func() error{g.Thaw, g.Freeze, g.Thaw} {
		if err := change(); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("a later change says %v, want %q in it", err, why)
		}
	}
	pids := g.PIDs()
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	for _, pid := range pids {
		if unix.Kill(pid, 0) == nil {
			t.Errorf("process %d outlives its sandbox", pid)
		}
	}
}

func TestAControlConnectionThatBreaks(t *testing.T) {
	b := open(t, nil)
	t.Run("while the sandbox is frozen", func(t *testing.T) {
		g := create(t, b, sandbox.Spec{ID: "frozen"})
		if err := g.Freeze(); err != nil {
			t.Fatal(err)
		}
		g.Sandbox.(*Sandbox).control.conn.Close()
		if err := g.Thaw(); err == nil {
			t.Error("a thaw without its control connection succeeds")
		}
		unusable(t, g, "control")
	})
	t.Run("while the sandbox runs", func(t *testing.T) {
		g := create(t, b, sandbox.Spec{ID: "running"})
		if err := g.Freeze(); err != nil {
			t.Fatal(err)
		}
		if err := g.Thaw(); err != nil {
			t.Fatal(err)
		}
		g.Sandbox.(*Sandbox).control.conn.Close()
		if err := g.Freeze(); err == nil {
			t.Error("a freeze without its control connection succeeds")
		}
		unusable(t, g, "control")
	})
}

// A sandbox whose kernel hangs: the freeze ends at its limit, and what the kernel answers later is taken for nothing.
func TestAKernelThatDoesNotAnswer(t *testing.T) {
	g := create(t, open(t, nil), sandbox.Spec{})
	pid := g.Sandbox.(*Sandbox).pid
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waitStopped(t, pid)
	if err := g.Freeze(); err == nil || !strings.Contains(err.Error(), "Pause") {
		t.Errorf("a freeze that is not answered says %v", err)
	}
	if err := unix.Kill(pid, unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	unusable(t, g, "Pause")
}

// waitStopped waits until every thread of a process has stopped: the signal is on its way when kill returns.
func waitStopped(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		running := 0
		for _, path := range stats {
			text, _ := os.ReadFile(path) // a thread that is gone runs no more
			if _, after, ok := strings.Cut(string(text), ") "); ok && !strings.HasPrefix(after, "T") {
				running++
			}
		}
		if len(stats) > 0 && running == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d threads of process %d have not stopped", running, len(stats), pid)
		}
	}
}

// A freeze that fails half-way, after gVisor has stopped its tasks, is undone: the sandbox runs as before.
func TestAFreezeThatFailsHalfWay(t *testing.T) {
	g := create(t, open(t, nil), sandbox.Spec{})
	g.must("spin 2")
	s := g.Sandbox.(*Sandbox)
	real := s.freezer
	failing := func(undo error) func(bool, <-chan struct{}) error {
		return func(want bool, closing <-chan struct{}) error {
			if !want {
				return errors.Join(real(false, closing), undo)
			}
			return errors.Join(real(true, closing), cgroup.ErrFreezeLate)
		}
	}
	for range 3 {
		s.freezer = failing(nil)
		if err := g.Freeze(); !errors.Is(err, cgroup.ErrFreezeLate) {
			t.Fatalf("the freeze says %v", err)
		}
		g.must("clock") // it runs
		s.freezer = real
		if err := g.Freeze(); err != nil {
			t.Fatal(err)
		}
		if err := g.Thaw(); err != nil {
			t.Fatal(err)
		}
		g.must("clock")
	}
	s.freezer = failing(errors.New("the freezer is gone"))
	if err := g.Freeze(); err == nil {
		t.Error("a freeze whose undo fails succeeds")
	}
	unusable(t, g, "the freezer is gone")
}
