package async

import (
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"time"

	"thaw/function"
	"thaw/invoke"
	"thaw/pool"
)

// try goes through one attempt of an event; e is nil when it was not read yet. The lane has counted it as running.
func (l *lane) try(it *item, e *Event) {
	defer func() {
		l.mu.Lock()
		l.running--
		l.mu.Unlock()
		l.poke()
	}()
	if e == nil {
		if e = l.read(l.q.starts, it.seq); e == nil {
			return
		}
	}
	p := &Progress{}
	if it.progress != nil {
		*p = *it.progress
	}
	d, left := l.attempt(e, it, p)
	if left {
		return
	}
	if l.q.o.Tracer != nil && d.Step != BackOff {
		l.q.o.Tracer.Tried(e, p.Tries, d.Step != Again)
	}
	switch d.Step {
	case BackOff:
		l.pause(it, d)
	case Again:
		p.Due = d.At
		if !l.keep("its attempt cannot be noted", func(ctx context.Context) error { return l.q.o.Store.Progress(ctx, it.seq, p) }) {
			return
		}
		p.Response = nil
		it.progress, it.due = p, d.At
		l.mu.Lock()
		heap.Push(&l.waiting, it)
		l.mu.Unlock()
	case Drop:
		l.q.o.Log.Warn("asynchronous event dropped: its function is gone", "fn", l.key.Name, "qualifier", l.key.Qualifier, "request_id", e.RequestID)
		l.q.o.Metrics.Dropped(l.key)
		l.forget(it.seq)
	default:
		l.end(it, e, p, d)
	}
}

// attempt has the function run, if it is to be run, and decides what follows. left: the server is going, and the event
// stays as it is.
func (l *lane) attempt(e *Event, it *item, p *Progress) (d Decision, left bool) {
	entry := l.q.o.View.Get(l.key.Key)
	if entry == nil || entry.Record.Incarnation != e.Incarnation {
		return Decision{Step: Drop}, false
	}
	next := func(h Happening, entry *function.Entry) Decision {
		l.mu.Lock()
		backOff := l.backOff
		l.mu.Unlock()
		return Next(Tried{e.Accepted, p.Attempts, backOff}, h, entry.AsyncPolicy(l.key.Qualifier, p.Answer.Version), l.q.o.Delays, time.Now())
	}
	if d = next(Due, entry); d.Step != Run {
		if p.Attempts == 0 {
			p.Answer = it.answer
		}
		return d, false
	}
	if r := entry.Record.Reserved; r != nil && *r == 0 {
		return next(NoConcurrency, entry), false
	}
	if p.Attempts == 0 && !it.aged {
		it.aged = true
		l.q.o.Metrics.Age(l.key, time.Since(e.Accepted))
	}
	began := time.Now()
	r, err := l.q.o.Invoker.Invoke(l.q.ctx, &invoke.Request{Function: l.key.Key, Qualifier: l.key.Qualifier, Attempt: p.Attempts + 1, Arrived: e.Accepted,
		Invocation: function.Invocation{RequestID: e.RequestID, InvokedARN: e.InvokedARN, Event: e.Payload, TraceID: e.TraceID, TraceState: e.TraceState,
			TenantID: e.TenantID}})
	if now := l.q.o.View.Get(l.key.Key); now != nil {
		entry = now // the policy of this moment
	}
	var h Happening
	switch restore := (*pool.RestoreFailedError)(nil); {
	case err == nil:
		p.Attempts++
		p.Answer, p.Response = Answer{Version: r.Version.Number, Error: r.FunctionError, Code: 200}, r.Payload
		if h = Succeeded; r.FunctionError != "" {
			h = FunctionErred
		}
	case errors.Is(err, invoke.ErrStopping), errors.Is(err, pool.ErrClosed), l.q.starts.Err() != nil:
		return Decision{}, true
	case errors.As(err, new(*invoke.NotFoundError)):
		return Decision{Step: Drop}, false
	case errors.As(err, new(*pool.ThrottledError)):
		h, it.answer = Throttled, Answer{Refused: "Rate Exceeded.", Code: 429}
	case errors.As(err, new(*invoke.RecursionError)):
		h = Looped
		if p.Attempts == 0 {
			p.Answer = Answer{Refused: invoke.LoopMessage, Code: 400}
		}
	case errors.As(err, &restore): // the function's own hook
		p.Attempts++
		h, p.Answer, p.Response = FunctionErred, Answer{Error: "Unhandled", Code: 200}, errorPayload(restore.ErrorType, restore.Message)
	default:
		h, it.answer = PlatformErred, Answer{Refused: "The function could not be run.", Code: 500}
	}
	if h == Succeeded || h == FunctionErred {
		if l.q.o.Tracer != nil {
			p.Tries = append(p.Tries, Try{began, time.Now(), p.Answer})
		}
		l.reached()
	}
	return next(h, entry), false
}

