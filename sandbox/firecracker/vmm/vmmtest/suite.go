// Package vmmtest is the suite that every monitor of machines passes. Its machines run a small agent instead of
// thaw-guest, which lets the suite look into their memory and at their disks.
package vmmtest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"thaw/sandbox/firecracker/initramfs"
	"thaw/sandbox/firecracker/vmm"
)

// Suite is what a run needs. It takes all by parameters, so that it also runs where there is no Go and no Debian.
type Suite struct {
	Monitor   vmm.Monitor
	Kernel    string // ELF file
	Initramfs string // with the agent: see Initramfs
	Args      string // of the kernel
	MemoryMiB int
	// Slot returns a new one, whole, and removes it when the test ends.
	Slot func(t testing.TB) vmm.Slot
	// Folder returns a new one for drives and snapshots, from where a monitor can use them. nil: t.TempDir.
	Folder func(t testing.TB) string
	Only   []string // the cases that are run; nil: all
	// Without names cases that the monitor cannot do, with the reason. A name that no case has is an error.
	Without map[string]string
}

// hangLimit is how long a boot may take; a machine that needs longer has got stuck, and is tried once more with
// patience. Emulated machines do that rarely. It is counted and printed.
const (
	hangLimit = time.Minute
	patience  = 2 * time.Minute
)

// Retries counts boots that were tried once more.
var Retries atomic.Int32

var cases = []struct {
	name string
	run  func(*testing.T, *Suite)
}{
	{"life", life},
	{"copies", copies},
	{"copy of a copy", copyOfACopy},
	{"place", place},
	{"drives", drives},
	{"errors", refusals},
	{"a damaged snapshot", damagedSnapshot},
	{"exit", exits},
	{"close", closes},
}

// Run runs all cases, each as a subtest.
func Run(t *testing.T, s *Suite) {
	known := make(map[string]bool)
	for _, c := range cases {
		known[c.name] = true
		if s.Only != nil && !slices.Contains(s.Only, c.name) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if why := s.Without[c.name]; why != "" {
				t.Skip(s.Monitor.Name(), "cannot do this: ", why)
			}
			c.run(t, s)
		})
	}
	for _, name := range slices.Concat(s.Only, slices.Collect(maps.Keys(s.Without))) {
		if !known[name] {
			t.Errorf("no case is named %q", name)
		}
	}
	if n := Retries.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "vmmtest: %s: %d boots hung and were tried once more\n", s.Monitor.Name(), n)
	}
}

// Initramfs builds the agent and packs it with a kernel's modules; modules is their folder, or empty.
func Initramfs(t testing.TB, modules string) string {
	t.Helper()
	dir := t.TempDir()
	agent := filepath.Join(dir, "agent")
	if programs := os.Getenv("THAW_TEST_PROGRAMS"); programs != "" { // where there is no Go to build it with
		agent = filepath.Join(programs, "agent")
	} else {
		build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", agent, "thaw/sandbox/firecracker/vmm/vmmtest/agent")
		build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build the agent: %v\n%s", err, out)
		}
	}
	path := filepath.Join(dir, "initramfs")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := initramfs.Write(f, agent, modules); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the monitor may run as somebody else
		t.Fatal(err)
	}
	return path
}

func (s *Suite) folder(t testing.TB) string {
	if s.Folder != nil {
		return s.Folder(t)
	}
	return t.TempDir()
}

func (s *Suite) config(drives ...vmm.Drive) vmm.Config {
	return vmm.Config{MemoryMiB: s.MemoryMiB, Kernel: s.Kernel, Initramfs: s.Initramfs, Args: s.Args, Drives: drives}
}

// limited is a context for whatever takes a bounded time.
func limited(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeoutCause(context.Background(), patience, fmt.Errorf("it took longer than %v", patience))
	t.Cleanup(cancel)
	return ctx
}

// open opens a machine in a slot of its own; the test's end closes it.
func (s *Suite) open(t testing.TB) *guest {
	t.Helper()
	slot := s.Slot(t)
	words := &words{}
	if slot.Console == nil {
		slot.Console = words
	}
	m, err := s.Monitor.Open(limited(t), slot)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	g := &guest{TB: t, Machine: m, slot: slot}
	t.Cleanup(func() {
		g.hangUp()
		if err := m.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if t.Failed() {
			t.Logf("the machine of slot %s said:\n%s", slot.Name, words)
		}
	})
	return g
}

// boot boots a machine to its first answer.
func (s *Suite) boot(t testing.TB, c vmm.Config) *guest {
	t.Helper()
	g := s.open(t)
	began := time.Now()
	if err := g.Boot(limited(t), c); err != nil {
		t.Fatalf("boot: %v", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), hangLimit)
	defer cancel()
	if err := g.call(ctx); err != nil {
		if ctx.Err() == nil {
			t.Fatalf("boot: %v", err)
		}
		Retries.Add(1)
		t.Logf("a boot hung for %v and is tried once more: %v", hangLimit, err)
		g.end()
		g = s.open(t)
		if err := g.Boot(limited(t), c); err != nil {
			t.Fatalf("boot: %v", err)
		}
		if err := g.call(limited(t)); err != nil {
			t.Fatalf("boot: %v", err)
		}
	}
	t.Logf("boot to the first answer: %v", time.Since(began).Round(time.Millisecond))
	return g
}

// snapshot is a saved machine.
type snapshot struct {
	config vmm.Config
	saved  vmm.Saved
}

// save saves a machine, and ends it.
func (s *Suite) save(t testing.TB, g *guest, c vmm.Config) snapshot {
	t.Helper()
	dir := s.folder(t)
	state, memory := create(t, filepath.Join(dir, "state")), create(t, filepath.Join(dir, "memory"))
	g.hangUp()
	if err := g.Pause(limited(t)); err != nil {
		t.Fatalf("pause: %v", err)
	}
	began := time.Now()
	if err := g.Snapshot(limited(t), state, memory); err != nil {
		t.Fatalf("snapshot: %v", err)
	}
	took := time.Since(began)
	g.end()
	size, err := state.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("snapshot: %v, %d bytes of state", took.Round(time.Millisecond), size)
	return snapshot{c, vmm.Saved{State: state, Memory: memory}}
}

// restore restores a machine to its first answer.
func (s *Suite) restore(t testing.TB, p snapshot) *guest {
	t.Helper()
	g := s.open(t)
	began := time.Now()
	if err := g.Restore(limited(t), p.config, p.saved); err != nil {
		t.Fatalf("restore: %v", err)
	}
	if err := g.call(limited(t)); err != nil {
		t.Fatalf("restore: %v", err)
	}
	t.Logf("restore to the first answer: %v", time.Since(began).Round(time.Millisecond))
	return g
}

func create(t testing.TB, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}
