package jetstream

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thaw/function"
	"thaw/function/functiontest"
	"thaw/internal/childtest"
)

// TestCrashWriter is the child: it writes without end and prints a line for every write that was acknowledged.
func TestCrashWriter(t *testing.T) {
	s, err := Open(t.Context(), Options{Dir: childtest.Arg(t), Log: slog.New(slog.DiscardHandler)})
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
	c := childtest.Start(t, "TestCrashWriter", dir)
	wrote := func(line string) bool {
		_, err := fmt.Sscanf(line, "wrote %d %d", &n, &epoch)
		return err == nil
	}
	for count := 0; count < writes; {
		if wrote(c.Line()) {
			count++
		}
	}
	for line := range strings.Lines(c.Kill()) { // what was still in the pipe was acknowledged as well
		wrote(line)
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
