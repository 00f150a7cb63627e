package outbox

import (
	"container/heap"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// Options of an Outbox; all are required.
type Options struct {
	Store Store
	// Send delivers one letter. *Failure says what kind of failure it was.
	Send func(ctx context.Context, l *Letter) error
	Log  *slog.Logger
}

// Outbox sends letters.
type Outbox struct {
	o    Options
	ctx  context.Context // ends with Close
	stop context.CancelFunc
	wait sync.WaitGroup

	mu    sync.Mutex
	lanes map[string]*lane // by target; one that has no letters is not there
}

// lane is the letters of one target, so that one that is slow holds up nobody else.
type lane struct {
	items   items
	running int
	wake    chan struct{}
}

// item is a letter as it is known in memory.
type item struct {
	seq      uint64
	attempts int
	due      time.Time
}

type items []item

func (h items) Len() int           { return len(h) }
func (h items) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h items) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *items) Push(x any)        { *h = append(*h, x.(item)) }
func (h *items) Pop() any {
	old := *h
	last := old[len(old)-1]
	*h = old[:len(old)-1]
	return last
}

const (
	atOnce    = 8                // attempts in flight for one target
	sendLimit = 30 * time.Second // one attempt
)

// Open begins to send what is on disk.
func Open(ctx context.Context, o Options) (*Outbox, error) {
	b := &Outbox{o: o, lanes: map[string]*lane{}}
	b.ctx, b.stop = context.WithCancel(context.Background())
	err := o.Store.All(ctx, func(l *Letter) { b.add(l.To, item{seq: l.Seq}) })
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// Close ends the attempts; what they were for stays on disk.
func (b *Outbox) Close() {
	b.stop()
	b.wait.Wait()
}

// Accept returns when a letter is on disk.
func (b *Outbox) Accept(ctx context.Context, l *Letter) error {
	if err := b.o.Store.Put(ctx, l); err != nil {
		return err
	}
	b.add(l.To, item{seq: l.Seq})
	return nil
}

func (b *Outbox) add(to string, it item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.lanes[to]
	if l == nil {
		if b.ctx.Err() != nil {
			return // it is on disk
		}
		l = &lane{wake: make(chan struct{}, 1)}
		b.lanes[to] = l
		b.wait.Go(func() { b.run(to, l) })
	}
	heap.Push(&l.items, it)
	l.poke()
}

func (l *lane) poke() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run begins the attempts of a lane, until it has nothing more.
func (b *Outbox) run(to string, l *lane) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		wait, done := b.begin(to, l)
		if done {
			return
		}
		timer.Reset(wait)
		select {
		case <-b.ctx.Done():
			return
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// begin begins what is due, and says when the next is.
func (b *Outbox) begin(to string, l *lane) (wait time.Duration, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(l.items) > 0 && l.running < atOnce {
		if wait := time.Until(l.items[0].due); wait > 0 {
			return wait, false
		}
		it := heap.Pop(&l.items).(item)
		l.running++
		b.wait.Go(func() {
			b.attempt(to, it)
			b.mu.Lock()
			l.running--
			b.mu.Unlock()
			l.poke()
		})
	}
	if len(l.items) == 0 && l.running == 0 {
		delete(b.lanes, to)
		return 0, true
	}
	return time.Hour, false // somebody pokes before
}

// attempt sends a letter once.
func (b *Outbox) attempt(to string, it item) {
	l, err := b.o.Store.Get(b.ctx, it.seq)
	if errors.Is(err, ErrNone) {
		return
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(b.ctx, sendLimit)
		err = b.o.Send(ctx, l)
		cancel()
	} else {
		l = &Letter{Seq: it.seq, To: to, Accepted: time.Now(), MaxAttempts: 1 << 30, MaxAge: time.Hour} // the disk's fault is not the letter's
	}
	if b.ctx.Err() != nil && err != nil {
		return
	}
	it.attempts++
	if err == nil {
		b.remove(it)
		return
	}
	step := Next(l, it.attempts, time.Now(), err, dice())
	args := []any{"target", to, "attempts", it.attempts, "error", err}
	if step.Again > 0 {
		if it.attempts == 1 {
			b.o.Log.Warn("a target cannot be reached: its message is sent again", args...)
		}
		it.due = time.Now().Add(step.Again)
		b.add(to, it)
		return
	}
	if dead := Dead(l, err, it.attempts, step.Condition, time.Now()); dead != nil {
		if err := b.Accept(b.ctx, dead); err != nil {
			b.o.Log.Error("a dead letter cannot be kept: its message is sent again", append(args, "reason", err)...)
			it.due = time.Now().Add(longestWait)
			b.add(to, it)
			return
		}
		b.o.Log.Warn("a message could not be delivered and goes to its dead-letter queue", append(args, "queue", l.DeadLetter)...)
	} else {
		b.o.Log.Error("a message could not be delivered and is lost: its target has no dead-letter queue", args...)
	}
	b.remove(it)
}

func (b *Outbox) remove(it item) {
	if err := b.o.Store.Remove(context.WithoutCancel(b.ctx), it.seq); err != nil {
		b.o.Log.Error("a message that is done with stays on disk, and will be sent again after a restart", "error", err)
	}
}
