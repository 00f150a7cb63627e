package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrConflict is the fact that a record was changed by another since it was read.
var ErrConflict = errors.New("the record was changed meanwhile")

// Revision counts the changes of a record. 0 is that of a record that does not exist.
type Revision uint64

// Records keep what is true of each version's snapshots, for all servers. snapshottest.RunRecords says what an implementation must hold.
// All methods may be called from many goroutines. Values are the caller's own: they share nothing with the store.
type Records interface {
	// Get returns a record and its revision. The error is ErrNotFound when there is none.
	Get(ctx context.Context, v Version) (Record, Revision, error)
	// Put stores a record if its revision is still the given one (0: if there is none), and returns the new one. When it returns nil the
	// record is durable. The error is ErrConflict when another was quicker.
	Put(ctx context.Context, r Record, was Revision) (Revision, error)
	// Delete removes a record if its revision is still the given one. One that is not there is no error.
	Delete(ctx context.Context, v Version, was Revision) error
	// List returns all records, in no order.
	List(ctx context.Context) ([]Record, error)
}

// Record is what is known of one version's snapshots. It is changed by Move, which keeps its members consistent, and stored by
// compare-and-set: that is what makes a swap atomic.
type Record struct {
	Version Version `json:"version"`
	// Incarnation is that of the function, which tells functions of the same name, one after the other, apart. 0: a
	// release wrote it that did not know.
	Incarnation uint64 `json:"incarnation,omitempty"`
	State       State  `json:"state"`
	// Policy is set when our own API set one; it then counts instead of the function's tags.
	Policy *Policy `json:"policy,omitempty"`
	// Current is set exactly in the states that have a current generation.
	Current *Meta `json:"current,omitempty"`
	// Next is set while one is made or verified: its ID and generation are, the rest may not yet be.
	Next           *Meta      `json:"next,omitempty"`
	LastGeneration Generation `json:"lastGeneration"`
	LastUsed       time.Time  `json:"lastUsed"` // last invoke, exact to some minutes
	Failures       int        `json:"failures,omitempty"`
	LastFailed     time.Time  `json:"lastFailed,omitzero"`
	LastError      string     `json:"lastError,omitempty"` // of LastFailed; stays when all is well again
	// MakeSeconds are how long the last makings took, the latest last, at most five.
	MakeSeconds []float64 `json:"makeSeconds,omitempty"`
}

// ErrOtherLife is the fact that a record belongs to a younger incarnation of the function.
var ErrOtherLife = errors.New("the record is of another function of the same name")

// Claim makes a record that of an incarnation, before anything else is done to it. One that an older incarnation has
// left becomes a new one; one of a younger incarnation is refused, by ErrOtherLife. 0 is not known, and takes a record
// as it is.
func (r *Record) Claim(incarnation uint64) error {
	switch {
	case incarnation == 0 || r.Incarnation == incarnation:
	case r.Incarnation == 0:
		r.Incarnation = incarnation
	case r.Incarnation > incarnation:
		return fmt.Errorf("snapshot record of %s: %w", r.Version, ErrOtherLife)
	default:
		*r = Record{Version: r.Version, Incarnation: incarnation}
	}
	return nil
}

// Step is an action and the snapshot that it is about; empty when it is about the version.
type Step struct {
	Action Action
	ID     ID
}

