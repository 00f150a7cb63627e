// Package cache keeps what origins answer for as long as it is good.
//
// A value is fresh from when its fetch began until its TTL is over, by the wall clock: time in which the environment
// was frozen, or lay in a snapshot, counts. It is fetched again ahead of its end if somebody has used it since the last
// fetch. When the origin fails, the old value is given, as stale, for a bounded time beyond its end. One fetch runs for
// a key, whoever waits.
package cache

import (
	"container/list"
	"context"
	"errors"
	"sync"
	"time"
)

// Value is what an origin answered. It is not changed once the cache has it.
type Value struct {
	Status      int
	ContentType string
	Body        []byte
	TTL         time.Duration // 0: it is the answer, and is not kept
	Validator   string        // of the origin, which gets it back with the next fetch
}

// Fetch asks the origin. old is what the cache has, or nil; an origin that finds it unchanged returns it again, with a TTL.
type Fetch func(ctx context.Context, old *Value) (*Value, error)

// Options are the bounds of a cache.
type Options struct {
	Entries int           // at most; 0: nothing is kept
	Bytes   int           // of values and keys together, at most
	Timeout time.Duration // of a fetch
	Stale   time.Duration // beyond its end that a value is given when the origin fails
	Fetches int           // at once, at most
	// Kept is told after each fetch, before its value is given to anybody, when the first of the values ends that are kept and
	// good for at least KeptFor.
	Kept    func(first time.Time)
	KeptFor time.Duration
}

// How a value came.
const (
	Hit   = "hit"
	Miss  = "miss"  // it was waited for
	Stale = "stale" // its time is over, and the origin failed
)

// Answer is a value as it is given.
type Answer struct {
	*Value
	Age time.Duration
	How string
}

// Ahead of its end that a value is fetched again: a fifth of its TTL, and at most maxLead.
const maxLead = time.Minute

// Pauses after a failed fetch, while there is a stale value: they double.
const (
	minPause = time.Second
	maxPause = 30 * time.Second
)

// overhead is what an entry costs beside its key and body.
const overhead = 512

// ErrClosed says that the cache ends.
var ErrClosed = errors.New("the cache ends")

// Cache keeps values. Its goroutines are its fetches, which Close ends.
type Cache struct {
	o     Options
	slots chan struct{}

	mu      sync.Mutex
	entries map[string]*entry
	order   *list.List // of *entry, the last used first
	bytes   int
	closed  bool
	flights map[*flight]struct{}
	running sync.WaitGroup
}

type entry struct {
	key    string
	fetch  Fetch
	at     *list.Element // nil: it is not in the cache any more
	value  *Value        // nil: none yet
	got    time.Time     // when the fetch of value began; wall clock
	used   bool          // since then
	flight *flight       // nil: none runs
	timer  *time.Timer   // of the next fetch ahead
	pause  time.Duration // after the last failure; 0: it succeeded
	retry  time.Time     // when it is over
}

type flight struct {
	began  time.Time
	cancel context.CancelFunc
	done   chan struct{} // closed when answer and err are there
	answer *Value
	err    error
}

// New makes a cache.
func New(o Options) *Cache {
	return &Cache{o: o, slots: make(chan struct{}, max(o.Fetches, 1)), entries: map[string]*entry{}, order: list.New(),
		flights: map[*flight]struct{}{}}
}

// now is the wall clock's time alone: the monotonic clock stands still in a snapshot.
func now() time.Time { return time.Now().Round(0) }

func (e *entry) end() time.Time { return e.got.Add(e.value.TTL) }

// fresh says whether a value is good. One from the future tells that the clock was set back: nobody knows its age.
func (e *entry) fresh(t time.Time) bool {
	return e.value != nil && t.Before(e.end()) && !t.Before(e.got)
}

// stale says whether a value may be given when the origin fails.
func (e *entry) stale(t time.Time, beyond time.Duration) bool {
	return e.value != nil && t.Before(e.end().Add(beyond)) && !t.Before(e.got)
}

// ahead is when a value is fetched again.
func (e *entry) ahead() time.Time { return e.end().Add(-min(e.value.TTL/5, maxLead)) }

// Get gives the value of a key: the one that is kept, or else what fetch brings.
func (c *Cache) Get(ctx context.Context, key string, fetch Fetch) (Answer, error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return Answer{}, ErrClosed
	}
	t, e := now(), c.entries[key]
	if e == nil {
		e = &entry{key: key, fetch: fetch}
		e.at = c.order.PushFront(e)
		c.entries[key] = e
		c.bytes += len(key) + overhead
		c.evict(e)
	}
	if e.at != nil {
		c.order.MoveToFront(e.at)
	}
	e.used = true
	if e.fresh(t) {
		c.launchIfDue(e, t)
		a := Answer{e.value, t.Sub(e.got), Hit}
		c.mu.Unlock()
		return a, nil
	}
	if e.stale(t, c.o.Stale) && t.Before(e.retry) { // the origin has just failed: nobody waits for it again so soon
		a := Answer{e.value, t.Sub(e.got), Stale}
		c.mu.Unlock()
		return a, nil
	}
	f := c.launch(e, t)
	c.mu.Unlock()
	var err error
	select {
	case <-f.done:
		if err = f.err; err == nil {
			return Answer{f.answer, max(now().Sub(f.began), 0), Miss}, nil
		}
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := now(); e.stale(t, c.o.Stale) {
		return Answer{e.value, t.Sub(e.got), Stale}, nil
	}
	return Answer{}, err
}

