package gvisor

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"thaw/guest/wire"
	"thaw/internal/childtest"
	"thaw/sandbox"
	"thaw/sandbox/host/network"
)

// folder is a snapshot in a folder: sink and source.
type folder string

func (d folder) Create(part string) (io.WriteCloser, error) {
	return os.Create(filepath.Join(string(d), part))
}

func (d folder) Note(string) {}

func (d folder) Open(part string) (sandbox.SnapshotPart, error) {
	f, err := os.Open(filepath.Join(string(d), part))
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
		return len(b.armed.Ready) >= b.opt.Blank
	})
}

// again is the host's half of a conversation that a copy goes on with.
func again(tb testing.TB, s sandbox.Sandbox) *guestOf {
	s.Conn().SetReadDeadline(time.Now().Add(patience))
	return &guestOf{Sandbox: s, tb: tb, r: wire.NewReader(s.Conn()), w: wire.NewWriter(s.Conn())}
}

func restored(tb testing.TB, b *Backend, id string, src sandbox.SnapshotSource) *guestOf {
	tb.Helper()
	s, err := b.Restore(testContext(tb), sandbox.Spec{ID: sandbox.ID(id), MemoryMiB: 128, TmpMiB: 16}, src)
	if err != nil {
		tb.Fatal(err)
	}
	return again(tb, s)
}

func TestRestoredFunctionReachesTheInternet(t *testing.T) {
	if !inLab(t) {
		return
	}
	b := open(t, online)
	if b.nets == nil {
		t.Fatal("no network")
	}
	g := create(t, b, sandbox.Spec{})
	if got := g.must("dial tcp 198.51.100.7:80"); !strings.HasPrefix(got, "internet") {
		t.Fatalf("the original reaches %q", got)
	}
	d := folder(t.TempDir())
	if err := g.Checkpoint(testContext(t), d); err != nil {
		t.Fatal(err)
	}
	one, two := restored(t, b, "one", d), restored(t, b, "two", d)
	for _, c := range []*guestOf{one, two} {
		if got := c.must("addrs"); !strings.Contains(got, network.Inside.String()) {
			t.Errorf("addresses of %s: %s", c.ID(), got)
		}
		for _, dial := range []struct{ to, want string }{
			{"tcp 198.51.100.7:80", "internet"}, {"udp 198.51.100.7:53", "from 203.0.113.2:"},
		} {
			if got := c.must("dial %s", dial.to); !strings.HasPrefix(got, dial.want) {
				t.Errorf("%s: %s answered %q, want %q", c.ID(), dial.to, got, dial.want)
			}
		}
	}
	two.must("listen 0.0.0.0:8000")
	to := two.Sandbox.(*Sandbox).net.Outside()
	if got := one.do("dial tcp %v:8000", to); !strings.HasPrefix(got, "error: ") {
		t.Errorf("a copy reaches its neighbour: %q", got)
	}
	// A second generation, whose network is given once more.
	d2 := folder(t.TempDir())
	if err := one.Checkpoint(testContext(t), d2); err != nil {
		t.Fatal(err)
	}
	if got := restored(t, b, "three", d2).must("dial tcp 198.51.100.7:80"); !strings.HasPrefix(got, "internet") {
		t.Errorf("the second generation reaches %q", got)
	}
}

func TestSnapshotsOfAnotherBackendAreRefused(t *testing.T) {
	b := open(t, nil)
	g := create(t, b, sandbox.Spec{})
	d := folder(t.TempDir())
	if err := g.Checkpoint(testContext(t), d); err != nil {
		t.Fatal(err)
	}
	key := b.key
	b.key = "another guest"
	_, err := b.Restore(testContext(t), sandbox.Spec{ID: "x", MemoryMiB: 128, TmpMiB: 16}, d)
	if err == nil || !strings.Contains(err.Error(), "made by something else") {
		t.Errorf("error %v", err)
	}
	b.key = key
	if got := restored(t, b, "x", d).must("echo hello"); got != "echo hello" {
		t.Errorf("echo answered %q", got)
	}
}

// snapshotterVar makes a test process a server that takes and restores snapshots until it is killed.
// TestSnapshotter is the server that is killed: it takes snapshots and restores them without end.
func TestSnapshotter(t *testing.T) {
	dir := childtest.Arg(t)
	fail := func(err error) { // from any goroutine
		if err != nil {
			fmt.Println("snapshotter:", err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	exe, guest := build(t)
	b, err := Open(ctx, Options{Dir: dir, SandboxExe: exe, GuestExe: guest, Blank: 1})
	fail(err)
	s, err := b.Create(ctx, sandbox.Spec{ID: "original", MemoryMiB: 128, TmpMiB: 16})
	fail(err)
	d := folder(filepath.Dir(dir))
	fail(s.Checkpoint(ctx, d))
	for i := range 3 {
		go func() {
			for j := 0; ; j++ {
				c, err := b.Restore(ctx, sandbox.Spec{ID: sandbox.ID(fmt.Sprintf("copy-%d-%d", i, j)), MemoryMiB: 128, TmpMiB: 16}, d)
				fail(err)
				if i == 0 {
					other := folder(filepath.Join(string(d), "other"))
					os.Mkdir(string(other), 0o700)
					fail(c.Checkpoint(ctx, other))
				}
				fail(c.Close())
			}
		}()
	}
	fmt.Println("ready")
	select {}
}

func TestAKilledServersSnapshottingIsSweptUp(t *testing.T) {
	needRoot(t)
	exe, guest := build(t)
	for round := range 3 {
		dir := filepath.Join(t.TempDir(), "gvisor")
		server := child(t, "TestSnapshotter", dir)
		server.Says("ready")
		time.Sleep(time.Duration(50+round*83) * time.Millisecond) // in the middle of anything
		if rest := server.Kill(); rest != "" {
			t.Errorf("before it was killed it said %s", rest)
		}
		b, err := Open(testContext(t), Options{Dir: dir, SandboxExe: exe, GuestExe: guest, Blank: -1})
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		for _, l := range traces(t, dir) {
			t.Errorf("left after Close: %s", l)
		}
	}
}
