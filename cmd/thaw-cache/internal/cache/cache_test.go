package cache

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var errDown = errors.New("the origin is down")

// source is an origin whose values are numbered.
type source struct {
	mu    sync.Mutex
	asked int
	takes time.Duration
	down  bool
	ttl   time.Duration
	body  int // bytes more
}

func (s *source) fetch(ctx context.Context, _ *Value) (*Value, error) {
	s.mu.Lock()
	s.asked++
	n, takes, down := s.asked, s.takes, s.down
	s.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if down {
		return nil, errDown
	}
	return &Value{Status: 200, Body: []byte(fmt.Sprint(n) + strings.Repeat("x", s.body)), TTL: s.ttl}, nil
}

func (s *source) set(down bool) { s.mu.Lock(); s.down = down; s.mu.Unlock() }

func (s *source) times() int { s.mu.Lock(); defer s.mu.Unlock(); return s.asked }

var usual = Options{Entries: 100, Bytes: 1 << 20, Timeout: 5 * time.Second, Stale: time.Minute, Fetches: 4}

// in runs a test on a clock of its own.
func in(t *testing.T, o Options, test func(t *testing.T, c *Cache)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := New(o)
		defer c.Close()
		test(t, c)
	})
}

// expect asks for a key, and fails the test unless the answer and the time it took are these.
func expect(t *testing.T, c *Cache, s *source, want, how string, took time.Duration) {
	t.Helper()
	began := time.Now()
	a, err := c.Get(t.Context(), "k", s.fetch)
	if err != nil {
		t.Fatalf("%v, want %s", err, want)
	}
	if string(a.Body) != want || a.How != how || time.Since(began) != took {
		t.Fatalf("%s, %s after %v; want %s, %s after %v", a.Body, a.How, time.Since(began), want, how, took)
	}
}

func TestTTL(t *testing.T) {
	in(t, usual, func(t *testing.T, c *Cache) {
		s := &source{ttl: 10 * time.Second, takes: time.Second}
		expect(t, c, s, "1", Miss, time.Second)
		time.Sleep(9*time.Second - 1) // the age counts from the beginning of the fetch
		if n := s.times(); n != 1 {
			t.Errorf("a value that nobody uses was fetched %d times", n)
		}
		time.Sleep(time.Nanosecond)
		expect(t, c, s, "2", Miss, time.Second)
	})
}

// Who uses a value never waits for the origin again, and sees none that is too old.
func TestAhead(t *testing.T) {
	in(t, usual, func(t *testing.T, c *Cache) {
		s := &source{ttl: 10 * time.Second, takes: time.Second}
		expect(t, c, s, "1", Miss, time.Second)
		for range 200 {
			time.Sleep(500 * time.Millisecond)
			a, err := c.Get(t.Context(), "k", s.fetch)
			if err != nil || a.How != Hit || a.Age >= s.ttl {
				t.Fatalf("%v %+v", err, a)
			}
		}
		if n := s.times(); n < 12 || n > 14 { // each 8 s
			t.Errorf("the origin was asked %d times in 100 s", n)
		}
	})
}

func TestStaleOnError(t *testing.T) {
	in(t, usual, func(t *testing.T, c *Cache) {
		s := &source{ttl: 10 * time.Second}
		expect(t, c, s, "1", Miss, 0)
		s.set(true)
		time.Sleep(10 * time.Second)
		expect(t, c, s, "1", Stale, 0)
		before := s.times()
		expect(t, c, s, "1", Stale, 0)
		if n := s.times(); n != before {
			t.Errorf("an origin that had just failed was asked again")
		}
		time.Sleep(time.Minute - 1)
		expect(t, c, s, "1", Stale, 0)
		time.Sleep(time.Nanosecond) // the bound
		if _, err := c.Get(t.Context(), "k", s.fetch); !errors.Is(err, errDown) {
			t.Fatalf("beyond the bound: %v", err)
		}
		s.set(false)
		if a, err := c.Get(t.Context(), "k", s.fetch); err != nil || a.How != Miss {
			t.Fatalf("the origin is up again: %+v, %v", a, err)
		}
	})
	in(t, usual, func(t *testing.T, c *Cache) { // and it recovers by itself, while it is stale
		s := &source{ttl: 10 * time.Second}
		expect(t, c, s, "1", Miss, 0)
		s.set(true)
		time.Sleep(11 * time.Second)
		expect(t, c, s, "1", Stale, 0)
		s.set(false)
		time.Sleep(2 * time.Second)
		expect(t, c, s, fmt.Sprint(s.times()), Hit, 0)
	})
}

