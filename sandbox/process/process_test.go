package process

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thaw/guest/wire"
	"thaw/internal/childtest"
	"thaw/internal/proctree"
	"thaw/sandbox"
	"thaw/sandbox/sandboxtest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	sandboxtest.RemovePrograms()
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	os.Exit(code)
}

func open(t testing.TB) sandbox.Backend {
	t.Helper()
	b, err := Open(Options{Dir: t.TempDir(), GuestExe: sandboxtest.GuestExe(t)})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestConformance(t *testing.T) { sandboxtest.Run(t, open) }

const patience = 30 * time.Second

func await(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come about that %s", what)
		}
	}
}

// family is a runtime with a child, a grandchild, and a daemon that left its session.
const family = `#!/bin/sh
(sleep 1000 & exec sleep 1000) &
setsid sh -c 'sleep 1000 & wait' </dev/null >/dev/null 2>&1 &
wait
`

// start makes a sandbox that runs the family, and returns it when all five processes are there.
func start(t testing.TB, b *Backend, id sandbox.ID) (*Sandbox, *sandboxtest.Host) {
	t.Helper()
	task := t.TempDir()
	if err := os.WriteFile(task+"/bootstrap", []byte(family), 0o755); err != nil {
		t.Fatal(err)
	}
	sb, err := b.Create(t.Context(), sandbox.Spec{ID: id})
	if err != nil {
		t.Fatal(err)
	}
	h := sandboxtest.NewHost(t, sb)
	h.Hello()
	h.Start(wire.Start{Generation: 1, Argv: []string{task + "/bootstrap"}, Dir: task, UID: -1, Vars: []string{"PATH=" + os.Getenv("PATH")}})
	await(t, "the family is complete", func() bool { return len(sb.PIDs()) == 6 })
	return sb.(*Sandbox), h
}

const guestVar = "THAW_PROCESS_TEST_GUEST"

// TestServer is the child of TestServerKilled: it makes a sandbox, freezes it, says its processes, and waits to be killed.
func TestServer(t *testing.T) {
	dir := childtest.Arg(t)
	b, err := Open(Options{Dir: dir, GuestExe: os.Getenv(guestVar)})
	if err != nil {
		t.Fatal(err)
	}
	task, err := os.MkdirTemp(filepath.Dir(dir), "task")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(task+"/bootstrap", []byte(family), 0o755); err != nil {
		t.Fatal(err)
	}
	sb, err := b.Create(context.Background(), sandbox.Spec{ID: "one"})
	if err != nil {
		t.Fatal(err)
	}
	w := wire.NewWriter(sb.Conn())
	w.Send(wire.KindStart, wire.Start{Generation: 1, Argv: []string{task + "/bootstrap"}, Dir: task, UID: -1, Vars: []string{"PATH=" + os.Getenv("PATH")}}, nil)
	await(t, "the family is complete", func() bool { return len(sb.PIDs()) == 6 })
	if err := sb.Freeze(); err != nil {
		t.Fatal(err)
	}
	json.NewEncoder(os.Stdout).Encode(sb.PIDs())
	select {}
}

