package poller

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"thaw/eventsource"
)

// Status is what the server knows of a mapping beside its record. Nothing of it is stored.
type Status struct {
	Mapping  *eventsource.Mapping
	Pollers  int           // of a queue, or shards of a stream that this server reads
	InFlight int           // batches
	Lag      int64         // records that wait in the source, in those shards that tell; -1: nobody knows
	Behind   time.Duration // how far reading is behind the end of the source, in the shard that is farthest; -1: nobody knows
	Held     int           // records that were read and are not done with
	Oldest   time.Time     // when the source got the oldest of them; zero: there is none
	Last     *Ended        // batch; nil: none since the server started
	Trouble  *Trouble      // nil: none since the server started
	Shards   []ShardStatus
}

// ShardStatus is that of one shard.
type ShardStatus struct {
	ID     string
	Lag    int64         // -1: nobody knows
	Behind time.Duration // -1: nobody knows
	Held   int
	Oldest time.Time
}

// Ended is how a batch ended.
type Ended struct {
	At            time.Time
	Records, Done int    // Done: those that it is done with
	RequestID     string // of the invoke
}

// Trouble is the last thing that went wrong.
type Trouble struct {
	At     time.Time
	Cause  Cause
	Text   string // for people; no secrets
	Detail string // the error below it; empty: none
	Code   string // of a ProblemError
}

// Cause says who can do something about it.
type Cause string

// The causes.
const (
	OfSource      Cause = "source"      // it cannot be reached, refuses, or is gone
	OfFunction    Cause = "function"    // it failed
	OfCapacity    Cause = "capacity"    // it was throttled, or could not be run
	OfAbsence     Cause = "absence"     // it is not there
	OfDestination Cause = "destination" // nobody could be told of what was given up
)

// kept is what happened to a mapping, for whoever asks.
type kept struct {
	live    atomic.Pointer[run] // nil: no pollers
	last    atomic.Pointer[Ended]
	trouble atomic.Pointer[Trouble]
}

// note keeps what went wrong.
func (k *kept) note(cause Cause, text string, err error) {
	t := &Trouble{At: time.Now(), Cause: cause, Text: text}
	var p *eventsource.ProblemError
	switch {
	case errors.As(err, &p):
		t.Text, t.Code = p.Text, p.Code
		if p.Err != nil {
			t.Detail = p.Err.Error()
		}
	case err != nil:
		t.Detail = err.Error()
	}
	k.trouble.Store(t)
}

// failure says what of a batch has failed. What the function said about it is in its log.
func (a *attempt) failure(failed, n int) string {
	if a.outcome.Ending == eventsource.Erred {
		return fmt.Sprintf("The function ended with an error on a batch of %d, request %s.", n, a.requestID)
	}
	return fmt.Sprintf("The function reported %d of %d records as failed, request %s.", failed, n, a.requestID)
}

// watched are the shards and the pollers of a run, for whoever asks. They enter with their beginning and leave with
// their end; the way of a record does not touch it.
type watched struct {
	mu     sync.Mutex
	source *eventsource.Source // while it is open
	shards map[*shard]bool
	hands  map[*hand]bool
}

// open takes note of a source that is open, until closed is called.
func (w *watched) open(src *eventsource.Source) (closed func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.source = src
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.source = nil
	}
}

// reads takes note of a shard that is read, until it is left.
func (w *watched) reads(sh *shard) (leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shards == nil {
		w.shards = map[*shard]bool{}
	}
	w.shards[sh] = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.shards, sh)
	}
}

// hand is what one poller of a queue holds.
type hand struct {
	records atomic.Pointer[[]*eventsource.Record]
}

// hold takes note of the batch that is being collected.
func (h *hand) hold(b *eventsource.Batcher) {
	if b.Len() == 0 {
		h.records.Store(nil)
		return
	}
	all := b.Records()
	h.records.Store(&all)
}

// receives takes note of a poller, until it leaves.
func (w *watched) receives() (h *hand, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hands == nil {
		w.hands = map[*hand]bool{}
	}
	h = &hand{}
	w.hands[h] = true
	return h, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.hands, h)
	}
}

