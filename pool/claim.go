package pool

import (
	"context"
	"time"

	"thaw/execenv"
)

// turn is one invocation's hold on a member: what it may say of the member, it may say until the member's next turn.
type turn struct {
	m   *member
	env *execenv.Environment
	n   uint64 // the member's first is 1
}

// answerGrace is how long an invocation waits for an environment that has just answered and is about to be offered,
// before another one is started: a caller who sends one invocation after the other needs one environment, not two.
// Measured: a runtime is back in next within 2 ms when the host is idle; the least cold start takes many times the
// grace.
const answerGrace = 25 * time.Millisecond

// claim returns an environment that nobody else has: an idle one, or the first that comes back or is made.
func (p *Pool) claim(ctx context.Context, r *Request) (turn, error) {
	v, key := r.Version, keyFor(r)
	p.mu.Lock()
	if p.supersededLocked(key) {
		p.mu.Unlock()
		return turn{}, ErrSuperseded
	}
	s := p.setLocked(key, v)
	now := p.o.Now()
	s.spares.use.last, s.spares.use.limit = now, r.Limits.Reserved
	if m := p.usableLocked(s, now); m != nil {
		if m.purpose == asSpare {
			p.totals.spareClaims.Add(1)
		}
		t := p.beginTurnLocked(m)
		if len(s.idle) < s.spares.want {
			p.nudge()
		}
		p.mu.Unlock()
		p.totals.warms.Add(1)
		return t, nil
	}
	w := &waiter{got: make(chan grant, 1)}
	s.waiters = append(s.waiters, w)
	if len(s.waiters) <= s.in.all(Answered) {
		t := time.AfterFunc(answerGrace, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.wantLocked(s)
		})
		defer t.Stop()
	} else {
		s.spares.use.missed(now, p.o.Spares.Most)
		p.wantLocked(s)
		p.nudge()
	}
	p.mu.Unlock()
	select {
	case g := <-w.got:
		return g.turn, g.err
	case <-ctx.Done():
	}
	p.mu.Lock()
	s.forget(w)
	p.mu.Unlock()
	select {
	case g := <-w.got: // it came in the same moment: give it back
		if g.err == nil {
			p.giveBack(g.turn)
		}
	default:
	}
	return turn{}, context.Cause(ctx)
}

// usableLocked is the most recently used idle member in which an invoke may start; those in which none may any more go.
func (p *Pool) usableLocked(s *set, now time.Time) *member {
	for n := len(s.idle); n > 0; n = len(s.idle) {
		m := s.idle[n-1]
		past := m.past(now)
		if past == "" {
			return m
		}
		p.letGoLocked(m, past)
	}
	return nil
}

// beginTurnLocked gives an idle member to an invocation.
func (p *Pool) beginTurnLocked(m *member) turn {
	p.moveLocked(m, Assigned, nil)
	return turn{m: m, env: m.env, n: m.claims}
}

// told hears from the invocation of a turn. What it says of a member that others have had since is late and means nothing.
func (p *Pool) told(t turn, e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.m.claims == t.n {
		p.moveLocked(t.m, e, nil)
	}
}

// giveBack ends a turn of which nothing has run: the next one gets the environment, if it is still what was given.
func (p *Pool) giveBack(t turn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.m.claims != t.n {
		return
	}
	p.moveLocked(t.m, GivenBack, nil)
	if t.m.state != Idle {
		return
	}
	if e, because := p.verdictLocked(t.m, p.o.Now()); e != Offered {
		p.moveLocked(t.m, e, because)
		return
	}
	p.handOverLocked(t.m)
}

// handOverLocked gives a member that has just become idle, if it has, to the invocation that waits longest.
func (p *Pool) handOverLocked(m *member) {
	s := m.set
	if m.state != Idle || len(s.waiters) == 0 {
		return
	}
	w := s.waiters[0]
	s.waiters = s.waiters[1:]
	w.got <- grant{turn: p.beginTurnLocked(m)}
	p.nudge()
}