func errorPayload(errType, message string) []byte {
	b, err := json.Marshal(struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{errType, message})
	if err != nil {
		return nil // no string is one that JSON lacks
	}
	return b
}

// reached says that an event of the lane reached the function: the others need not wait any more.
func (l *lane) reached() {
	l.mu.Lock()
	l.backOff, l.paused = 0, time.Time{}
	for _, it := range l.waiting { // those that wait for the same
		if it.progress == nil {
			it.due = time.Time{}
		}
	}
	heap.Init(&l.waiting)
	l.mu.Unlock()
	l.poke()
}

// pause makes the whole lane wait, and puts the event in front. Of several that were refused at one time the first
// decides.
func (l *lane) pause(it *item, d Decision) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now := time.Now(); !l.paused.After(now) {
		l.paused, l.backOff = d.At, d.BackOff
	}
	heap.Push(&l.waiting, it)
}

// end writes down that an event will not be tried again, when somebody is to be told of it, and forgets it otherwise.
func (l *lane) end(it *item, e *Event, p *Progress, d Decision) {
	if d.Condition != Success {
		l.q.o.Metrics.Dropped(l.key)
		l.q.o.Log.Warn("asynchronous event failed", "fn", l.key.Name, "qualifier", l.key.Qualifier, "request_id", e.RequestID, "condition", d.Condition,
			"attempts", p.Attempts)
	}
	if entry := l.q.o.View.Get(l.key.Key); entry != nil {
		p.Targets = targets(entry.AsyncPolicy(l.key.Qualifier, p.Answer.Version), d)
	}
	if len(p.Targets) == 0 {
		l.forget(it.seq)
		return
	}
	p.Ended, p.Due = &Ending{d.Condition, time.Now()}, time.Time{}
	if p.Attempts > 0 && p.Response == nil { // of an attempt before the last wait
		if known, err := l.q.o.Store.Known(l.q.ctx, it.seq); err == nil && known != nil {
			p.Response = known.Response
		}
	}
	if !l.keep("its end cannot be noted", func(ctx context.Context) error { return l.q.o.Store.Progress(ctx, it.seq, p) }) {
		return
	}
	p.Response = nil
	it.progress, it.due = p, time.Time{}
	l.mu.Lock()
	heap.Push(&l.untold, it)
	l.mu.Unlock()
}

// targets are who is to be told.
func targets(p function.AsyncPolicy, d Decision) (out []Target) {
	switch d.Step {
	case Succeed:
		if p.OnSuccess != "" {
			out = append(out, Target{ARN: p.OnSuccess})
		}
	case Fail:
		if p.DeadLetter != "" {
			out = append(out, Target{ARN: p.DeadLetter, DeadLetter: true})
		}
		if p.OnFailure != "" {
			out = append(out, Target{ARN: p.OnFailure})
		}
	}
	return out
}

func (l *lane) forget(seq uint64) {
	l.keep("it cannot be removed", func(ctx context.Context) error { return l.q.o.Store.Remove(ctx, seq) })
}
