package agenda

import (
	"container/heap"
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"thaw/schedule"
)

// Agenda is a set of schedules, and who fires them.
type Agenda struct {
	o    Options
	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wait sync.WaitGroup
	wake chan struct{}
	busy chan struct{} // places of those who fire

	mu     sync.Mutex
	rows   map[string]*row
	due    queue
	taken  time.Time // everything that was due until then was taken or missed
	ledger *ledger
}

// row is an entry and its next time.
type row struct {
	Entry
	key  string
	tick schedule.Tick
	at   int // its place in the queue; -1: it has no next time
}

// Open reads what was fired. Load entries, then Start.
func Open(o Options) (*Agenda, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o700); err != nil {
		return nil, err
	}
	l, err := openLedger(o.Path, o.Log)
	if err != nil {
		return nil, err
	}
	a := &Agenda{o: o, wake: make(chan struct{}, 1), busy: make(chan struct{}, workers), rows: map[string]*row{}, ledger: l, taken: l.taken}
	a.ctx, a.stop = context.WithCancel(context.Background())
	if now := o.Now(); a.taken.IsZero() || a.taken.After(now.Add(backLimit)) { // the first start, or a clock that was wrong
		a.taken = now
	}
	return a, nil
}

// Start begins to fire: first what a crash has left.
func (a *Agenda) Start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	left := a.ledger.open
	a.ledger.open = nil
	for _, b := range left {
		if a.o.Now().Sub(b.to) > openFor {
			a.ledger.done(b.n)
			continue
		}
		var list []firing
		for _, r := range a.rows {
			from := b.from
			if early := b.to.Add(-grace); early.After(from) {
				from = early
			}
			for t, ok := r.Timing.Next(from); ok && !t.Due.After(b.to); t, ok = r.Timing.Next(t.Due) {
				if !b.fired[fired{r.key, t.Due.UnixNano()}] {
					list = append(list, firing{r.Entry, r.key, t})
				}
			}
		}
		if len(list) > 0 {
			a.o.Log.Warn("schedules were taken and not fired when the server ended: they are fired now", "due", b.to, "schedules", len(list))
		}
		a.fire(&batch{n: b.n, left: len(list)}, list)
	}
	a.wait.Go(a.run)
}

// Close ends everything; what was taken and not fired is fired after the next Open. It may be called twice, and entries
// may still be set: nothing comes of it.
func (a *Agenda) Close() {
	a.stop()
	a.wait.Wait()
	a.ledger.close()
}

// Load is Set for what was there before the server started: its times go on behind those that were taken.
func (a *Agenda) Load(key string, e Entry) { a.set(key, e, true) }

// Set has a schedule fired from now on, instead of the one before.
func (a *Agenda) Set(key string, e Entry) { a.set(key, e, false) }

func (a *Agenda) set(key string, e Entry, old bool) {
	after := a.o.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if old {
		if after = after.Add(-grace); after.Before(a.taken) {
			after = a.taken
		}
	}
	a.remove(key)
	r := &row{Entry: e, key: key, at: -1}
	a.rows[key] = r
	a.plan(r, after)
	a.poke()
}

// plan finds a row's next time behind a moment. Caller holds mu.
func (a *Agenda) plan(r *row, after time.Time) {
	var ok bool
	if r.tick, ok = r.Timing.Next(after); ok {
		heap.Push(&a.due, r)
	} else if r.Done != nil {
		a.wait.Go(r.Done)
	}
}

// Remove ends a schedule.
func (a *Agenda) Remove(key string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(key)
}

func (a *Agenda) remove(key string) {
	if r := a.rows[key]; r != nil {
		delete(a.rows, key)
		if r.at >= 0 {
			heap.Remove(&a.due, r.at)
		}
	}
}

// Next is when a schedule is due next; zero: never.
func (a *Agenda) Next(key string) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r := a.rows[key]; r != nil && r.at >= 0 {
		return r.tick.Due
	}
	return time.Time{}
}

