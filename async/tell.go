package async

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"thaw/function"
	"thaw/invoke"
)

// tellFor is how long a destination may be out of reach before an event for it is given up; ours, the service does not
// say.
const tellFor = 6 * time.Hour

// PermanentError says that sending again does not help.
type PermanentError struct{ Err error }

func (e *PermanentError) Error() string { return e.Err.Error() }
func (e *PermanentError) Unwrap() error { return e.Err }

// tell tells the next target of an event how it ended. The lane has counted it as telling.
func (l *lane) tell(it *item) {
	defer func() {
		l.mu.Lock()
		l.telling--
		l.mu.Unlock()
		l.poke()
	}()
	e := l.read(l.q.starts, it.seq)
	if e == nil {
		return
	}
	p, err := l.q.o.Store.Known(l.q.starts, it.seq)
	if err != nil || p == nil || p.Ended == nil {
		if l.q.starts.Err() == nil {
			l.q.o.Log.Error("the end of an asynchronous event cannot be read", "fn", l.key.Name, "qualifier", l.key.Qualifier, "request_id", e.RequestID, "error", err)
			l.tellLater(it)
		}
		return
	}
	for len(p.Targets) > 0 {
		t := p.Targets[0]
		err := l.send(e, p, t)
		args := []any{"fn", l.key.Name, "qualifier", l.key.Qualifier, "request_id", e.RequestID, "destination", t.ARN, "error", err}
		switch {
		case err == nil:
		case l.q.starts.Err() != nil:
			return
		case errors.As(err, new(*PermanentError)) || time.Since(p.Ended.At) > tellFor:
			l.q.o.Log.Error("a destination was not told how an asynchronous event ended, and will not be", args...)
			l.q.o.Metrics.Undelivered(l.key, t.DeadLetter)
		default:
			if it.failures == 0 {
				l.q.o.Log.Warn("a destination cannot be told how an asynchronous event ended: it is tried again", args...)
			}
			l.tellLater(it)
			return
		}
		it.failures = 0
		if p.Targets = p.Targets[1:]; len(p.Targets) == 0 {
			break
		}
		if !l.keep("its targets cannot be noted", func(ctx context.Context) error { return l.q.o.Store.Progress(ctx, it.seq, p) }) {
			return
		}
	}
	l.forget(it.seq)
}

// tellLater has the next attempt wait, twice as long as the one before.
func (l *lane) tellLater(it *item) {
	d := l.q.o.Delays
	wait := d.First
	for range it.failures {
		wait = min(2*wait, d.Limit)
	}
	it.failures++
	it.due = time.Now().Add(wait)
	l.mu.Lock()
	heap.Push(&l.untold, it)
	l.mu.Unlock()
}

// sendLimit bounds one attempt to tell somebody.
const sendLimit = 30 * time.Second

// send tells one target. One that is a function of this server gets an event.
func (l *lane) send(e *Event, p *Progress, t Target) error {
	ctx, cancel := context.WithTimeout(l.q.starts, sendLimit)
	defer cancel()
	m, err := message(e, p, t, l.functionARN())
	if err != nil {
		return &PermanentError{err}
	}
	if ref, err := function.ParseRead(t.ARN); err == nil {
		return l.q.chain(ctx, e, m, ref)
	}
	return l.q.o.Sender.Send(ctx, m)
}

// chain accepts an event for a function of this server that is a destination.
func (q *Queue) chain(ctx context.Context, from *Event, m *Message, to function.Reference) error {
	k := function.Key{Account: to.Account, Region: to.Region, Name: to.Name}
	entry := q.o.View.Get(k)
	if entry == nil {
		return fmt.Errorf("function not found: %s", m.Target.ARN)
	}
	if err := invoke.CheckTenant(&entry.Record.Latest.Config, ""); err != nil { // what is told is told for nobody
		return &PermanentError{err}
	}
	return q.Accept(ctx, &Event{Lane: Lane{k, to.Qualifier}, RequestID: uuid.NewString(), InvokedARN: function.ARN(m.Target.ARN), TraceID: m.TraceID, TraceState: from.TraceState, Payload: m.Body})
}

// functionARN is what the envelope names: the qualified function.
func (l *lane) functionARN() function.ARN {
	partition := "aws"
	if entry := l.q.o.View.Get(l.key.Key); entry != nil {
		partition = entry.Record.Partition
	}
	return l.key.ARN(partition).Qualified(l.key.Qualifier)
}
