package gvisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thaw/guest/wire"
	"thaw/internal/childtest"
	"thaw/sandbox"
	"thaw/sandbox/sandboxtest"
)

// The programs are built once, by the first test that needs them.
var programs struct {
	once              sync.Once
	dir               string
	sandboxExe, guest string
	err               error
}

func TestMain(m *testing.M) {
	code := 0
	goleak.VerifyTestMain(m, goleak.Cleanup(func(c int) { code = c }))
	sandboxtest.RemovePrograms()
	if programs.dir != "" {
		os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

// build compiles thaw-sandbox and the test's guest.
func build(tb testing.TB) (sandboxExe, guest string) {
	tb.Helper()
	if exe := os.Getenv(exeVar); exe != "" { // a child of a test that has built them
		return exe, os.Getenv(guestVar)
	}
	programs.once.Do(func() {
		programs.dir, programs.err = os.MkdirTemp("", "thaw-gvisor-test-")
		if programs.err != nil {
			return
		}
		programs.sandboxExe, programs.guest = filepath.Join(programs.dir, "thaw-sandbox"), filepath.Join(programs.dir, "guest")
		for out, pkg := range map[string]string{programs.sandboxExe: "thaw/cmd/thaw-sandbox", programs.guest: "./testdata/guest"} {
			cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
			if b, err := cmd.CombinedOutput(); err != nil {
				programs.err = errors.Join(programs.err, fmt.Errorf("build %s: %w: %s", pkg, err, b))
			}
		}
	})
	if programs.err != nil {
		tb.Fatal(programs.err)
	}
	return programs.sandboxExe, programs.guest
}

// These tell a child of a test where the programs are.
const exeVar, guestVar = "THAW_GVISOR_TEST_EXE", "THAW_GVISOR_TEST_GUEST"

func programVars(tb testing.TB) []string {
	exe, guest := build(tb)
	return []string{exeVar + "=" + exe, guestVar + "=" + guest}
}

// ownPrograms are programVars with paths that no other test's sandboxes have: by the path a test finds its processes.
func ownPrograms(tb testing.TB) []string {
	tb.Helper()
	vars, dir := programVars(tb), tb.TempDir()
	for i, v := range vars {
		name, path, _ := strings.Cut(v, "=")
		own := filepath.Join(dir, filepath.Base(path))
		if err := os.Link(path, own); err != nil {
			tb.Fatal(err)
		}
		vars[i] = name + "=" + own
	}
	return vars
}

func child(tb testing.TB, part, dir string) *childtest.Process {
	tb.Helper()
	return childtest.Start(tb, part, dir, programVars(tb)...)
}

func needRoot(tb testing.TB) {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Skip("gVisor sandboxes need root")
	}
}

// patience bounds what takes milliseconds on an idle machine.
const patience = 2 * time.Minute

func testContext(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// open opens a backend that is closed, without error, when the test ends.
func open(tb testing.TB, change func(*Options)) *Backend {
	tb.Helper()
	needRoot(tb)
	exe, guest := build(tb)
	o := Options{Dir: filepath.Join(tb.TempDir(), "gvisor"), SandboxExe: exe, GuestExe: guest, Blank: 1, Log: slog.New(slog.NewTextHandler(tb.Output(), nil))}
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
	})
	return b
}

// guestOf is a sandbox with the host's half of the conversation.
type guestOf struct {
	sandbox.Sandbox
	tb  testing.TB
	r   *wire.Reader
	w   *wire.Writer
	seq int
}

func create(tb testing.TB, b *Backend, spec sandbox.Spec) *guestOf {
	tb.Helper()
	if spec.ID == "" {
		spec.ID = "test"
	}
	if spec.MemoryMiB == 0 {
		spec.MemoryMiB = 128
	}
	if spec.TmpMiB == 0 {
		spec.TmpMiB = 16
	}
	s, err := b.Create(testContext(tb), spec)
	if err != nil {
		tb.Fatal(err)
	}
	return adopt(tb, s, spec.TmpMiB)
}

// adopt says hello to the guest of a new sandbox and starts it.
func adopt(tb testing.TB, s sandbox.Sandbox, tmpMiB int) *guestOf {
	tb.Helper()
	g := &guestOf{Sandbox: s, tb: tb, r: wire.NewReader(s.Conn()), w: wire.NewWriter(s.Conn())}
	s.Conn().SetReadDeadline(time.Now().Add(patience))
	var h wire.Hello
	g.expect(wire.KindHello).Decode(&h)
	if h.PID != 1 {
		tb.Errorf("guest is process %d inside, want 1", h.PID)
	}
	g.send(wire.KindStart, wire.Start{Generation: 1, TmpBytes: int64(tmpMiB) << 20}, "")
	g.expect(wire.KindStarted)
	return g
}

func (g *guestOf) send(k wire.Kind, head any, body string) {
	g.tb.Helper()
	if err := g.w.Send(k, head, []byte(body)); err != nil {
		g.tb.Fatal(err)
	}
}

func (g *guestOf) expect(k wire.Kind) wire.Frame {
	g.tb.Helper()
	f, err := g.r.Next()
	if err != nil {
		g.tb.Fatalf("waiting for frame %d: %v", k, err)
	}
	if f.Kind != k {
		g.tb.Fatalf("frame %d, want %d: %s %s", f.Kind, k, f.Head, f.Body)
	}
	return f
}

// do has the guest do something and returns what it said.
func (g *guestOf) do(format string, args ...any) string {
	g.tb.Helper()
	g.seq++
	g.send(wire.KindInvoke, wire.Invoke{RequestID: fmt.Sprint(g.seq)}, fmt.Sprintf(format, args...))
	return string(g.expect(wire.KindResponse).Body)
}

// must is do for what must not fail.
func (g *guestOf) must(format string, args ...any) string {
	g.tb.Helper()
	out := g.do(format, args...)
	if strings.HasPrefix(out, "error: ") {
		g.tb.Fatalf("%s: %s", fmt.Sprintf(format, args...), out)
	}
	return out
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

func awaitBlanks(tb testing.TB, b *Backend) {
	tb.Helper()
	until(tb, "as many blank sandboxes as asked for", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return len(b.blanks.Ready) >= b.opt.Blank
	})
}