// TestServerKilled: whatever dies by kill -9, nothing of a frozen sandbox with daemons is left, at once or when the folder is opened again.
func TestServerKilled(t *testing.T) {
	for name, guestToo := range map[string]bool{"the server": false, "the server and the guest": true} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "sandboxes")
			server := childtest.Start(t, "TestServer", dir, guestVar+"="+sandboxtest.GuestExe(t))
			line := server.Line()
			var pids []int
			if err := json.Unmarshal([]byte(line), &pids); err != nil || len(pids) != 6 {
				t.Fatalf("the server says %q, %v", line, err)
			}
			if guestToo {
				server.Signal(syscall.SIGSTOP) // so that it does not notice
				syscall.Kill(pids[0], syscall.SIGKILL)
			}
			server.Kill()
			gone := func() bool {
				for _, pid := range pids {
					if s := proctree.State(pid); s != 0 && s != 'Z' {
						return false
					}
				}
				return true
			}
			if !guestToo {
				await(t, "all processes end with their server", gone)
			}
			b, err := Open(Options{Dir: dir, GuestExe: sandboxtest.GuestExe(t)})
			if err != nil {
				t.Fatal(err)
			}
			if !gone() {
				t.Errorf("processes %v are left after the sweep", pids)
			}
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Errorf("the sweep left %v", left)
			}
			if err := b.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFreezeCatchesAll(t *testing.T) {
	b := open(t).(*Backend)
	defer b.Close()
	sb, h := start(t, b, "family")
	states := func() (s string) {
		for _, pid := range sb.PIDs()[1:] {
			s += string(rune(proctree.State(pid)))
		}
		return s
	}
	for range 20 {
		if err := sb.Freeze(); err != nil {
			t.Fatal(err)
		}
		if got := states(); got != "TTTTT" {
			t.Fatalf("states when frozen: %s", got)
		}
		if err := sb.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "all go on", func() bool { return strings.Count(states(), "S") == 5 })
	// A process that forks all the time is caught in the end.
	h.Kill(1, 0)
	task := t.TempDir()
	if err := os.WriteFile(task+"/bootstrap", []byte("#!/bin/sh\nwhile :; do (:); /bin/true & done"), 0o755); err != nil {
		t.Fatal(err)
	}
	h.Start(wire.Start{Generation: 2, Argv: []string{task + "/bootstrap"}, Dir: task, UID: -1, Vars: []string{"PATH=" + os.Getenv("PATH")}})
	for range 20 {
		time.Sleep(2 * time.Millisecond)
		if err := sb.Freeze(); err != nil {
			t.Fatal(err)
		}
		before := fmt.Sprint(sb.PIDs())
		time.Sleep(2 * time.Millisecond)
		if after := fmt.Sprint(sb.PIDs()); after != before {
			t.Fatalf("something runs in a frozen sandbox: %s, then %s", before, after)
		}
		if err := sb.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
	if used, err := sb.MemoryUsed(); err != nil || used <= 0 {
		t.Errorf("memory used: %d, %v", used, err)
	}
	h.Kill(2, 0)
}

func TestOpenSaysWhatItIs(t *testing.T) {
	var log bytes.Buffer
	b, err := Open(Options{Dir: t.TempDir(), GuestExe: sandboxtest.GuestExe(t), Log: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if !strings.Contains(log.String(), "level=WARN") || !strings.Contains(log.String(), "isolate NOTHING") {
		t.Errorf("it says %s", log.String())
	}
	if _, err := Open(Options{Dir: t.TempDir(), GuestExe: "/nothing"}); err == nil {
		t.Error("opened without a guest")
	}
}

func BenchmarkFreezeThaw(b *testing.B) {
	backend := open(b).(*Backend)
	defer backend.Close()
	sb, _ := start(b, backend, "bench")
	for b.Loop() {
		if err := sb.Freeze(); err != nil {
			b.Fatal(err)
		}
		if err := sb.Thaw(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkFreezeThawPlain is the usual case: the guest and a runtime, here a Go program with its threads.
func BenchmarkFreezeThawPlain(b *testing.B) {
	backend := open(b).(*Backend)
	defer backend.Close()
	sb, err := backend.Create(b.Context(), sandbox.Spec{ID: "plain"})
	if err != nil {
		b.Fatal(err)
	}
	h := sandboxtest.NewHost(b, sb)
	h.Hello()
	h.Start(wire.Start{Generation: 1, Argv: []string{sandboxtest.BootstrapExe(b)}, Dir: "/", UID: -1})
	h.Ready()
	for b.Loop() {
		if err := sb.Freeze(); err != nil {
			b.Fatal(err)
		}
		if err := sb.Thaw(); err != nil {
			b.Fatal(err)
		}
	}
}