// Move applies an event at a time and says what is to be done, in order. The record is changed in place; after a refusal (*BadMoveError)
// it is as before. An event about a making (Made, Verified, MakeFailed) must be about Next: see Concerns.
func (r *Record) Move(e Event, now time.Time) ([]Step, error) {
	to, do, err := Next(r.State, e)
	if err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", r.Version, err)
	}
	switch e {
	case MakeFailed:
		r.Failures++
		r.LastFailed = now
	case Invoked:
		r.LastUsed = now
	}
	busy := r.Next
	steps := make([]Step, 0, len(do))
	for _, a := range do {
		s := Step{Action: a}
		switch a {
		case StartMaking:
			r.LastGeneration++
			busy = &Meta{ID: NewID(), Generation: r.LastGeneration, Key: Key{Version: r.Version}}
			s.ID = busy.ID
		case AbortMaking, DropNext:
			s.ID = busy.id()
		case RetireCurrent:
			s.ID = r.Current.id()
			r.Current = nil
		case Swap:
			s.ID = busy.id()
			r.Current = busy
			r.Failures = 0
			if r.LastUsed.IsZero() {
				r.LastUsed = now // idle time counts from here
			}
			if busy != nil {
				r.MakeSeconds = append(r.MakeSeconds, busy.MakeSeconds)
				r.MakeSeconds = append([]float64(nil), r.MakeSeconds[max(0, len(r.MakeSeconds)-5):]...)
			}
		}
		steps = append(steps, s)
	}
	r.State = to
	r.Next = busy
	if !to.Busy() {
		r.Next = nil
	}
	return steps, nil
}

func (m *Meta) id() ID {
	if m == nil {
		return ""
	}
	return m.ID
}

// Concerns says whether a report about the making of a snapshot is about the one that is being made now. One that was aborted reports late.
func (r *Record) Concerns(id ID) bool { return r.Next != nil && r.Next.ID == id }

// History is what Schedule wants to know.
func (r *Record) History() History {
	h := History{Failures: r.Failures, LastFailed: r.LastFailed}
	for _, s := range r.MakeSeconds {
		h.Slowest = max(h.Slowest, time.Duration(s*float64(time.Second)))
	}
	return h
}

// Due is the event that time brings a record under its policy: Expired, Idle or RefreshDue, at the time given, and ok; not ok when nothing will come
// by itself. At times in the past it is due now. Apply it, and ask again.
func (r *Record) Due(p Policy, now time.Time) (e Event, at time.Time, ok bool) {
	consider := func(ev Event, t time.Time) {
		if t.IsZero() || ok && !t.Before(at) {
			return
		}
		if _, _, err := Next(r.State, ev); err != nil {
			return
		}
		e, at, ok = ev, t, true
	}
	plan := Schedule(p, r.Current, r.History(), now)
	if r.Current != nil {
		consider(Expired, plan.StopAt)
	}
	if !r.LastUsed.IsZero() {
		consider(Idle, r.LastUsed.Add(InactiveAfter))
	}
	if r.State == Current || r.State == Lapsed {
		consider(RefreshDue, plan.RefreshAt)
	}
	return e, at, ok
}

// ForRestore returns the generation that an environment of this version may be restored from now; nil when it must run Init.
func (r *Record) ForRestore(now time.Time, key KeyHash) *Meta {
	if r.State.HasCurrent() && r.Current != nil && r.Current.Usable(now, key) {
		return r.Current
	}
	return nil
}

// Update changes a record by f until no other is quicker, and returns it as stored. The record is made when there is none. An error of
// f ends it without a change.
func Update(ctx context.Context, records Records, v Version, f func(*Record) error) (Record, error) {
	for {
		r, rev, err := records.Get(ctx, v)
		if errors.Is(err, ErrNotFound) {
			r, rev, err = Record{Version: v}, 0, nil
		}
		if err != nil {
			return Record{}, fmt.Errorf("snapshot record of %s: %w", v, err)
		}
		if err := f(&r); err != nil {
			return r, err
		}
		_, err = records.Put(ctx, r, rev)
		if errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return r, fmt.Errorf("snapshot record of %s: %w", v, err)
		}
		return r, nil
	}
}

// LiveIDs are the snapshots that records name: what a Sweep must keep.
func LiveIDs(ctx context.Context, records Records) (map[ID]bool, error) {
	list, err := records.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("snapshot records: %w", err)
	}
	live := make(map[ID]bool, len(list))
	for _, r := range list {
		for _, m := range []*Meta{r.Current, r.Next} {
			if m != nil {
				live[m.ID] = true
			}
		}
	}
	return live, nil
}
