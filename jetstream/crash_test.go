package jetstream

import (
	"bufio"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thaw/function"
	"thaw/function/functiontest"
)

// crashDir tells this test binary that it is the child of TestKillBetweenWrites.
const crashDir = "THAW_TEST_CRASH_DIR"

// TestCrashWriter is the child: it writes without end and prints a line for every write that was acknowledged.
func TestCrashWriter(t *testing.T) {
	dir := os.Getenv(crashDir)
	if dir == "" {
		t.Skip("the child of TestKillBetweenWrites")
	}
	s, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	view := functiontest.Load(t, s)
	r := functiontest.Record("counter")
	if e := view.Get(r.Key); e != nil {
		r = e.Record.Clone()
	} else if err := s.Create(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for n := r.NextNumber; ; n++ {
		v := &function.VersionRecord{Number: function.NumberOf(n), RevisionID: fmt.Sprint("r", n)}
		if err := s.PutVersion(t.Context(), r.Key, r.Incarnation, v); err != nil && !errors.Is(err, function.ErrStale) {
			t.Fatal(err)
		}
		r.Numbers, r.NextNumber = append(r.Numbers, n), n+1
		if err := s.Update(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		epoch, err := s.Epoch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		fmt.Printf("wrote %d %d\n", n, epoch)
	}
}

func TestKillBetweenWrites(t *testing.T) {
	dir := t.TempDir()
	n, epoch := 0, uint64(0)
	for round := range 4 {
		n, epoch = killWriter(t, dir, 5+7*round)
		s, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatalf("after kill %d: %v", round, err)
		}
		view := functiontest.Load(t, s)
		e := view.Get(functiontest.Record("counter").Key)
		if e == nil {
			t.Fatalf("after kill %d the record is gone", round)
		}
		if got := e.Record.NextNumber - 1; got != n && got != n+1 { // the last one may not have been acknowledged yet
			t.Errorf("after kill %d: version %d was acknowledged, the record says %d", round, n, got)
		}
		for _, m := range e.Record.Numbers[2:] {
			if v := e.Version(m); v == nil || v.RevisionID != fmt.Sprint("r", m) {
				t.Errorf("after kill %d version %d is %+v", round, m, v)
			}
		}
		if again, err := s.Epoch(t.Context()); err != nil || again <= epoch {
			t.Errorf("after kill %d: epoch %d was given, now %d, %v", round, epoch, again, err)
		}
		s.Close()
	}
}

// killWriter runs a writer, kills it after some acknowledged writes and returns the last of them.
func killWriter(t *testing.T, dir string, writes int) (n int, epoch uint64) {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestCrashWriter$", "-test.timeout=2m")
	c.Env = append(os.Environ(), crashDir+"="+dir)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stderr = os.Stderr
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var seen []string
	lines := bufio.NewScanner(out)
	for count := 0; lines.Scan(); {
		seen = append(seen, lines.Text())
		if _, err := fmt.Sscanf(lines.Text(), "wrote %d %d", &n, &epoch); err == nil {
			if count++; count == writes {
				c.Process.Kill() //nolint:errcheck // what is still in the pipe is read: it was acknowledged as well
			}
		}
	}
	c.Wait() //nolint:errcheck // killed
	if n == 0 {
		t.Fatalf("the writer wrote nothing:\n%s", strings.Join(seen, "\n"))
	}
	return n, epoch
}

func TestOneServerPerFolder(t *testing.T) {
	dir := t.TempDir()
	o := Options{Dir: dir, Log: slog.New(slog.DiscardHandler)}
	s, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrInUse) {
		t.Errorf("a second server: %v", err)
	}
	child, err := unix.Dup(int(s.lock.Fd())) // what a child has before it executes its program
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	s.Close()
	s.Close()
	if s, err = Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func TestNoListener(t *testing.T) {
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if a := s.ns.Addr(); a != nil {
		t.Errorf("listens on %v", a)
	}
}

func BenchmarkUpdate(b *testing.B) {
	s, err := Open(b.Context(), Options{Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	r := functiontest.Record("orders")
	if err := s.Create(b.Context(), r); err != nil {
		b.Fatal(err)
	}
	view := function.NewView()
	stop, err := s.Watch(b.Context(), view.Apply)
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	view.Loaded()
	for b.Loop() {
		if err := s.Update(b.Context(), r); err != nil {
			b.Fatal(err)
		}
		if err := view.Wait(b.Context(), r.Revision); err != nil {
			b.Fatal(err)
		}
	}
}