// An origin that does not answer holds nobody for longer than a fetch may take.
func TestTimeout(t *testing.T) {
	in(t, usual, func(t *testing.T, c *Cache) {
		s := &source{ttl: 10 * time.Second, takes: time.Hour}
		began := time.Now()
		if _, err := c.Get(t.Context(), "k", s.fetch); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != usual.Timeout {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.Get(ctx, "k", s.fetch); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the caller's own end: %v", err)
		}
	})
	in(t, usual, func(t *testing.T, c *Cache) { // nor beyond the caller's own end, who is given the old value
		s := &source{ttl: 10 * time.Second}
		expect(t, c, s, "1", Miss, 0)
		s.takes = time.Hour
		time.Sleep(10 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if a, err := c.Get(ctx, "k", s.fetch); err != nil || a.How != Stale {
			t.Errorf("%+v, %v", a, err)
		}
	})
}

func TestOneFetchForAll(t *testing.T) {
	in(t, usual, func(t *testing.T, c *Cache) {
		s := &source{ttl: 10 * time.Second, takes: time.Second}
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { expect(t, c, s, "1", Miss, time.Second) })
		}
		all.Wait()
	})
}

// A copy asks for all that it has, and gives what is fresh meanwhile. A fetch of before the snapshot holds nobody.
func TestRestored(t *testing.T) {
	in(t, usual, func(t *testing.T, c *Cache) {
		s := &source{ttl: 100 * time.Second, takes: time.Second}
		expect(t, c, s, "1", Miss, time.Second)
		hangs := &source{ttl: time.Second, takes: time.Hour}
		gone := make(chan error)
		go func() { _, err := c.Get(t.Context(), "hangs", hangs.fetch); gone <- err }()
		synctest.Wait()
		c.Restored()
		expect(t, c, s, "1", Hit, 0)
		c.Settle(t.Context())
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Errorf("the fetch of before: %v", err)
		}
		expect(t, c, s, "2", Hit, 0)
	})
}

func TestFirstEnd(t *testing.T) {
	var ends []time.Duration
	o := usual
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		o.KeptFor = 10 * time.Second
		o.Kept = func(first time.Time) { ends = append(ends, first.Sub(began)) }
		c := New(o)
		defer c.Close()
		for i, ttl := range []time.Duration{time.Second, 30 * time.Second, 9 * time.Second, 10 * time.Second, 20 * time.Second} {
			s := &source{ttl: ttl}
			if _, err := c.Get(t.Context(), fmt.Sprint(i), s.fetch); err != nil {
				t.Fatal(err)
			}
		}
	})
	if want := "[30s 30s 10s 10s]"; fmt.Sprint(ends) != want {
		t.Errorf("told %v, want %s", ends, want)
	}
}

// However much is asked for, what is kept stays within the bounds, and what was used last stays.
func TestBounds(t *testing.T) {
	o := usual
	o.Entries, o.Bytes = 10, 20<<10
	in(t, o, func(t *testing.T, c *Cache) {
		get := func(key string, s *source) Answer {
			a, err := c.Get(t.Context(), key, s.fetch)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		first := &source{ttl: time.Hour, body: 1000}
		for i := range 1000 {
			get(fmt.Sprint(i), &source{ttl: time.Hour, body: i % 4000})
			get("first", first)
			if c.bytes > o.Bytes || c.order.Len() > o.Entries || len(c.entries) != c.order.Len() {
				t.Fatalf("%d bytes, %d entries", c.bytes, c.order.Len())
			}
		}
		if first.times() != 1 {
			t.Errorf("what was used all the time was fetched %d times", first.times())
		}
		big := &source{ttl: time.Hour, body: 6 << 10}
		get("big", big)
		if get("big", big); big.times() != 2 {
			t.Error("a value that is a quarter of all was kept")
		}
		passing := &source{}
		get("passing", passing)
		if get("passing", passing); passing.times() != 2 || c.entries["passing"] != nil {
			t.Error("an answer without a TTL was kept")
		}
	})
	o.Entries = 0
	in(t, o, func(t *testing.T, c *Cache) {
		s := &source{ttl: time.Hour}
		expect(t, c, s, "1", Miss, 0)
		expect(t, c, s, "2", Miss, 0)
	})
}
