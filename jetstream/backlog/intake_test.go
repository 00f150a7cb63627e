package backlog

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"

	"thaw/async"
	"thaw/internal/childtest"
)

// together has n callers put at once, as one batch, and returns when all have their answers.
func together(s *Store, n int, put func(i int)) {
	in := &s.eventsIn
	in.turn.Lock()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { put(i) })
	}
	for joined := 0; joined < n; runtime.Gosched() {
		in.mu.Lock()
		if in.next != nil {
			joined = len(in.next.messages)
		}
		in.mu.Unlock()
	}
	in.turn.Unlock()
	wg.Wait()
}

// ids counts the events of a lane by their request IDs.
func ids(t *testing.T, s *Store, l async.Lane) map[string]int {
	t.Helper()
	found := map[string]int{}
	for from := uint64(1); ; {
		e, err := s.Next(t.Context(), l, from)
		if errors.Is(err, async.ErrNone) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		found[e.RequestID]++
		from = e.Seq + 1
	}
}

// Events that come at once are written as one batch and share one sync. One in the middle that fails, and a sender that
// does not wait, harm no other.
func TestBatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir)
	f := lane("f", "$LATEST")
	const n = 200
	syncs := s.sync.syncs
	gone, cancel := context.WithCancel(t.Context())
	together(s, n, func(i int) {
		switch i {
		case 77:
			if seq, err := s.eventsIn.put(t.Context(), &nats.Msg{Subject: "nobody.has.it"}); err == nil || seq != 0 {
				t.Errorf("a message of no stream has number %d, %v", seq, err)
			}
		case 78:
			cancel()
			if err := s.Put(gone, event(f, "left", "1")); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		default:
			e := event(f, fmt.Sprint(i), "1")
			if err := s.Put(t.Context(), e); err != nil || e.Seq == 0 {
				t.Errorf("event %d has number %d, %v", i, e.Seq, err)
			}
		}
	})
	if s.sync.syncs != syncs+1 {
		t.Errorf("%d syncs", s.sync.syncs-syncs)
	}
	put(t, s, event(f, "after", "1")) // the store goes on
	s.Close()
	if err := s.Put(t.Context(), event(f, "late", "1")); err == nil {
		t.Error("a closed store takes an event")
	}
	found := ids(t, open(t, dir), f)
	delete(found, "left") // its sender does not know
	if len(found) != n-1 {
		t.Errorf("%d events are there", len(found))
	}
	for id, times := range found {
		if times != 1 {
			t.Errorf("event %s is there %d times", id, times)
		}
	}
}

// Of a batch whose sync fails nothing is accepted, and nothing is left.
func TestBatchIsNotSynced(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir())
	f, dir := lane("f", "$LATEST"), s.sync.dir
	s.sync.dir = filepath.Join(t.TempDir(), "none")
	together(s, 20, func(i int) {
		if err := s.Put(t.Context(), event(f, fmt.Sprint(i), "1")); err == nil {
			t.Error("an event was accepted that is not on disk")
		}
	})
	s.sync.dir = dir
	put(t, s, event(f, "after", "1"))
	if found := ids(t, s, f); len(found) != 1 || found["after"] != 1 {
		t.Error(found)
	}
}

// TestKilledWriters is the child of TestKillInABatch: many put without end, and each prints what was acknowledged.
func TestKilledWriters(t *testing.T) {
	s := open(t, childtest.Arg(t))
	var wg sync.WaitGroup
	for writer := range 128 {
		wg.Go(func() {
			for n := 0; ; n++ {
				id := fmt.Sprint(writer, "-", n)
				put(t, s, event(lane("f", "$LATEST"), id, strings.Repeat("x", n%700)))
				fmt.Printf("put %s\n", id)
			}
		})
	}
	wg.Wait()
}

// C-100: what was acknowledged out of a batch is there after a kill in the middle of one, and once.
func TestKillInABatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	c := childtest.Start(t, "TestKilledWriters", dir)
	var lines []string
	for range 2000 {
		lines = append(lines, c.Line())
	}
	for line := range strings.Lines(c.Kill()) { // what was still in the pipe was acknowledged as well
		if strings.HasSuffix(line, "\n") {
			lines = append(lines, line)
		}
	}
	found := ids(t, open(t, dir), lane("f", "$LATEST"))
	acknowledged := 0
	for _, line := range lines {
		if id, ok := strings.CutPrefix(strings.TrimSpace(line), "put "); ok {
			acknowledged++
			if found[id] != 1 {
				t.Errorf("event %s is there %d times", id, found[id])
			}
		}
	}
	if acknowledged < 2000 || len(found) > acknowledged+128 {
		t.Errorf("%d were acknowledged, %d are there", acknowledged, len(found))
	}
}
