package async

import (
	"container/heap"
	"context"
	"errors"
	"sync"
	"time"
)

// tellers is how many events of a lane are told to destinations at a time.
const tellers = 4

// lane has the events of one qualifier of a function run. Its own goroutine begins everything.
type lane struct {
	q    *Queue
	key  Lane
	wake chan struct{} // buffered: something has changed

	mu      sync.Mutex
	held    int  // events on their way to the store
	fresh   bool // there may be events at or behind next
	came    int  // grows with every event
	next    uint64
	running int
	telling int
	waiting agenda // for another attempt
	untold  agenda // ended; destinations are to be told
	paused  time.Time
	backOff time.Duration // the last pause; 0: the last attempt reached the function
	tried   *known        // of events of before; nil when all were looked at
}

// item is an event between two looks at it. Its payload is on disk.
type item struct {
	seq      uint64
	due      time.Time
	progress *Progress // nil: nothing is known; its Response may be on disk only
	failures int       // of telling in a row
	aged     bool      // its age was told
	answer   Answer    // why the last attempts did not reach the function
}

// agenda is a heap by due, and then by age.
type agenda []*item

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].due.Before(a[j].due) || a[i].due.Equal(a[j].due) && a[i].seq < a[j].seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(*item)) }
func (a *agenda) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = nil
	*a = old[:len(old)-1]
	return x
}

// take returns the first item when it is due.
func (a *agenda) take(now time.Time) *item {
	if len(*a) == 0 || (*a)[0].due.After(now) {
		return nil
	}
	return heap.Pop(a).(*item)
}

func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// release says that an event which hold waited for is in the store, or will not come (seq 0).
func (l *lane) release(seq uint64) {
	l.mu.Lock()
	l.held--
	if seq > 0 {
		l.fresh = true
		l.came++
	}
	l.mu.Unlock()
	l.poke()
}

// run begins whatever is due, until there is nothing left.
func (l *lane) run() {
	l.mu.Lock()
	l.fresh = true
	l.mu.Unlock()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for l.q.starts.Err() == nil {
		for l.begin() {
		}
		at, any := l.soonest()
		if !any && l.q.over(l) {
			return
		}
		timer.Stop()
		if !at.IsZero() {
			timer.Reset(max(0, time.Until(at)))
		}
		select {
		case <-l.wake:
		case <-timer.C:
		case <-l.q.starts.Done():
		}
	}
}

// soonest is when the lane has to look again by itself, zero: only when something happens; any: it has something to do.
func (l *lane) soonest() (at time.Time, any bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	sooner := func(t time.Time) {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	later := func(a, b time.Time) time.Time {
		if a.After(b) {
			return a
		}
		return b
	}
	if len(l.untold) > 0 && l.telling < tellers {
		sooner(l.untold[0].due)
	}
	if l.running < l.q.o.Concurrency {
		if len(l.waiting) > 0 {
			sooner(later(l.waiting[0].due, l.paused))
		}
		if l.fresh {
			sooner(l.paused)
		}
	}
	return at, !at.IsZero() || l.held > 0 || l.running+l.telling > 0
}

// begin begins one thing that is due; false: nothing is.
func (l *lane) begin() bool {
	l.mu.Lock()
	now := time.Now()
	if l.telling < tellers {
		if it := l.untold.take(now); it != nil {
			l.telling++
			l.mu.Unlock()
			l.q.work.Go(func() { l.tell(it) })
			return true
		}
	}
	// After a pause one event finds out for all whether the others need to be tried.
	room := l.q.o.Concurrency
	if l.backOff > 0 {
		room = 1
	}
	if l.running >= room || now.Before(l.paused) {
		l.mu.Unlock()
		return false
	}
	if it := l.waiting.take(now); it != nil {
		l.running++
		l.mu.Unlock()
		l.q.work.Go(func() { l.try(it, nil) })
		return true
	}
	if !l.fresh {
		l.mu.Unlock()
		return false
	}
	from, came := l.next, l.came
	l.mu.Unlock()
	return l.load(from, came)
}

// load takes the next event that nobody has looked at yet. Events come to be seen in the order of their numbers, so none
// is missed.
func (l *lane) load(from uint64, came int) bool {
	e, err := l.q.o.Store.Next(l.q.starts, l.key, from)
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(err, ErrNone):
		if l.came != came {
			return true
		}
		l.fresh, l.tried = false, nil
		return false
	case err != nil:
		if l.q.starts.Err() == nil {
			l.q.o.Log.Error("asynchronous events cannot be read", "fn", l.key.Name, "qualifier", l.key.Qualifier, "error", err)
		}
		l.paused = time.Now().Add(readAgain)
		return false
	}
	l.next = e.Seq + 1
	it := &item{seq: e.Seq, progress: l.tried.take(e.Seq)}
	switch p := it.progress; {
	case p != nil && p.Ended != nil:
		heap.Push(&l.untold, it)
	case p != nil && p.Due.After(time.Now()):
		it.due = p.Due
		heap.Push(&l.waiting, it)
	default:
		l.running++
		l.q.work.Go(func() { l.try(it, e) })
	}
	return true
}

const readAgain = time.Second

// read reads an event; nil: it is gone, or the queue is.
func (l *lane) read(ctx context.Context, seq uint64) *Event {
	for {
		e, err := l.q.o.Store.Next(ctx, l.key, seq)
		switch {
		case err == nil && e.Seq == seq:
			return e
		case err == nil || errors.Is(err, ErrNone):
			return nil
		case ctx.Err() != nil:
			return nil
		}
		l.q.o.Log.Error("an asynchronous event cannot be read", "fn", l.key.Name, "qualifier", l.key.Qualifier, "error", err)
		select {
		case <-time.After(readAgain):
		case <-ctx.Done():
		}
	}
}

// keep does a write until it is done; false: the queue is gone, and what was to be written is found out again at the
// next start.
func (l *lane) keep(what string, write func(context.Context) error) bool {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := write(l.q.ctx)
		if err == nil {
			return true
		}
		if l.q.ctx.Err() != nil {
			return false
		}
		l.q.o.Log.Error("asynchronous event: "+what, "fn", l.key.Name, "qualifier", l.key.Qualifier, "error", err)
		select {
		case <-time.After(wait):
		case <-l.q.starts.Done():
			return false
		}
	}
}
