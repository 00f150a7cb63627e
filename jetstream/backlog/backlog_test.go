package backlog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/async"
	"thaw/function"
	"thaw/internal/childtest"
)

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func lane(name string, qualifier function.Qualifier) async.Lane {
	return async.Lane{Key: function.Key{Account: "000000000000", Region: "eu-west-1", Name: name}, Qualifier: qualifier}
}

func event(l async.Lane, id, payload string) *async.Event {
	return &async.Event{Lane: l, RequestID: id, InvokedARN: "arn", TraceID: "Root=1", TraceState: "vendor=x", TenantID: "blue", Accepted: time.Unix(1, 2), Incarnation: 7, Payload: []byte(payload)}
}

func put(t testing.TB, s *Store, e *async.Event) uint64 {
	t.Helper()
	if err := s.Put(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	return e.Seq
}

// C-100: everything is as it was after the store was opened anew.
func TestStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	f, live := lane("f", "$LATEST"), lane("f", "live_1-x")
	a, b, c := put(t, s, event(f, "a", "1")), put(t, s, event(live, "b", strings.Repeat("x", 1<<20))), put(t, s, event(f, "c", "3"))
	known := &async.Progress{Attempts: 1, Due: time.Unix(5, 0).UTC(), Answer: async.Answer{Version: "1"},
		Tries: []async.Try{{From: time.Unix(3, 4).UTC(), To: time.Unix(4, 5).UTC(), Answer: async.Answer{Version: "1", Error: "Unhandled", Code: 200}}}, Response: bytes.Repeat([]byte("y"), 6291556)}
	for _, seq := range []uint64{a, c, c} {
		if err := s.Progress(t.Context(), seq, known); err != nil {
			t.Fatal(err)
		}
	}
	s.Close()
	s = open(t, dir)
	got, err := s.Next(t.Context(), f, 1)
	if want := event(f, "a", "1"); err != nil || got.Seq != a || got.RequestID != "a" || got.Lane != f || got.Incarnation != 7 || got.TraceID != want.TraceID || got.TraceState != want.TraceState || got.TenantID != want.TenantID || !got.Accepted.Equal(want.Accepted) || string(got.Payload) != "1" {
		t.Fatalf("first %+v, %v", got, err)
	}
	if got, err := s.Next(t.Context(), f, a+1); err != nil || got.Seq != c {
		t.Errorf("behind it %+v, %v", got, err)
	}
	if _, err := s.Next(t.Context(), f, c+1); !errors.Is(err, async.ErrNone) {
		t.Errorf("behind the last: %v", err)
	}
	if got, err := s.Next(t.Context(), live, 1); err != nil || got.Seq != b || len(got.Payload) != 1<<20 {
		t.Errorf("of another lane: %v", err)
	}
	if p, err := s.Known(t.Context(), a); err != nil || p.Attempts != 1 || !p.Due.Equal(known.Due) || len(p.Response) != 6291556 || !slices.Equal(p.Tries, known.Tries) {
		t.Errorf("known: %+v, %v", p.Tries, err)
	}
	if p, err := s.Known(t.Context(), b); err != nil || p != nil {
		t.Errorf("known of what was not tried: %+v, %v", p, err)
	}
	lanes, err := s.Lanes(t.Context())
	if err != nil || len(lanes) != 2 || lanes[f] != 2 || lanes[live] != 1 {
		t.Errorf("lanes %v, %v", lanes, err)
	}
	for range 2 { // one that is gone is no error
		if err := s.Remove(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Purge(t.Context(), f); n != 1 || err != nil {
		t.Errorf("purged %d, %v", n, err)
	}
	var tried []uint64
	if err := s.Tried(t.Context(), func(seq uint64, _ *async.Progress) { tried = append(tried, seq) }); err != nil || len(tried) > 0 {
		t.Errorf("of purged events %v is known, %v", tried, err)
	}
	if p, err := s.Known(t.Context(), c); err != nil || p != nil {
		t.Errorf("known of a purged event: %+v, %v", p, err)
	}
	if lanes, err := s.Lanes(t.Context()); err != nil || len(lanes) != 1 {
		t.Errorf("lanes %v, %v", lanes, err)
	}
}

// JetStream's files are where the group sync looks for them, also when there are many: this fails when another version
// of JetStream keeps its messages elsewhere.
func TestWhatIsSynced(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	f := lane("f", "$LATEST")
	var last uint64
	for range 12 { // more than a file of 8 MB
		last = put(t, s, event(f, "a", strings.Repeat("x", 1<<20)))
	}
	if len(s.sync.synced) < 2 {
		t.Errorf("synced files: %v", s.sync.synced)
	}
	var bytes int64
	for _, file := range s.sync.synced {
		bytes += file.size
	}
	if bytes < 12<<20 {
		t.Errorf("%d bytes of %d were synced", bytes, 12<<20)
	}
	for seq := uint64(1); seq < last; seq++ {
		if err := s.Remove(t.Context(), seq); err != nil {
			t.Fatal(err)
		}
	}
	put(t, s, event(f, "b", "1"))
	list, err := filepath.Glob(filepath.Join(s.sync.dir, "*.blk"))
	if err != nil || len(list) != len(s.sync.synced) {
		t.Errorf("there are %v, synced were %v, %v", list, s.sync.synced, err)
	}
}

// Many put at once share a sync.
func TestPutsShareASync(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for range 20 {
				if err := s.Put(t.Context(), event(lane(fmt.Sprint("f", i%3), "$LATEST"), "a", "1")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s.sync.done != 1280 || s.sync.syncs >= 1280 {
		t.Errorf("%d events in %d syncs", s.sync.done, s.sync.syncs)
	}
}

// TestKilledWriter is the child of TestKill: it puts and removes without end and prints what was acknowledged.
func TestKilledWriter(t *testing.T) {
	s := open(t, childtest.Arg(t))
	for n := 0; ; n++ {
		seq := put(t, s, event(lane("f", "$LATEST"), fmt.Sprint(n), strings.Repeat("x", n%5000)))
		fmt.Printf("put %d %d\n", seq, n)
		if n%3 == 0 {
			if err := s.Remove(t.Context(), seq); err != nil {
				t.Fatal(err)
			}
			fmt.Printf("removed %d %d\n", seq, n)
		}
	}
}

// C-100: what was put is there after a kill, and what was removed is not.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want, gone := map[uint64]bool{}, map[uint64]bool{}
	done := func(line string) {
		var what string
		var seq uint64
		var id int
		switch k, _ := fmt.Sscanf(line, "%s %d %d", &what, &seq, &id); {
		case k != 3:
		case what == "put":
			want[seq] = true
		default:
			delete(want, seq)
			gone[seq] = true
		}
	}
	for round := range 4 {
		c := childtest.Start(t, "TestKilledWriter", dir)
		for range 50 + 30*round {
			done(c.Line())
		}
		for line := range strings.Lines(c.Kill()) { // what was still in the pipe was acknowledged as well
			done(line)
		}
		s := open(t, dir)
		have := map[uint64]bool{}
		for from := uint64(1); ; {
			e, err := s.Next(t.Context(), lane("f", "$LATEST"), from)
			if errors.Is(err, async.ErrNone) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			have[e.Seq], from = true, e.Seq+1
		}
		for seq := range want {
			if !have[seq] && seq != lastOf(want) { // the last may just have been removed
				t.Errorf("after kill %d event %d is lost", round, seq)
			}
		}
		for seq := range gone {
			if have[seq] {
				t.Errorf("after kill %d event %d is there again", round, seq)
			}
		}
		if len(have) == 0 {
			t.Fatal("nothing was put")
		}
		want = have
		s.Close()
	}
}

func lastOf(m map[uint64]bool) (last uint64) {
	for seq := range m {
		last = max(last, seq)
	}
	return last
}

// A disk that is full refuses, loses nothing, and takes events again when there is room: with the reserve in time, and
// without it, when JetStream itself runs into the end of the disk.
func TestFullDisk(t *testing.T) {
	for _, c := range []struct {
		name    string
		reserve int64
	}{{"with a reserve", 8 << 20}, {"to the last byte", 1}} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=32m"); err != nil {
				t.Skipf("a small disk cannot be had: %v", err)
			}
			defer unix.Unmount(dir, unix.MNT_DETACH) //nolint:errcheck // it goes with its namespace at worst
			s, err := Open(t.Context(), Options{Dir: filepath.Join(dir, "async"), Log: slog.New(slog.DiscardHandler), Reserve: c.reserve})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			f := lane("f", "$LATEST")
			var accepted []uint64
			for n := 0; ; n++ {
				e := event(f, fmt.Sprint(n), strings.Repeat("x", 1<<20))
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				err := s.Put(ctx, e)
				cancel()
				if err != nil {
					if !errors.Is(err, async.ErrFull) {
						t.Logf("the disk is full: %v", err)
					}
					break
				}
				if accepted = append(accepted, e.Seq); n > 64 {
					t.Fatal("a disk of 32 MB takes more than 64 MB")
				}
			}
			for _, seq := range accepted {
				if e, err := s.Next(t.Context(), f, seq); err != nil || e.Seq != seq {
					if c.reserve > 1 {
						t.Fatalf("event %d of %d while the disk is full: %v", seq, len(accepted), err)
					}
				}
			}
			if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=64m"); err != nil {
				t.Fatal(err)
			}
			put(t, s, event(f, "after", "1"))
			lost := 0
			for _, seq := range accepted {
				if e, err := s.Next(t.Context(), f, seq); err != nil || e.Seq != seq || len(e.Payload) != 1<<20 {
					lost++
				}
			}
			if lost > 0 || len(accepted) < 10 {
				t.Errorf("%d were accepted, %d of them are lost", len(accepted), lost)
			}
		})
	}
}

// BenchmarkPut is how many events are accepted, durably, in a second.
func BenchmarkPut(b *testing.B) {
	s := open(b, b.TempDir())
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			put(b, s, event(lane("f", "$LATEST"), "a", `{"name":"you"}`))
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
