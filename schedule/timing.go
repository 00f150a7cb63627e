package schedule

import (
	"hash/fnv"
	"time"
)

// Timing is all that says when a schedule is due. It must not change once it is in use.
type Timing struct {
	Expression *Expression
	Zone       *time.Location // of cron and at; nil: UTC
	// Anchor is the moment from which a rate counts. It is a time of the schedule itself if FromAnchor is set; else the
	// first one is one rate behind it.
	Anchor     time.Time
	FromAnchor bool
	// Since is when the schedule was made or changed: what it says counts from then on.
	Since time.Time
	// Start and End bound the times of rate and cron; zero: nothing does.
	Start, End time.Time
	// Window is how long after its time the schedule may be due: each time at another moment of the window, which
	// follows from the time and from Key.
	Window time.Duration
	Key    string
}

// Tick is one time of a schedule.
type Tick struct {
	At  time.Time // as the expression has it
	Due time.Time // within the window
}

// Next is the first tick that is due after a moment. false: there is none, and will be none.
func (t *Timing) Next(after time.Time) (Tick, bool) {
	// Windows of two times may overlap, so what is due next need not be what is due at the next time.
	from := after.Add(-t.Window)
	var best Tick
	for {
		at, ok := t.next(from)
		if !ok || !best.At.IsZero() && !at.Before(best.Due) {
			return best, !best.At.IsZero()
		}
		if due := at.Add(t.offset(at)); due.After(after) && (best.At.IsZero() || due.Before(best.Due)) {
			best = Tick{At: at, Due: due}
		}
		from = at
	}
}

// offset is the place of a time within its window. It is the same whenever it is asked for, so that a restart repeats
// nothing and leaves nothing out.
func (t *Timing) offset(at time.Time) time.Duration {
	if t.Window <= 0 {
		return 0
	}
	h := fnv.New64a()
	h.Write([]byte(t.Key + "\x00" + at.UTC().Format(time.RFC3339))) //nolint:errcheck // never fails: documented
	return time.Duration(h.Sum64() % uint64(t.Window))              // so fine that no two times of a schedule are due at once
}

// next is the first time of the expression after a moment.
func (t *Timing) next(after time.Time) (time.Time, bool) {
	e := t.Expression
	if after.Before(t.Since) {
		after = t.Since.Add(-1)
	}
	if e.Once() { // whose bounds are ignored: documented
		at := t.moment(e.once)
		return at, at.After(after)
	}
	if before := t.Start.Add(-1); !t.Start.IsZero() && after.Before(before) {
		after = before
	}
	var at time.Time
	var ok bool
	if e.cron != nil {
		at, ok = t.nextCron(after)
	} else {
		at, ok = t.nextRate(after), true
	}
	if !ok || !t.End.IsZero() && at.After(t.End) {
		return time.Time{}, false
	}
	return at, true
}

func (t *Timing) nextRate(after time.Time) time.Time {
	first := t.Anchor
	if !t.FromAnchor {
		first = first.Add(t.Expression.every)
	}
	if after.Before(first) {
		return first
	}
	return first.Add((after.Sub(first)/t.Expression.every + 1) * t.Expression.every)
}

func (t *Timing) nextCron(after time.Time) (time.Time, bool) {
	local := after.In(t.zone())
	y, m, d := local.Date()
	clock := time.Date(y, m, d, local.Hour(), local.Minute(), local.Second(), local.Nanosecond(), time.UTC)
	for {
		next, ok := t.Expression.cron.next(clock)
		if !ok {
			return time.Time{}, false
		}
		if at, there := t.first(next); there && at.After(after) {
			return at, true
		}
		clock = next
	}
}

func (t *Timing) zone() *time.Location {
	if t.Zone == nil {
		return time.UTC
	}
	return t.Zone
}

// first is the first moment at which the clocks of the zone show a date and a time of day, which clock has in UTC. There
// may be none.
func (t *Timing) first(clock time.Time) (at time.Time, there bool) {
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} { // the zone's offsets before and behind a change
		_, offset := clock.Add(near).In(t.zone()).Zone()
		candidate := clock.Add(-time.Duration(offset) * time.Second)
		if _, now := candidate.In(t.zone()).Zone(); now == offset && (!there || candidate.Before(at)) {
			at, there = candidate, true
		}
	}
	return at, there
}

// moment is first for what must happen once: a time that the clocks leave out is the same span later.
func (t *Timing) moment(clock time.Time) time.Time {
	if at, there := t.first(clock); there {
		return at
	}
	_, offset := clock.Add(-24 * time.Hour).In(t.zone()).Zone()
	return clock.Add(-time.Duration(offset) * time.Second)
}
