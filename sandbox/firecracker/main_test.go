package firecracker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thaw/guest/wire"
	"thaw/sandbox"
	"thaw/sandbox/firecracker/images"
	"thaw/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(fakeVar) != "" {
		fakeMachine()
		return
	}
	code := m.Run()
	removeShared()
	sandboxtest.RemovePrograms()
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// patience bounds what takes milliseconds on an idle machine.
const patience = 2 * time.Minute

func testContext(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// shared are the images of all tests of the package.
var shared struct {
	once  sync.Once
	dir   string
	store *images.Store
	err   error
}

func testImages(tb testing.TB) *images.Store {
	tb.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "thaw-microvm-test-"); shared.err != nil {
			return
		}
		shared.err = errors.Join(os.Chmod(shared.dir, 0o711), os.Mkdir(taskDir(), 0o755), os.WriteFile(taskDir()+"/code", []byte("code"), 0o644))
		if shared.err == nil {
			shared.store, shared.err = images.Open(images.Options{Dir: filepath.Join(shared.dir, "images"), Log: slog.New(slog.DiscardHandler)})
		}
	})
	if shared.err != nil {
		tb.Fatal(shared.err)
	}
	return shared.store
}

// taskDir is what the tests' functions have at /var/task.
func taskDir() string { return filepath.Join(shared.dir, "task") }

func removeShared() {
	if shared.store != nil {
		shared.store.Close()
	}
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
}

// testMemoryMiB is the memory of the tests' functions.
const testMemoryMiB = 8

func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("groups, namespaces and users of microVMs need root")
	}
}

// testOptions are for a backend over the fake monitor, in a folder of its own.
func testOptions(tb testing.TB, dir string) Options {
	tb.Helper()
	kernel := filepath.Join(tb.TempDir(), "kernel")
	if err := os.WriteFile(kernel, []byte("kernel and initramfs"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return Options{
		Dir: dir, Monitor: &fakeMonitor{key: "1"}, Kernel: kernel, Initramfs: kernel, Images: testImages(tb), Slots: -1,
		Log: slog.New(slog.NewTextHandler(tb.Output(), nil)),
	}
}

// open opens a backend that is closed, without error, when the test ends, and has left nothing then.
func open(tb testing.TB, change func(*Options)) *Backend {
	tb.Helper()
	needRoot(tb)
	o := testOptions(tb, filepath.Join(openFolder(tb), "microvms"))
	if change != nil {
		change(&o)
	}
	b, err := Open(testContext(tb), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := b.Close(); err != nil {
			tb.Error(err)
		}
		if left, err := os.ReadDir(o.Dir); err != nil || len(left) > 0 {
			tb.Errorf("left in the folder: %v, %v", left, err)
		}
	})
	return b
}

// openFolder is a folder of a test that other users may pass: machines are other users.
func openFolder(tb testing.TB) string {
	base := tb.TempDir()
	for dir := base; dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o711); err != nil {
			tb.Fatal(err)
		}
	}
	return base
}

func testSpec(id string) sandbox.Spec {
	return sandbox.Spec{ID: sandbox.ID(id), MemoryMiB: testMemoryMiB, TmpMiB: 16, Mounts: []sandbox.Mount{{Source: taskDir(), Target: "/var/task"}}}
}

// box is a sandbox with the host's half of the conversation.
type box struct {
	*Sandbox
	tb testing.TB
	r  *wire.Reader
	w  *wire.Writer
}

func adopt(tb testing.TB, s sandbox.Sandbox) *box {
	x := &box{Sandbox: s.(*Sandbox), tb: tb, r: wire.NewReader(s.Conn()), w: wire.NewWriter(s.Conn())}
	s.Conn().SetReadDeadline(time.Now().Add(patience))
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return x
}

func create(tb testing.TB, b *Backend, id string) *box {
	tb.Helper()
	s, err := b.Create(testContext(tb), testSpec(id))
	if err != nil {
		tb.Fatal(err)
	}
	x := adopt(tb, s)
	x.expect(wire.KindHello)
	return x
}

func restore(tb testing.TB, b *Backend, id string, src sandbox.SnapshotSource) *box {
	tb.Helper()
	s, err := b.Restore(testContext(tb), testSpec(id), src)
	if err != nil {
		tb.Fatal(err)
	}
	x := adopt(tb, s)
	x.send(wire.KindRestored, nil, "")
	x.expect(wire.KindReady)
	return x
}

func (x *box) send(k wire.Kind, head any, body string) {
	x.tb.Helper()
	if err := x.w.Send(k, head, []byte(body)); err != nil {
		x.tb.Fatal(err)
	}
}

func (x *box) expect(k wire.Kind) wire.Frame {
	x.tb.Helper()
	f, err := x.r.Next()
	if err != nil {
		x.tb.Fatalf("waiting for frame %d: %v", k, err)
	}
	if f.Kind != k {
		x.tb.Fatalf("frame %d, want %d: %s %s", f.Kind, k, f.Head, f.Body)
	}
	return f
}

// ask invokes the fake's function.
func (x *box) ask(event string) (st fakeState) {
	x.tb.Helper()
	x.send(wire.KindInvoke, wire.Invoke{RequestID: "1"}, event)
	if err := json.Unmarshal(x.expect(wire.KindResponse).Body, &st); err != nil {
		x.tb.Fatal(err)
	}
	return st
}

// save quiesces a sandbox and saves it.
func (x *box) save(sink sandbox.SnapshotSink) error {
	x.tb.Helper()
	x.send(wire.KindQuiesce, nil, "")
	x.expect(wire.KindQuiesced)
	return x.Checkpoint(testContext(x.tb), sink)
}

// folder is a snapshot in a folder: sink and source.
type folder string

func (d folder) path(part string) string                        { return filepath.Join(string(d), part) }
func (d folder) Create(part string) (io.WriteCloser, error)     { return os.Create(d.path(part)) }
func (d folder) Note(string)                                    {}
func (d folder) Open(part string) (sandbox.SnapshotPart, error) { return openPart(d.path(part)) }

func openPart(path string) (p sandbox.SnapshotPart, err error) {
	if p.File, err = os.Open(path); err != nil {
		return p, err
	}
	fi, err := p.File.Stat()
	p.Size = fi.Size()
	return p, err
}

// readers serves a folder's parts by readers alone.
type readers struct{ folder }

func (r readers) Open(part string) (sandbox.SnapshotPart, error) {
	p, err := r.folder.Open(part)
	if err != nil {
		return p, err
	}
	defer p.File.Close()
	var text []byte
	if p.Size <= 1<<20 {
		text, err = io.ReadAll(p.File)
		return sandbox.SnapshotPart{Size: p.Size, Reader: bytes.NewReader(text)}, err
	}
	return sandbox.SnapshotPart{Size: p.Size, Reader: fileReader(r.path(part))}, nil
}

// fileReader reads a file that is large and mostly holes.
type fileReader string

func (r fileReader) ReadAt(p []byte, off int64) (int, error) {
	f, err := os.Open(string(r))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.ReadAt(p, off)
}

// until waits for a condition.
func until(tb testing.TB, what string, ok func() bool) {
	tb.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("never happened: %s", what)
		}
	}
}
