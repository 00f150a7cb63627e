package gvisor

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"thaw/guest/wire"
	"thaw/sandbox"
)

// folder is a snapshot in a folder: sink and source.
type folder string

func (d folder) Create(part string) (io.WriteCloser, error) {
	return os.Create(filepath.Join(string(d), part))
}

func (d folder) Open(part string) (sandbox.SnapshotPart, error) {
	f, err := os.Open(filepath.Join(string(d), part)) // closed by the collector
	if err != nil {
		return sandbox.SnapshotPart{}, err
	}
	fi, err := f.Stat()
	return sandbox.SnapshotPart{File: f, Size: fi.Size()}, err
}

func awaitArmed(tb testing.TB, b *Backend) {
	tb.Helper()
	until(tb, "as many armed sandboxes as asked for", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.armed) >= b.opt.Blank
	})
}

func restored(tb testing.TB, b *Backend, id string, src sandbox.SnapshotSource) *guestOf {
	tb.Helper()
	s, err := b.Restore(testContext(tb), sandbox.Spec{ID: sandbox.ID(id), MemoryMiB: 128, TmpMiB: 16}, src)
	if err != nil {
		tb.Fatal(err)
	}
	return again(tb, s)
}

func TestCheckpointRestore(t *testing.T) {
	b := open(t, nil)
	g := create(t, b, sandbox.Spec{})
	g.must("write /tmp/x 100000")
	before, _ := strconv.ParseInt(g.must("clock"), 10, 64)
	d := folder(t.TempDir())
	start := time.Now()
	if err := g.Checkpoint(testContext(t), d, true); err != nil {
		t.Fatal(err)
	}
	t.Log("checkpoint", time.Since(start))
	for _, p := range sandbox.Parts {
		fi, err := os.Stat(filepath.Join(string(d), p))
		t.Log(p, fi.Size(), err)
	}
	if got := g.must("echo on"); got != "echo on" {
		t.Errorf("original answered %q", got)
	}
	awaitArmed(t, b)
	for i := range 12 {
		start = time.Now()
		c := restored(t, b, fmt.Sprint("copy", i), d)
		took := time.Since(start)
		if got := c.must("echo hello"); got != "echo hello" {
			t.Errorf("echo answered %q", got)
		}
		t.Log("restore", took, "first", time.Since(start), c.Stages())
		after, _ := strconv.ParseInt(c.must("clock"), 10, 64)
		t.Log("monotonic", time.Duration(after-before))
		used, err := c.MemoryUsed()
		held, _ := c.Sandbox.(*Sandbox).group.memoryHeld()
		t.Log("memory", used, held, err)
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		awaitArmed(t, b)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

// again is the host's half of a conversation that a copy goes on with.
func again(tb testing.TB, s sandbox.Sandbox) *guestOf {
	s.Conn().SetReadDeadline(time.Now().Add(patience))
	return &guestOf{Sandbox: s, tb: tb, r: wire.NewReader(s.Conn()), w: wire.NewWriter(s.Conn())}
}
