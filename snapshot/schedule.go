package snapshot

import "time"

// InactiveAfter is how long a version may be without an invoke before its snapshot goes.
// Source: AWS Lambda Developer Guide, SnapStart: after 14 days without an invocation.
const InactiveAfter = 14 * 24 * time.Hour

// MaxStatedAge bounds what a hook may state: beyond it there is no refresh.
const MaxStatedAge = MaxInterval

// History is what the makings so far teach.
type History struct {
	Slowest    time.Duration // from the start of Init until verified, of the last few makings
	Failures   int           // in a row, since the last success
	LastFailed time.Time
}

// Plan is what Schedule says.
type Plan struct {
	// RefreshAt is when the making of the next generation shall start; in the past: now. Zero: never.
	RefreshAt time.Time
	// StopAt is when no invoke may start on the current one any more: warm environments of it included. Zero: never.
	StopAt time.Time
	// Tight: makings take so long that there will be times without a usable generation. Somebody should be told.
	Tight bool
}

// Schedule is the rule of refreshing. current is nil when no generation is. The next making starts so early that it and two more
// tries fit before the end, and a margin of a tenth of the life for a busy machine; but not before the current one has been used for as long as it took to make,
// so that a short life does not keep the machine busy with nothing else.
func Schedule(p Policy, current *Meta, h History, now time.Time) Plan {
	if current == nil {
		if h.Failures == 0 {
			return Plan{RefreshAt: now}
		}
		return Plan{RefreshAt: retryAt(h, time.Time{}, now)}
	}
	if !current.Expires.IsZero() && current.unborn(now) {
		return Plan{RefreshAt: now, StopAt: now}
	}
	took := max(h.Slowest, time.Duration(current.MakeSeconds*float64(time.Second)), 100*time.Millisecond)
	plan := Plan{StopAt: current.Expires}
	if !current.Expires.IsZero() {
		life := current.Expires.Sub(current.Born)
		margin := min(max(life/10, time.Second), 10*time.Minute)
		plan.RefreshAt = current.Expires.Add(-3*took - margin)
		plan.Tight = life < 2*took+time.Second
	}
	if p.Interval > 0 {
		if t := current.Born.Add(p.Interval - took); plan.RefreshAt.IsZero() || t.Before(plan.RefreshAt) {
			plan.RefreshAt = t
		}
	}
	if plan.RefreshAt.IsZero() {
		return plan
	}
	if first := current.Created.Add(took); plan.RefreshAt.Before(first) {
		plan.RefreshAt = first
		if last := current.Expires.Add(-took); !current.Expires.IsZero() && last.Before(first) {
			plan.RefreshAt = last // tight: nothing to spare
		}
	}
	if h.Failures > 0 {
		if t := retryAt(h, current.Expires, now); t.After(plan.RefreshAt) {
			plan.RefreshAt = t
		}
	}
	return plan
}

const (
	firstRetry = 2 * time.Second
	lastRetry  = 15 * time.Minute
)

// retryAt doubles the pause with each failure. Before an end each pause is at most a third of what is left, so that
// several tries remain. There was a failure; one in the future was before the clock was set back, nobody knows when.
func retryAt(h History, end, now time.Time) time.Time {
	if h.LastFailed.After(now) {
		return now
	}
	pause := lastRetry
	if n := h.Failures - 1; n < 12 {
		pause = min(firstRetry<<n, lastRetry)
	}
	if left := end.Sub(h.LastFailed); !end.IsZero() && left > 0 {
		pause = min(pause, max(left/3, time.Second))
	}
	return h.LastFailed.Add(pause)
}

// IsIdle says whether a version's snapshot goes for want of invokes.
func IsIdle(lastUsed, now time.Time) bool { return now.Sub(lastUsed) >= InactiveAfter }
