// Package shards reads one shard of a stream that is asked by iterators, as those of Kinesis and DynamoDB are: at the pace
// of the service, slower the longer nothing comes, with new iterators for those that have expired.
package shards

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"thaw/eventsource"
)

// Fetcher asks the service about one shard.
type Fetcher interface {
	// Iterator gets one for a place.
	Iterator(ctx context.Context, from eventsource.Start) (string, error)
	// Fetch returns records and the next iterator, empty when the shard is closed and all of it was returned. behind is
	// how far the records are from the end of the shard; 0: not at all. ErrExpired, ErrBusy, and the errors of eventsource.Reader.Next.
	Fetch(ctx context.Context, iterator string, limit int) (all []*eventsource.Record, next string, behind time.Duration, err error)
}

var (
	// ErrExpired is the fact that an iterator was not used for too long.
	ErrExpired = errors.New("the iterator has expired")
	// ErrBusy is the fact that a shard was asked too often, by whomever.
	ErrBusy = errors.New("the shard was asked too often")
)

// Pace is how often a shard is asked.
type Pace struct {
	Base   time.Duration // while records come
	Idle   time.Duration // when none has come for long
	Behind time.Duration // far from the end of the shard
	Rest   *Rest         // of all shards whose pause grows
}

// quiet is how many times nothing has to come before the pause grows.
const quiet = 30

// after is the pause after so many questions in a row that brought nothing.
func (p Pace) after(empty int) time.Duration {
	w := p.Base
	for n := quiet; n <= empty && w < p.Idle; n += quiet {
		w *= 2
	}
	return min(w, p.Idle)
}

// Reader implements eventsource.Reader.
type Reader struct {
	f     Fetcher
	pace  Pace
	limit int
	from  eventsource.Start // behind what was fetched

	iterator string
	ended    bool
	fetched  []*eventsource.Record
	empty    int
	next     time.Time // nobody asks before

	behind  Behind
	resting atomic.Bool
}

// NewReader makes a reader of the shard that f asks about. limit is the most records that one question may bring.
func NewReader(f Fetcher, from eventsource.Start, pace Pace, limit int) *Reader {
	return &Reader{f: f, pace: pace, limit: limit, from: from}
}

// Next implements eventsource.Reader.
func (r *Reader) Next(ctx context.Context, limit int) ([]*eventsource.Record, error) {
	for len(r.fetched) == 0 {
		if r.ended {
			return nil, io.EOF
		}
		if err := r.wait(ctx); err != nil {
			return nil, err
		}
		if err := r.fetch(ctx); err != nil {
			return nil, err
		}
	}
	n := min(limit, len(r.fetched))
	all := r.fetched[:n:n]
	r.fetched = r.fetched[n:]
	return all, nil
}

func (r *Reader) wait(ctx context.Context) error {
	w := time.Until(r.next)
	if w <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(w)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Reader) fetch(ctx context.Context) error {
	began := time.Now()
	if r.iterator == "" {
		it, err := r.f.Iterator(ctx, r.from)
		if err != nil {
			r.next = began.Add(r.pace.Base)
			return err
		}
		r.iterator = it
	}
	all, next, behind, err := r.f.Fetch(ctx, r.iterator, r.limit)
	switch {
	case errors.Is(err, ErrExpired):
		r.iterator = ""
		return nil
	case errors.Is(err, ErrBusy):
		r.next = began.Add(2 * r.pace.Base)
		return nil
	case err != nil:
		r.next = began.Add(r.pace.Base)
		return err
	}
	r.behind.Set(behind)
	if r.iterator, r.ended = next, next == ""; len(all) == 0 {
		// Far from the end, empty answers are a part of the shard without records.
		if r.empty++; behind > 0 {
			r.next = began.Add(r.pace.Behind)
			return nil
		}
		r.next = began.Add(r.rest(r.pace.after(r.empty)))
		return nil
	}
	r.wake()
	r.empty = 0
	r.fetched = all
	r.from = eventsource.Start{At: eventsource.After, Position: all[len(all)-1].Position}
	r.next = began.Add(r.pace.Base)
	if behind > 0 {
		r.next = began.Add(r.pace.Behind)
	}
	return nil
}

// Commit implements eventsource.Reader: positions are the caller's.
func (r *Reader) Commit(context.Context, string) error { return nil }

// Revoked implements eventsource.Reader.
func (r *Reader) Revoked() <-chan struct{} { return nil }

// Lag implements eventsource.Reader: the services count time, not records.
func (r *Reader) Lag() int64 { return r.behind.Lag() }

// Behind implements poller.Behind.
func (r *Reader) Behind() time.Duration { return r.behind.Now() }

// rest is the pause before the next question, one of that length if the shard were alone.
func (r *Reader) rest(alone time.Duration) time.Duration {
	if r.pace.Rest == nil || r.empty < quiet {
		return alone
	}
	if r.resting.CompareAndSwap(false, true) {
		r.pace.Rest.enter()
	}
	return r.pace.Rest.pause(alone)
}

func (r *Reader) wake() {
	if r.resting.CompareAndSwap(true, false) {
		r.pace.Rest.leave()
	}
}

// Close implements eventsource.Reader. Next is not called any more then.
func (r *Reader) Close() { r.wake() }
