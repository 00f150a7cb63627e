package trace

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slow is a sender that waits for the test.
type slow struct {
	mu     sync.Mutex
	sizes  []int
	hold   chan struct{} // nil: it does not wait
	err    error
	closed bool
}

func (s *slow) Send(ctx context.Context, batch []Item) error {
	if s.hold != nil {
		select {
		case <-s.hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sizes = append(s.sizes, len(batch))
	return s.err
}

func (s *slow) Close(context.Context) error { s.closed = true; return nil }

// A collector that does not answer costs nobody anything: what it has no time for is dropped and counted, and neither
// memory nor the time of who offers grows with it. The stop waits no longer than it may.
func TestQueueOfADeadCollector(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{hold: make(chan struct{})}
		q := OpenQueue("x", s, 0, slog.New(slog.DiscardHandler))
		began := time.Now()
		const n = 3 * queueItems
		for range n {
			q.Offer(Item{Segment: &Segment{}})
		}
		for range 2 * queueBytes / MaxDatagram {
			q.Offer(Item{Datagram: make([]byte, MaxDatagram)})
		}
		if time.Since(began) != 0 {
			t.Errorf("offers waited %v", time.Since(began))
		}
		if c := q.Counts(); c.Dropped < n-queueItems-batchItems || c.Sent != 0 || q.bytes.Load() > queueBytes {
			t.Errorf("%+v, %d bytes", c, q.bytes.Load())
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if err := q.Close(ctx); err != nil || time.Since(began) != 2*time.Second || !s.closed {
			t.Errorf("closed after %v: %v", time.Since(began), err)
		}
		if c := q.Counts(); c.Sent != 0 || c.Failed+c.Dropped < n || q.bytes.Load() != 0 {
			t.Errorf("in the end %+v, %d bytes", c, q.bytes.Load())
		}
		q.Offer(Item{}) // too late, and harmless
	})
}

// What is there when the server stops is sent, in batches.
func TestQueueIsFlushed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &slow{}
		q := OpenQueue("x", s, time.Hour, slog.New(slog.DiscardHandler))
		for range batchItems + 10 {
			q.Offer(Item{Segment: &Segment{}})
		}
		synctest.Wait()
		if len(s.sizes) != 1 || s.sizes[0] != batchItems {
			t.Errorf("a full batch does not wait: %v", s.sizes)
		}
		if err := q.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c := q.Counts(); c.Sent != batchItems+10 || c.Dropped != 0 {
			t.Errorf("%+v, %v", c, s.sizes)
		}
	})
}

// That nothing can be sent is said once, and so is that it can again.
func TestQueueTellsOfFailures(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &slow{err: errors.New("nobody is there")}
		q := OpenQueue("x", s, 0, slog.New(slog.NewTextHandler(&log, nil)))
		for i := range 6 {
			if i == 4 {
				s.err = nil
			}
			q.Offer(Item{})
			synctest.Wait()
		}
		if err := q.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := log.String(); strings.Count(got, "cannot be sent") != 1 || strings.Count(got, "sent again") != 1 {
			t.Errorf("the log says:\n%s", got)
		}
		if c := q.Counts(); c.Failed != 4 || c.Sent != 2 {
			t.Errorf("%+v", c)
		}
	})
}
