package async

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"thaw/function"
	"thaw/invoke"
)

// Invoker has a function run; *invoke.Invoker does.
type Invoker interface {
	Invoke(ctx context.Context, r *invoke.Request) (*invoke.Result, error)
}

// Sender tells somebody outside how an event ended.
type Sender interface {
	Send(ctx context.Context, m *Message) error
}

// Metrics is told what happens. It decides nothing.
type Metrics interface {
	Received(l Lane)                     // an event was accepted
	Age(l Lane, age time.Duration)       // of an event that goes to its function
	Dropped(l Lane)                      // an event ended without having been run to success
	Undelivered(l Lane, deadLetter bool) // a destination or dead-letter queue was given up
}

// Tracer records what becomes of events. It must not block.
type Tracer interface {
	// Accepted returns the trace header that all attempts of an event have in common.
	Accepted(e *Event) string
	// Tried is told after each attempt, and once more when none follows.
	Tried(e *Event, tries []Try, ended bool)
}

// Options of a Queue. Members without a stated default are required.
type Options struct {
	Store       Store
	Invoker     Invoker
	View        *function.View
	Sender      Sender
	Metrics     Metrics
	Tracer      Tracer // nil: there is none
	Log         *slog.Logger
	Concurrency int    // events of one lane that run at a time; 0: 16
	Delays      Delays // zero: AWSDelays
}

// Queue has functions run for the events that it accepted.
type Queue struct {
	o      Options
	ctx    context.Context // of stores and senders; ends when Close has given up
	stop   context.CancelFunc
	starts context.Context // nothing is begun after its end
	leave  context.CancelFunc
	work   sync.WaitGroup

	mu    sync.Mutex
	lanes map[Lane]*lane
}

// Open goes on with what the store has. The functions must be known by now: Close ends it.
func Open(ctx context.Context, o Options) (*Queue, error) {
	if o.Concurrency == 0 {
		o.Concurrency = 16
	}
	if o.Delays.Retry == nil {
		o.Delays = AWSDelays()
	}
	q := &Queue{o: o, lanes: map[Lane]*lane{}}
	q.ctx, q.stop = context.WithCancel(context.Background())
	q.starts, q.leave = context.WithCancel(q.ctx)
	tried := &known{of: map[uint64]*Progress{}}
	if err := o.Store.Tried(ctx, func(seq uint64, p *Progress) { tried.of[seq] = p }); err != nil {
		return nil, err
	}
	lanes, err := o.Store.Lanes(ctx)
	if err != nil {
		return nil, err
	}
	events := 0
	for l, n := range lanes {
		events += n
		q.mu.Lock()
		q.laneLocked(l, tried)
		q.mu.Unlock()
	}
	if events > 0 {
		o.Log.Info("asynchronous events of before", "events", events, "lanes", len(lanes))
	}
	return q, nil
}

// known is what is known of the events of before. All lanes share it, and each takes its own.
type known struct {
	mu sync.Mutex
	of map[uint64]*Progress
}

// take returns what is known of an event, once; nil: nothing.
func (k *known) take(seq uint64) *Progress {
	if k == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.of[seq]
	delete(k.of, seq)
	return p
}

// Accept takes an event. When it returns nil, the event is on disk. Errors: ErrFull, ErrStopping.
func (q *Queue) Accept(ctx context.Context, e *Event) error {
	if q.starts.Err() != nil {
		return ErrStopping
	}
	if e.Lane.Qualifier == "" {
		e.Lane.Qualifier = function.Latest
	}
	if len(e.Payload) == 0 {
		e.Payload = []byte("{}")
	}
	if entry := q.o.View.Get(e.Lane.Key); entry != nil {
		e.Incarnation = entry.Record.Incarnation
	}
	e.Accepted = time.Now()
	if q.o.Tracer != nil {
		e.TraceID = q.o.Tracer.Accepted(e)
	}
	// The lane is held while the event is on its way, so that it is not over when the event comes to it.
	l := q.hold(e.Lane)
	err := q.o.Store.Put(ctx, e)
	l.release(e.Seq)
	if err != nil {
		return err
	}
	q.o.Metrics.Received(e.Lane)
	return nil
}

// hold returns the lane, which will not end before its release.
func (q *Queue) hold(k Lane) *lane {
	q.mu.Lock()
	defer q.mu.Unlock()
	l := q.laneLocked(k, nil)
	l.mu.Lock()
	l.held++
	l.mu.Unlock()
	return l
}

// laneLocked returns a lane, which it begins when there is none. tried is what is known of events of before.
func (q *Queue) laneLocked(k Lane, tried *known) *lane {
	l := q.lanes[k]
	if l == nil {
		l = &lane{q: q, key: k, wake: make(chan struct{}, 1), tried: tried, next: 1}
		q.lanes[k] = l
		q.work.Go(l.run)
	}
	return l
}

// over ends a lane that has nothing to do; false: it has.
func (q *Queue) over(l *lane) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held > 0 || l.fresh || l.running+l.telling+len(l.waiting)+len(l.untold) > 0 {
		return false
	}
	delete(q.lanes, l.key)
	return true
}

// Leave begins nothing more; what runs goes on.
func (q *Queue) Leave() { q.leave() }

// Close waits for what runs, until ctx ends, and leaves the rest on disk. Whoever ends the pool does so before.
func (q *Queue) Close(ctx context.Context) error {
	q.leave()
	done := make(chan struct{})
	go func() { q.work.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.New("asynchronous events were still running: they are tried again at the next start")
	}
	q.stop()
	<-done
	return err
}