func (a *Agenda) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *Agenda) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	last := a.o.Now()
	for {
		now := a.o.Now()
		if now.Before(last.Add(-backLimit)) {
			a.startOver(now)
		}
		if now.After(last) || now.Before(last.Add(-backLimit)) {
			last = now
		}
		timer.Reset(a.take(now))
		select {
		case <-a.ctx.Done():
			return
		case <-a.wake:
		case <-timer.C:
		}
	}
}

// startOver forgets what was taken: the clock was far ahead.
func (a *Agenda) startOver(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.o.Log.Warn("the clock was set back by more than an hour: schedules are planned anew", "now", now)
	a.taken, a.due = now, nil
	for _, r := range a.rows {
		r.at = -1
		a.plan(r, now)
	}
}

// firing is an entry at one of its times.
type firing struct {
	Entry
	key  string
	tick schedule.Tick
}

// take takes what is due, and says how long there is nothing to do.
func (a *Agenda) take(now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	var list []firing
	missed, to := 0, a.taken
	for len(a.due) > 0 && !a.due[0].tick.Due.After(now) {
		r := heap.Pop(&a.due).(*row)
		if r.tick.Due.Before(now.Add(-grace)) {
			missed++
			a.plan(r, now.Add(-grace))
			continue
		}
		list = append(list, firing{r.Entry, r.key, r.tick})
		if r.tick.Due.After(to) {
			to = r.tick.Due
		}
		if next, ok := r.Timing.Next(r.tick.Due); ok {
			r.tick = next
			heap.Push(&a.due, r)
		} else {
			list[len(list)-1].Done = r.Done
			continue
		}
		list[len(list)-1].Done = nil
	}
	if missed > 0 {
		a.o.Log.Warn("schedules were missed: the clock has gone on without them", "schedules", missed)
	}
	if len(list) > 0 {
		n, err := a.ledger.begin(a.taken, to)
		if err != nil { // fired all the same: at least once
			a.o.Log.Error("it cannot be written down that schedules are fired: a restart may fire them again", "error", err)
		}
		a.wait.Go(a.ledger.sync)
		a.taken = to
		a.fire(&batch{n: n, left: len(list)}, list)
	}
	if len(a.due) == 0 {
		return time.Hour // somebody pokes before
	}
	return min(lookEvery, max(0, a.due[0].tick.Due.Sub(a.o.Now())))
}

// batch is what was taken together.
type batch struct {
	n  uint64
	mu sync.Mutex

	left int
}

// fire fires a batch, by goroutines of its own.
func (a *Agenda) fire(b *batch, list []firing) {
	if len(list) == 0 {
		a.ledger.done(b.n)
		return
	}
	next := make(chan firing, len(list))
	for _, f := range list {
		next <- f
	}
	close(next)
	for range min(workers, len(list)) {
		a.wait.Go(func() {
			for f := range next {
				select {
				case a.busy <- struct{}{}:
				case <-a.ctx.Done():
					return
				}
				a.one(b, f)
				<-a.busy
			}
		})
	}
}

// one fires one schedule.
func (a *Agenda) one(b *batch, f firing) {
	for began := a.o.Now(); ; {
		err := f.Fire(a.ctx, f.tick)
		if a.ctx.Err() != nil && err != nil {
			return // it is open in the ledger
		}
		if err == nil {
			break
		}
		a.o.Log.Error("a schedule could not be fired: it is tried again", "schedule", f.key, "due", f.tick.Due, "error", err)
		if a.o.Now().Sub(began) > openFor {
			break
		}
		select {
		case <-time.After(time.Second):
		case <-a.ctx.Done():
			return
		}
	}
	a.ledger.note(b.n, f.key, f.tick.Due)
	if a.o.Fired != nil {
		a.o.Fired(a.o.Now().Sub(f.tick.Due))
	}
	if f.Done != nil {
		f.Done()
	}
	b.mu.Lock()
	b.left--
	over := b.left == 0
	b.mu.Unlock()
	if over {
		a.ledger.done(b.n)
	}
}
