package pool

import (
	"errors"
	"slices"
	"time"

	"thaw/execenv"
)

// purpose is why a member is there.
type purpose uint8

const (
	forCaller     purpose = iota // an invocation waited for it, or has had it
	asSpare                      // made ahead of demand; nobody has claimed it yet
	asProvisioned                // part of the version's provisioned concurrency
	numPurposes
)

// member is one environment of a set.
type member struct {
	set      *set
	state    State // written by moveLocked alone
	purpose  purpose
	env      *execenv.Environment // nil until Opened; another one when a failed restore has become an Init
	claims   uint64               // how many invocations it was given to
	since    time.Time            // when it became Idle last
	outdated bool                 // of a generation that was replaced: it is Unfit when it is offered
	made     time.Time            // when its start began
	ends     time.Time            // when the snapshot that it was restored from ends, by the monotonic clock; zero: never, or not offered yet
}

// tally counts members by purpose and state. Those that are Gone are not counted.
type tally [numPurposes][numStates]int

// in is how many members of a purpose are in a state.
func (t *tally) in(of purpose, s State) int { return t[of][s] }

// all is how many members are in one of the states, whatever they are for.
func (t *tally) all(states ...State) (n int) {
	for of := range t {
		for _, s := range states {
			n += t[of][s]
		}
	}
	return n
}

// environments is how many members hold something: all but those that wait for their turn.
func (t *tally) environments() int { return t.all(Starting, Idle, Claimed, Answered, Away, Leaving) }

// reason is why a member is asked to go, for the log of its environment.
type reason string

func (r reason) Error() string { return string(r) }

// errSpent is why a member is Spent.
var errSpent = errors.New("its runtime ended")

// newMemberLocked wishes for an environment.
func (p *Pool) newMemberLocked(s *set, of purpose) *member {
	m := &member{set: s, purpose: of}
	p.countLocked(m, 1)
	return m
}

func (p *Pool) countLocked(m *member, n int) {
	if m.state == Gone {
		return
	}
	m.set.in[m.purpose][m.state] += n
	p.in[m.purpose][m.state] += n
}

// becomeLocked changes what a member is for.
func (p *Pool) becomeLocked(m *member, now purpose) {
	p.countLocked(m, -1)
	m.purpose = now
	p.countLocked(m, 1)
}

// moveLocked tells a member what happened to it, and does what follows. It is the one place where states, counts and
// lists change. because is for the log and for who waits; it may be nil. It says whether the event was legal.
func (p *Pool) moveLocked(m *member, e Event, because error) bool {
	to, do, err := Next(m.state, e)
	if err != nil {
		p.o.Log.Error("refused move of a member", "fn", m.set.version.Name, "qualifier", m.set.version.Number, "error", err)
		return false
	}
	from := m.state
	p.countLocked(m, -1)
	m.state = to
	p.countLocked(m, 1)
	for _, a := range do {
		p.performLocked(m, a, because)
	}
	if to == Gone && from != Gone {
		p.dropEmptyLocked(m.set)
		p.checkDrainedLocked()
	}
	return true
}

func (p *Pool) performLocked(m *member, a Action, because error) {
	s := m.set
	switch a {
	case Join:
		m.made = p.o.Now()
		p.members[m] = true
		if m.purpose == asSpare {
			p.totals.spareStarts.Add(1)
		}
	case Promise:
		p.memory.expect(m, s.need())
	case Settle:
		p.memory.settled(m)
	case List:
		p.listLocked(m)
	case Unlist:
		if i := slices.Index(s.idle, m); i >= 0 {
			s.idle = slices.Delete(s.idle, i, i+1)
		}
	case BeginTurn:
		m.claims++
		switch m.purpose {
		case asProvisioned:
			s.provisioned.backoff.failed = 0
		case asSpare:
			s.spares.backoff = backoff{}
			p.becomeLocked(m, forCaller)
		}
	case Stop:
		if m.env != nil {
			go m.env.Stop(because.Error())
		}
	case StartAnother:
		p.wantLocked(s)
	case NoteFailure:
		p.noteFailureLocked(m, because)
	case TellWaiter:
		if m.purpose == forCaller {
			p.failOldestLocked(s, m.startError(because))
		} else {
			p.wantLocked(s) // no caller waits for this start; later callers request their own
		}
	case Forget:
		delete(p.members, m)
		if m.purpose == asProvisioned {
			p.lookAtProvisioned()
		}
	}
}

// listLocked puts a member among the idle ones: spares in front, the most recently used last.
func (p *Pool) listLocked(m *member) {
	s := m.set
	m.since = p.o.Now()
	switch m.purpose {
	case asSpare:
		s.idle = slices.Insert(s.idle, 0, m)
		if len(s.idle) < s.spares.want {
			p.nudge()
		}
		return
	case asProvisioned:
		s.provisioned.reason = ""
	}
	s.idle = append(s.idle, m)
}

func (p *Pool) letGoLocked(m *member, why string) { p.moveLocked(m, StopAsked, reason(why)) }

// startError is what the caller hears whose start came to nothing.
func (m *member) startError(err error) error {
	if err == nil {
		err = errors.New("environment ended before it was ready")
	}
	if r := (*execenv.RestoreError)(nil); errors.As(err, &r) {
		return &RestoreFailedError{Timeout: r.Timeout, ErrorType: r.ErrorType, Message: r.Message}
	}
	switch {
	case errors.Is(err, ErrClosed), errors.As(err, new(*ThrottledError)), errors.As(err, new(*UnavailableError)):
		return err
	case m.env == nil:
		return &UnavailableError{Phase: "place", Err: err}
	}
	return &UnavailableError{Phase: "create", Env: string(m.env.ID()), Err: err}
}

// verdictLocked says what an offer of a member's environment is.
func (p *Pool) verdictLocked(m *member, now time.Time) (Event, error) {
	switch {
	case m.env.Spent():
		return Spent, errSpent
	case m.set.retired, p.closed, m.outdated:
		return Unfit, reason("superseded or draining")
	}
	if past := m.past(now); past != "" {
		return Unfit, reason(past)
	}
	return Offered, nil
}

// past says why no invoke may start in a member any more: what it was restored from has come to its end, or its
// credentials would within the invoke. They are never renewed in place: variables of a process cannot be. Empty: one may.
func (m *member) past(now time.Time) string {
	_, end := m.env.Snapshot()
	switch {
	case !end.IsZero() && (!now.Round(0).Before(end) || !m.ends.IsZero() && !now.Before(m.ends)):
		return "snapshot expired"
	case age(m.made, now) >= execenv.CredentialsLife-m.set.version.Timeout:
		return "credentials expired"
	}
	return ""
}

// knowEnd notes a snapshot's end in a form that a wall clock that is set back does not move. The end itself is a wall
// time, which goes on while the host sleeps.
func (m *member) knowEnd(now time.Time) {
	if _, end := m.env.Snapshot(); m.ends.IsZero() && !end.IsZero() {
		m.ends = now.Add(end.Sub(now.Round(0)))
	}
}

// age is how long ago since was, by the clock that says more: Go's monotonic clock stands still while the host sleeps,
// and a wall clock can be set back.
func age(since, now time.Time) time.Duration {
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}
