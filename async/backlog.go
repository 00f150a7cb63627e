package async

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"
)

// Backlog is what one lane has.
type Backlog struct {
	Lane    Lane
	Events  int       // on disk
	Running int       // in flight
	Waiting int       // for another attempt
	Untold  int       // ended; a destination is still to be told
	Oldest  time.Time // when the oldest was accepted
	Paused  time.Time // until when nothing is tried, for want of concurrency or platform; zero: it goes on
}

// Backlog tells what all lanes have that have something, in the order of their names.
func (q *Queue) Backlog(ctx context.Context) ([]Backlog, error) {
	counts, err := q.o.Store.Lanes(ctx)
	if err != nil {
		return nil, err
	}
	var out []Backlog
	for k, n := range counts {
		if n == 0 {
			continue
		}
		b := Backlog{Lane: k, Events: n}
		oldest, err := q.o.Store.Next(ctx, k, 1)
		switch {
		case errors.Is(err, ErrNone):
			continue
		case err != nil:
			return nil, err
		}
		b.Oldest = oldest.Accepted
		q.mu.Lock()
		l := q.lanes[k]
		q.mu.Unlock()
		if l != nil {
			l.mu.Lock()
			b.Running, b.Waiting, b.Untold = l.running, len(l.waiting), len(l.untold)+l.telling
			if l.paused.After(time.Now()) {
				b.Paused = l.paused
			}
			l.mu.Unlock()
		}
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b Backlog) int {
		return cmp.Or(cmp.Compare(a.Lane.Account, b.Lane.Account), cmp.Compare(a.Lane.Region, b.Lane.Region), cmp.Compare(a.Lane.Name, b.Lane.Name),
			cmp.Compare(a.Lane.Qualifier, b.Lane.Qualifier))
	})
	return out, nil
}

// Purge forgets the events of a lane, and returns how many they were. One in flight ends as it does, and nothing follows
// from it.
func (q *Queue) Purge(ctx context.Context, k Lane) (int, error) {
	n, err := q.o.Store.Purge(ctx, k)
	if err != nil {
		return 0, err
	}
	q.mu.Lock()
	l := q.lanes[k]
	q.mu.Unlock()
	if l != nil {
		l.mu.Lock()
		l.waiting, l.untold = nil, nil
		l.mu.Unlock()
		l.poke()
	}
	q.o.Log.Warn("asynchronous events were purged", "fn", k.Name, "qualifier", k.Qualifier, "events", n)
	return n, nil
}
