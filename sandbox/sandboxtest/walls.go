package sandboxtest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"thaw/guest/wire"
	"thaw/sandbox"
)

// readOnly holds E-137's first half.
func readOnly(t *testing.T, s *suite) {
	b := s.backend(t)
	if !b.Capabilities().Mounts {
		t.Skip("this backend has no mounts: paths are the host's")
	}
	x := s.create(t, b, s.spec(t))
	x.Hello()
	x.Start(x.start(1))
	x.Ready()
	for _, path := range []string{"/var/task/new", "/var/task/bootstrap", "/new", "/opt/new", "/var/new"} {
		if got := string(x.Invoke("w", []byte("write "+path+" text"))); !strings.HasPrefix(got, "error:") {
			t.Errorf("writing %s: %q", path, got)
		}
	}
	for _, dir := range []string{"/var/task", "/opt"} {
		if got := string(x.Invoke("s", []byte("stat "+dir))); got != "drwxr-xr-x" {
			t.Errorf("mode of %s: %s", dir, got)
		}
	}
}

func noHostFiles(t *testing.T, s *suite) {
	b := s.backend(t)
	if !b.Capabilities().Isolates {
		t.Skip("this backend isolates nothing, and says so")
	}
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("of the host"), 0o644); err != nil {
		t.Fatal(err)
	}
	for p := dir; p != "/"; p = filepath.Dir(p) { // so that only the wall is in the way
		if err := os.Chmod(p, 0o755); err != nil {
			break
		}
		if p == os.TempDir() {
			os.Chmod(p, os.ModeSticky|0o777)
			break
		}
	}
	x := s.create(t, b, s.spec(t))
	x.Hello()
	x.Start(x.start(1))
	x.Ready()
	for _, path := range []string{secret, "/proc/1/root" + secret, "/etc/shadow", "/root"} {
		if got := string(x.Invoke("r", []byte("read "+path))); !strings.HasPrefix(got, "error:") {
			t.Errorf("reading %s: %q", path, got)
		}
	}
	if got := string(x.Invoke("l", []byte("ls /tmp"))); got != "" {
		t.Errorf("a new /tmp holds %q", got)
	}
	if got := string(x.Invoke("k", []byte("alive 1"))); strings.Contains(got, "ok") {
		t.Errorf("the runtime may signal process 1: %q", got)
	}
}

// tmpSize holds E-137's second half.
func tmpSize(t *testing.T, s *suite) {
	x := s.running(t)
	if got := string(x.Invoke("s", []byte("stat "+x.HostPath("/tmp")))); got != "dtrwxrwxrwx" {
		t.Errorf("mode of /tmp: %s", got)
	}
	if !x.backend.Capabilities().Mounts {
		return
	}
	if got := string(x.Invoke("f", []byte("fill /tmp/fits 60"))); got != "ok" {
		t.Errorf("60 MiB into a /tmp of 64: %s", got)
	}
	if got := string(x.Invoke("f", []byte("fill /tmp/more 10"))); !strings.Contains(got, "no space left") {
		t.Errorf("70 MiB into a /tmp of 64: %s", got)
	}
}

func streamEnd(t *testing.T, s *suite) {
	x := s.running(t)
	x.Invoke("d", []byte("daemon"))
	pids := x.PIDs()
	x.Conn().Close()
	await(t, "the sandbox ends with its stream", func() bool {
		select {
		case <-x.Exited():
			return true
		default:
			return false
		}
	})
	awaitGone(t, pids)
}

func guestDeath(t *testing.T, s *suite) {
	x := s.running(t)
	select {
	case <-x.Exited():
		t.Fatal("it has exited")
	default:
	}
	x.Invoke("d", []byte("daemon"))
	pids := x.PIDs()
	syscall.Kill(pids[0], syscall.SIGKILL)
	await(t, "the backend notices", func() bool {
		select {
		case <-x.Exited():
			return true
		default:
			return false
		}
	})
	if exit := x.Exit(); exit.Asked || exit.Err == nil {
		t.Errorf("exit %+v, want an error and not asked", exit)
	}
	if err := x.Freeze(); !errors.Is(err, sandbox.ErrClosed) {
		t.Errorf("freeze of one that has ended: %v", err)
	}
	awaitGone(t, pids)
}

