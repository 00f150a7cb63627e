package vmmtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"thaw/guest/control"
	"thaw/sandbox/firecracker/vmm"
)

// refusals: what cannot be is an error that names it, and can be closed.
func refusals(t *testing.T, s *Suite) {
	dir := s.folder(t)
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no kernel\n", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	nowhere := filepath.Join(dir, "nowhere")
	for _, c := range []struct {
		name   string
		change func(*vmm.Config)
	}{
		{"kernel that is missing", func(c *vmm.Config) { c.Kernel = nowhere }},
		{"kernel that is none", func(c *vmm.Config) { c.Kernel = text }},
		{"initramfs that is missing", func(c *vmm.Config) { c.Initramfs = nowhere }},
		{"drive that is missing", func(c *vmm.Config) { c.Drives = []vmm.Drive{{Path: nowhere}} }},
		{"drive that is a folder", func(c *vmm.Config) { c.Drives = []vmm.Drive{{Path: dir}} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			config := s.config()
			c.change(&config)
			g := s.open(t)
			err := g.Boot(limited(t), config)
			if err == nil {
				t.Fatal("it boots")
			}
			t.Log(err)
			g.end()
		})
	}
	t.Run("without a start", func(t *testing.T) {
		g := s.open(t)
		if _, err := g.Dial(limited(t), control.Port); err == nil {
			t.Error("a machine that was not started is dialled")
		}
		if err := g.Pause(limited(t)); err == nil {
			t.Error("a machine that was not started is paused")
		}
		g.end()
		if err := g.Boot(limited(t), s.config()); err == nil {
			t.Error("a closed machine boots")
		}
	})
	t.Run("impatience", func(t *testing.T) {
		g := s.open(t)
		if err := g.Boot(limited(t), s.config()); err != nil {
			t.Fatal(err)
		}
		if err := g.Boot(limited(t), s.config()); err == nil {
			t.Error("it boots twice")
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		gone := errors.New("nobody waits any more")
		time.AfterFunc(50*time.Millisecond, func() { cancel(gone) })
		if c, err := g.Dial(ctx, control.Port); err == nil {
			t.Log("it was quick")
			c.Close()
		} else if !errors.Is(err, gone) {
			t.Errorf("a dial that is broken off: %v", err)
		}
		if err := g.call(limited(t)); err != nil {
			t.Errorf("dial after one that was broken off: %v", err)
		}
		state, memory := create(t, filepath.Join(dir, "state")), create(t, filepath.Join(dir, "memory"))
		if err := g.Snapshot(limited(t), state, memory); err == nil {
			t.Error("a machine that runs is saved")
		}
		g.end()
	})
}

// damagedSnapshot: what is no snapshot, or another machine's, is refused, and leaves no process that hangs.
func damagedSnapshot(t *testing.T, s *Suite) {
	first := s.boot(t, s.config())
	whole := s.save(t, first, s.config())
	b, err := os.ReadFile(whole.saved.State.Name())
	if err != nil {
		t.Fatal(err)
	}
	dir := s.folder(t)
	for _, c := range []struct {
		name          string
		state         []byte
		memory, other int64 // size of the memory's file if not 0; MiB of the machine
	}{
		{"half a state", b[:len(b)/2], 0, 0},
		{"no state", nil, 0, 0},
		{"a state's first byte", b[:1], 0, 0},
		{"another state", []byte(strings.Repeat("no state\n", 5000)), 0, 0},
		{"half a memory", b, int64(s.MemoryMiB) << 19, 0},
		{"a machine of another size", b, 0, int64(s.MemoryMiB) + 64},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := whole
			state := create(t, filepath.Join(dir, strings.ReplaceAll(c.name, " ", "-")))
			if _, err := state.Write(c.state); err != nil {
				t.Fatal(err)
			}
			p.saved.State = state
			if c.memory > 0 {
				p.saved.Memory = create(t, filepath.Join(dir, "short memory"))
				if err := p.saved.Memory.Truncate(c.memory); err != nil {
					t.Fatal(err)
				}
			}
			if c.other > 0 {
				p.config.MemoryMiB = int(c.other)
			}
			g := s.open(t)
			err := g.Restore(limited(t), p.config, p.saved)
			if err == nil {
				t.Fatal("it is restored")
			}
			t.Log(err)
			g.end()
		})
	}
}

// closes: a machine can be closed at any time, and nothing is left.
func closes(t *testing.T, s *Suite) {
	before, files := runtime.NumGoroutine(), descriptors(t)
	t.Run("stages", func(t *testing.T) {
		t.Run("open", func(t *testing.T) { s.open(t).end() })
		t.Run("booting", func(t *testing.T) {
			g := s.open(t)
			if err := g.Boot(limited(t), s.config()); err != nil {
				t.Fatal(err)
			}
			g.end()
		})
		t.Run("while it is started", func(t *testing.T) {
			g := s.open(t)
			booted := make(chan error, 1)
			go func() { booted <- g.Boot(limited(t), s.config()) }()
			g.end()
			<-booted // with an error or without
			g.end()
		})
		t.Run("while somebody dials", func(t *testing.T) {
			g := s.open(t)
			if err := g.Boot(limited(t), s.config()); err != nil {
				t.Fatal(err)
			}
			dialled := make(chan error, 1)
			go func() {
				c, err := g.Dial(limited(t), control.Port)
				if err == nil {
					c.Close()
				}
				dialled <- err
			}()
			g.end()
			if err := <-dialled; err == nil {
				t.Log("it was quick")
			}
		})
		t.Run("paused, twice", func(t *testing.T) {
			g := s.open(t)
			if err := g.Boot(limited(t), s.config()); err != nil {
				t.Fatal(err)
			}
			if err := g.Pause(limited(t)); err != nil {
				t.Fatal(err)
			}
			g.end()
			g.end()
		})
	})
	end := time.Now().Add(answerLimit)
	for runtime.NumGoroutine() > before || descriptors(t) > files {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("left: %d goroutines of %d, %d descriptors of %d\n%s", runtime.NumGoroutine(), before, descriptors(t), files,
				stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