// launch begins a fetch, unless one runs. One that has outlived its time was frozen with the environment: nobody waits for it.
func (c *Cache) launch(e *entry, t time.Time) *flight {
	if f := e.flight; f != nil {
		if age := t.Sub(f.began); age >= 0 && age <= c.o.Timeout {
			return f
		}
		f.cancel()
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.o.Timeout)
	f := &flight{began: t, cancel: cancel, done: make(chan struct{})}
	e.flight = f
	c.flights[f] = struct{}{}
	old := e.value
	c.running.Go(func() {
		defer cancel()
		v, err := c.ask(ctx, e.fetch, old)
		c.land(e, f, v, err)
	})
	return f
}

func (c *Cache) ask(ctx context.Context, fetch Fetch, old *Value) (*Value, error) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-c.slots }()
	return fetch(ctx, old)
}

// land takes in what a fetch brought.
func (c *Cache) land(e *entry, f *flight, v *Value, err error) {
	c.mu.Lock()
	delete(c.flights, f)
	if e.flight == f { // else a later one has taken its place
		e.flight = nil
		if err != nil {
			c.failed(e)
		} else {
			c.keep(e, f.began, v)
		}
	}
	first, closed := c.first(), c.closed
	c.mu.Unlock()
	if err == nil && c.o.Kept != nil && !closed && !first.IsZero() {
		c.o.Kept(first)
	}
	f.answer, f.err = v, err
	close(f.done)
}

func (c *Cache) failed(e *entry) {
	t := now()
	if !e.stale(t, c.o.Stale) {
		c.drop(e)
		return
	}
	e.pause = min(max(2*e.pause, minPause), maxPause)
	e.retry = t.Add(e.pause)
	c.arm(e, e.retry)
}

func (c *Cache) keep(e *entry, began time.Time, v *Value) {
	if v.TTL <= 0 || len(v.Body) > c.o.Bytes/4 {
		c.drop(e)
		return
	}
	if e.at == nil { // it was evicted meanwhile
		return
	}
	if e.value != nil {
		c.bytes -= len(e.value.Body)
	}
	c.bytes += len(v.Body)
	e.value, e.got, e.used, e.pause, e.retry = v, began, false, 0, time.Time{}
	c.evict(e)
	if e.at != nil {
		c.arm(e, e.ahead())
	}
}

// evict takes out what was used longest ago, and keep last of all, until the bounds hold.
func (c *Cache) evict(keep *entry) {
	for c.order.Len() > c.o.Entries || c.bytes > c.o.Bytes {
		e := c.order.Back().Value.(*entry)
		if e == keep && c.order.Len() > 1 {
			c.order.MoveToFront(e.at)
			continue
		}
		c.drop(e)
		if c.order.Len() == 0 {
			return
		}
	}
}

func (c *Cache) drop(e *entry) {
	if e.timer != nil {
		e.timer.Stop()
	}
	if e.at == nil {
		return
	}
	c.order.Remove(e.at)
	c.bytes -= len(e.key) + overhead
	if e.value != nil {
		c.bytes -= len(e.value.Body)
	}
	e.at = nil
	delete(c.entries, e.key)
}

// arm has an entry looked at.
func (c *Cache) arm(e *entry, at time.Time) {
	if e.timer != nil {
		e.timer.Stop()
	}
	e.timer = time.AfterFunc(max(at.Sub(now()), 0), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if e.at != nil && !c.closed {
			c.launchIfDue(e, now())
		}
	})
}

// launchIfDue fetches a value ahead of its end, if it is used. What nobody uses stays until its end, and goes when it is
// asked for or evicted.
func (c *Cache) launchIfDue(e *entry, t time.Time) {
	if e.value != nil && e.used && e.flight == nil && !t.Before(e.ahead()) && !t.Before(e.retry) {
		c.launch(e, t)
	}
}

// Thawed fetches what became due while timers stood still.
func (c *Cache) Thawed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	t := now()
	for _, e := range c.entries {
		c.launchIfDue(e, t)
	}
}

// Restored fetches everything again: this copy was made of a snapshot. What is fresh by the clock is given meanwhile.
// Fetches of before the snapshot are given up: their connections are dead.
func (c *Cache) Restored() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	t := now()
	for _, e := range c.entries {
		if f := e.flight; f != nil {
			f.cancel()
			e.flight = nil
		}
		e.retry, e.pause = time.Time{}, 0
		if e.value != nil {
			c.launch(e, t)
		}
	}
}

// Settle waits until no fetch runs, or ctx ends.
func (c *Cache) Settle(ctx context.Context) {
	c.mu.Lock()
	running := make([]*flight, 0, len(c.flights))
	for f := range c.flights {
		running = append(running, f)
	}
	c.mu.Unlock()
	for _, f := range running {
		select {
		case <-f.done:
		case <-ctx.Done():
			return
		}
	}
}

// first is the earliest end of what is kept and has a say in it; zero: nothing has.
func (c *Cache) first() (end time.Time) {
	for _, e := range c.entries {
		if e.value != nil && e.value.TTL >= c.o.KeptFor && (end.IsZero() || e.end().Before(end)) {
			end = e.end()
		}
	}
	return end
}

// Close ends all fetches and waits for them.
func (c *Cache) Close() {
	c.mu.Lock()
	c.closed = true
	for _, e := range c.entries {
		c.drop(e)
	}
	for f := range c.flights {
		f.cancel()
	}
	c.mu.Unlock()
	c.running.Wait()
}
