package gvisor

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/sandbox"
	"thaw/sandbox/host/making"
)

// held are the sockets, pipes and event descriptors that a process has open, by what tells one from another.
func held(t *testing.T, pid int) map[string]string {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil || len(fds) == 0 {
		t.Fatalf("descriptors of %d: %d, %v", pid, len(fds), err)
	}
	out := make(map[string]string)
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		switch {
		case err != nil: // closed meanwhile
		case strings.HasPrefix(target, "socket:"), strings.HasPrefix(target, "pipe:"):
			out[target] = filepath.Base(fd)
		case target == "anon_inode:[eventfd]":
			info, _ := os.ReadFile(filepath.Join(filepath.Dir(filepath.Dir(fd)), "fdinfo", filepath.Base(fd)))
			if _, id, ok := strings.Cut(string(info), "eventfd-id:"); ok {
				id, _, _ = strings.Cut(id, "\n")
				out["eventfd:"+strings.TrimSpace(id)] = filepath.Base(fd)
			}
		}
	}
	return out
}

// The launcher's connections to its sandboxes come from a library that does not mark them close-on-exec.
func TestASandboxHoldsNothingOfTheLauncher(t *testing.T) {
	b := open(t, nil)
	var boxes []*Sandbox
	for i := range 4 {
		g := create(t, b, sandbox.Spec{ID: sandbox.ID(fmt.Sprintf("strays-%d", i))})
		boxes = append(boxes, g.Sandbox.(*Sandbox))
	}
	launcher := held(t, b.launch.PID())
	if len(launcher) < len(boxes) {
		t.Fatalf("the launcher has only %v: this test sees nothing", launcher)
	}
	owner := make(map[string]int) // what a sandbox holds -> its index
	for i, s := range boxes {
		for _, pid := range s.PIDs() {
			for what, fd := range held(t, pid) {
				if at, ok := launcher[what]; ok {
					t.Errorf("sandbox %d, process %d: descriptor %s is the launcher's %s, %s", i, pid, fd, at, what)
				}
				if other, ok := owner[what]; ok && other != i {
					t.Errorf("sandboxes %d and %d both hold %s", other, i, what)
				}
				owner[what] = i
			}
		}
	}
}

// Sandboxes that are gone leave no descriptor open in a launcher that is at rest. (Go's descriptors of their processes
// stayed until its collector ran, up to two minutes later.)
func TestTheLauncherClosesWhatItHeldOfASandbox(t *testing.T) {
	b := open(t, func(o *Options) { o.Blank = -1 })
	rest := func(round string) (n int) {
		for i := range 4 {
			create(t, b, sandbox.Spec{ID: sandbox.ID(fmt.Sprintf("%s-%d", round, i))}).Close()
		}
		for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", b.launch.PID()))
			if err != nil || len(fds) == 0 {
				t.Fatalf("descriptors of the launcher: %d, %v", len(fds), err)
			}
			ofProcesses := 0
			for _, fd := range fds {
				if target, _ := os.Readlink(fd); target == "anon_inode:[pidfd]" {
					ofProcesses++
				}
			}
			if ofProcesses == 0 {
				return len(fds)
			}
			if time.Now().After(end) {
				t.Fatalf("the launcher still has %d descriptors of processes", ofProcesses)
			}
		}
	}
	before := rest("first") // what is opened once and kept
	if after := rest("second"); after > before {
		t.Errorf("the launcher had %d descriptors, and after four sandboxes more %d", before, after)
	}
}

// What gVisor's own processes say before they end is all that can be known of a failed start.
func TestAFailedStartSaysWhy(t *testing.T) {
	b := open(t, nil)
	spoil := step{"spoil", func(s *Sandbox, _ context.Context) error {
		path := filepath.Join(s.dir, "config.json")
		spec, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, bytes.ReplaceAll(spec, []byte("CAP_SYS_TIME"), []byte("CAP_UNKNOWN")), 0o600)
	}, nil}
	s, err := b.makeSandbox(t.Context(), making.NewClock(), false, slices.Insert(slices.Clone(blankSteps), 1, spoil))
	if err == nil {
		s.Close()
		t.Fatal("it started")
	}
	if !strings.Contains(err.Error(), "getting root credentials") {
		t.Errorf("the error does not say what gVisor said: %v", err)
	}
}