// Depth is a Queue that can say how many messages wait in it.
type Depth interface {
	// Depth is asked when a person looks.
	Depth(ctx context.Context) (int64, error)
}

// Behind is a Reader whose source counts time, not records.
type Behind interface {
	// Behind is how far reading is behind the end of the shard; -1: nobody knows.
	Behind() time.Duration
}

// Now tells of all mappings, in no order, and asks no queue how much waits in it.
func (s *Service) Now() []Status {
	var list []Status
	for _, o := range s.all() {
		st, _ := o.status()
		list = append(list, st)
	}
	return list
}

// Lags is a Stream that can say what waits in its shards, in those that it names.
type Lags interface {
	// Lags is asked when a person looks.
	Lags(ctx context.Context) (map[string]int64, error)
}

// ask fills in what the source says of what waits in it.
func (st *Status) ask(ctx context.Context, src *eventsource.Source) {
	if d, ok := src.Queue.(Depth); ok {
		if n, err := d.Depth(ctx); err == nil {
			st.Lag = n
		}
	}
	l, ok := src.Stream.(Lags)
	if !ok {
		return
	}
	lags, err := l.Lags(ctx)
	if err != nil {
		return
	}
	st.Lag = -1
	for i, sh := range st.Shards {
		if n, ok := lags[sh.ID]; ok {
			st.Shards[i].Lag = n
			st.Lag = max(st.Lag, 0) + n
		}
	}
}

// Status tells of all mappings, ordered by their ids. Sources are asked how much waits in them, as far as they can say,
// until ctx ends.
func (s *Service) Status(ctx context.Context) []Status {
	owners := s.all()
	list := make([]Status, len(owners))
	var asked sync.WaitGroup
	for i, o := range owners {
		st, src := o.status()
		if list[i] = st; src != nil {
			asked.Go(func() { list[i].ask(ctx, src) })
		}
	}
	asked.Wait()
	slices.SortFunc(list, func(a, b Status) int { return strings.Compare(string(a.Mapping.ID), string(b.Mapping.ID)) })
	return list
}

// status tells of one mapping, and which source is open.
func (o *owner) status() (Status, *eventsource.Source) {
	st := Status{Mapping: o.mapping(), Lag: -1, Behind: -1, Last: o.kept.last.Load(), Trouble: o.kept.trouble.Load()}
	r := o.kept.live.Load()
	if r == nil {
		return st, nil
	}
	st.Pollers, st.InFlight = int(r.pollers.Load()), int(r.inFlight.Load())
	w := &r.watched
	w.mu.Lock()
	defer w.mu.Unlock()
	for h := range w.hands {
		if all := h.records.Load(); all != nil {
			st.Held += len(*all)
			st.Oldest = oldest(st.Oldest, *all)
		}
	}
	for sh := range w.shards {
		st.Shards = append(st.Shards, sh.status())
	}
	slices.SortFunc(st.Shards, func(a, b ShardStatus) int { return strings.Compare(a.ID, b.ID) })
	for _, sh := range st.Shards {
		st.Held += sh.Held
		if st.Oldest.IsZero() || !sh.Oldest.IsZero() && sh.Oldest.Before(st.Oldest) {
			st.Oldest = sh.Oldest
		}
		if sh.Lag >= 0 {
			st.Lag = max(st.Lag, 0) + sh.Lag
		}
		st.Behind = max(st.Behind, sh.Behind)
	}
	return st, w.source
}

// status tells of one shard.
func (sh *shard) status() ShardStatus {
	st := ShardStatus{ID: sh.id, Lag: -1, Behind: -1}
	st.Lag, st.Behind = sh.lag()
	st.Held, st.Oldest = sh.tracker.held()
	return st
}

// held is how many records are not done with, or behind one that is not, and when the first of them came.
func (t *tracker) held() (n int, first time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.order), oldest(time.Time{}, t.order[:min(len(t.order), 1)])
}

// oldest is when the oldest of some records came, or a time that is earlier.
func oldest(at time.Time, all []*eventsource.Record) time.Time {
	for _, r := range all {
		if !r.Arrived.IsZero() && (at.IsZero() || r.Arrived.Before(at)) {
			at = r.Arrived
		}
	}
	return at
}