func awaitGone(t testing.TB, pids []int) {
	t.Helper()
	for _, pid := range pids {
		await(t, "no process is left", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH || isZombie(pid) })
	}
}

func closing(t *testing.T, s *suite) {
	b := s.backend(t)
	for _, c := range []struct {
		name string
		when func(x *box)
	}{
		{"frozen", func(x *box) {
			x.Hello()
			x.Start(x.start(1))
			x.Ready()
			x.Invoke("d", []byte("daemon"))
			if err := x.Freeze(); err != nil {
				t.Error(err)
			}
		}},
		{"while it is being killed", func(x *box) {
			x.Hello()
			x.Start(x.start(1, "IGNORE_TERM=1"))
			x.Ready()
			x.Send(wire.KindKill, wire.Kill{Generation: 1, BudgetMs: 60_000, RuntimeMs: 60_000}, nil)
		}},
		{"at once", func(*box) {}},
		{"after hello", func(x *box) { x.Hello() }},
		{"while it starts", func(x *box) { x.Hello(); x.Send(wire.KindStart, x.start(1), nil) }},
		{"parked", func(x *box) { x.Hello(); x.Start(x.start(1)); x.Ready() }},
		{"in an invocation", func(x *box) {
			x.Hello()
			x.Start(x.start(1))
			x.Ready()
			x.SendInvoke("h", []byte("spin"))
		}},
		{"in a stream without credit", func(x *box) {
			x.Hello()
			x.Start(x.start(1))
			x.Ready()
			x.SendInvoke("s", []byte("stream 50000000"))
			x.Take(wire.KindStreamHead, nil)
		}},
	}[:s.few(8, 3)] {
		t.Run(c.name, func(t *testing.T) {
			x := s.create(t, b, s.spec(t))
			c.when(x)
			pids := x.PIDs()
			var all sync.WaitGroup
			for range 3 {
				all.Go(func() {
					if err := x.Close(); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			for _, pid := range pids {
				if err := syscall.Kill(pid, 0); err == nil && !isZombie(pid) {
					t.Errorf("process %d outlived its sandbox's Close", pid)
				}
			}
			if exit := x.Exit(); !exit.Asked {
				t.Errorf("exit %+v, want asked", exit)
			}
			if err := x.Thaw(); !errors.Is(err, sandbox.ErrClosed) {
				t.Errorf("thaw after close: %v", err)
			}
		})
	}
	t.Run("of a creation that was given up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if sb, err := b.Create(ctx, s.spec(t)); err == nil {
			sb.Close()
			t.Error("it was made all the same")
		}
	})
}

// isZombie: somebody else has to collect it.
func isZombie(pid int) bool {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.Contains(string(b), ") Z ")
}

func names(t *testing.T, s *suite) {
	b := s.backend(t)
	spec := s.spec(t)
	s.create(t, b, spec)
	if _, err := b.Create(t.Context(), spec); err == nil {
		t.Error("two sandboxes of one name")
	}
	for _, bad := range []sandbox.ID{"", "..", "a/b"} {
		spec := s.spec(t)
		spec.ID = bad
		if _, err := b.Create(t.Context(), spec); err == nil {
			t.Errorf("a sandbox of the name %q", bad)
		}
	}
}

// leaks counts what this process holds, before and after a life with everything in it. The first round is for what is made once.
func leaks(t *testing.T, s *suite) {
	var fds, goroutines int
	for round := range s.few(3, 2) {
		t.Run("round", func(t *testing.T) {
			b := s.backend(t)
			for range s.few(3, 1) {
				x := s.create(t, b, s.spec(t))
				x.Hello()
				x.Start(x.start(1))
				x.Ready()
				x.Invoke("d", []byte("daemon"))
				if err := x.Freeze(); err != nil {
					t.Fatal(err)
				}
			}
		})
		if round == 0 {
			fds, goroutines = openFiles(t), runtime.NumGoroutine()
		}
	}
	await(t, "descriptors are closed", func() bool { return openFiles(t) <= fds })
	await(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// settledFiles is openFiles once it has not changed for a second.
func settledFiles(t testing.TB) int {
	t.Helper()
	n, since := openFiles(t), time.Now()
	await(t, "the number of descriptors settles", func() bool {
		if now := openFiles(t); now != n {
			n, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
	return n
}

func openFiles(t testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}
