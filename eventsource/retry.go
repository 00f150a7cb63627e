package eventsource

import (
	"slices"
	"time"
)

// Batch is what a function is given at one time, again and again until it is done with.
type Batch struct {
	Records  []*Record
	Attempts int       // that the function made and failed
	Refusals int       // in a row: it could not be run
	Failures int       // attempts, splits included: what the wait grows with
	NotUntil time.Time // the next attempt; zero: at once
}

// Ending is how an attempt ended.
type Ending uint8

// The endings.
const (
	Answered Ending = iota // the function returned; the answer counts where partial answers are on
	Erred                  // it raised, timed out, crashed, answered what it must not
	Refused                // throttled, or the platform could not run it: nothing ran
)

// Outcome is what an attempt brought.
type Outcome struct {
	Ending Ending
	Answer []byte
}

// Policy is what a mapping says of batches that fail.
type Policy struct {
	Traits     Traits
	Queue      bool          // what fails is given back, once MaxRetries are over
	MaxRetries int           // -1: no bound
	MaxAge     time.Duration // -1: no bound
	Retention  time.Duration // of the source; 0: nobody knows
	Bisect     bool
	Partial    bool
	Delays     Delays
}

// Conditions of a failure record. Source: sections 1.6, 6.5.
const (
	RetryAttemptsExhausted     = "RetryAttemptsExhausted"
	RecordAgeExceeded          = "RecordAgeExceeded"
	MaximumPayloadSizeExceeded = "MaximumPayloadSizeExceeded"
)

// Loss is what is given up: told to the failure destination, and then done with.
type Loss struct {
	Records   []*Record
	Condition string
	Attempts  int
}

// Verdict says what becomes of the records of a batch: each is in one of the lists.
type Verdict struct {
	Done  []*Record
	Back  []*Record // given back to the queue
	Lost  []Loss
	Again []Batch // in this order, before any record behind them
}

// Judge decides what becomes of a batch after an attempt. It has no clock and no memory.
func Judge(b Batch, o Outcome, p Policy, now time.Time) Verdict {
	if o.Ending == Refused {
		b.Refusals++
		b.NotUntil = now.Add(p.Delays.After(b.Refusals))
		return Verdict{Again: []Batch{b}}
	}
	b.Refusals = 0
	if o.Ending == Erred {
		return failed(b, p, now)
	}
	if !p.Partial {
		return Verdict{Done: b.Records}
	}
	bad, ok := reported(o.Answer, b.Records, p.Traits)
	if !ok {
		return failed(b, p, now)
	}
	if len(bad) == 0 {
		return Verdict{Done: b.Records}
	}
	done, rest := divide(b.Records, bad, p.Traits.Exact)
	b.Records = rest
	var v Verdict
	if len(done) > 0 && p.Bisect && !p.Queue { // the function has said where to cut: no attempt is counted
		b.Failures++
		b.NotUntil = now.Add(p.Delays.After(b.Failures))
		v.Again = []Batch{b}
	} else {
		v = failed(b, p, now)
	}
	v.Done = done
	return v
}

// divide parts a batch by a partial answer: what is done, and what has failed or stands behind the first that has.
func divide(all []*Record, bad map[*Record]bool, exact bool) (done, rest []*Record) {
	if !exact {
		i := slices.IndexFunc(all, func(r *Record) bool { return bad[r] })
		return all[:i:i], all[i:]
	}
	for _, r := range all {
		if bad[r] {
			rest = append(rest, r)
		} else {
			done = append(done, r)
		}
	}
	return done, rest
}

// failed decides about records that the function was given and that are not done with.
func failed(b Batch, p Policy, now time.Time) Verdict {
	if p.Queue && p.MaxRetries < 0 {
		return back(b)
	}
	if p.Bisect && len(b.Records) > 1 {
		return again(b, p, now)
	}
	b.Attempts++
	if p.Queue && b.Attempts > p.MaxRetries {
		return back(b)
	}
	if p.MaxRetries >= 0 && b.Attempts > p.MaxRetries {
		return Verdict{Lost: []Loss{{b.Records, RetryAttemptsExhausted, b.Attempts}}}
	}
	b.Failures++
	b.NotUntil = now.Add(p.Delays.After(b.Failures))
	return Verdict{Again: []Batch{b}}
}

// back gives records back to a queue. What it would give to nobody any more is given up.
func back(b Batch) (v Verdict) {
	for _, r := range b.Records {
		if r.Last {
			v.Lost = append(v.Lost, Loss{[]*Record{r}, RetryAttemptsExhausted, r.Deliveries})
		} else {
			v.Back = append(v.Back, r)
		}
	}
	return v
}

// again has a batch tried in halves, without an attempt being counted.
func again(b Batch, p Policy, now time.Time) Verdict {
	b.Failures++
	b.NotUntil = now.Add(p.Delays.After(b.Failures))
	if len(b.Records) < 2 {
		return Verdict{Again: []Batch{b}}
	}
	first, second := b, b
	half := len(b.Records) / 2
	first.Records, second.Records = b.Records[:half:half], b.Records[half:]
	second.NotUntil = time.Time{}
	return Verdict{Again: []Batch{first, second}}
}

// Expire parts a batch before an attempt: what is too old is lost, the rest is tried.
func Expire(b Batch, p Policy, now time.Time) (Batch, []Loss) {
	limit := p.MaxAge
	if p.Retention > 0 && (limit < 0 || p.Retention < limit) {
		limit = p.Retention
	}
	if limit < 0 {
		return b, nil
	}
	var old, fresh []*Record
	for _, r := range b.Records {
		if !r.Arrived.IsZero() && now.Sub(r.Arrived) > limit {
			old = append(old, r)
		} else {
			fresh = append(fresh, r)
		}
	}
	if len(old) == 0 {
		return b, nil
	}
	b.Records = fresh
	return b, []Loss{{old, RecordAgeExceeded, b.Attempts}}
}
