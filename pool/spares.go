package pool

import (
	"context"
	"slices"
	"time"

	"thaw/execenv"
	"thaw/function"
)

// A spare is an environment that was restored from a version's snapshot before anybody asked for it, and that nobody has claimed yet. It lies frozen
// among the idle ones of its set, in front: it is taken when no used one is idle, and is the first to go when memory is short. It obeys what every
// environment obeys: generation, end of life, retirement. One goroutine, keepSpares, looks how many each set wants and makes one at a time.
//
//	claimed, or found missing --spareDelay--> wants? -> nobody waits -> memory to spare -> a free place -> Restore -> idle, in front
//
// It is counted among the starts that are wanted (set.wanted): who comes while a spare is being restored waits for it instead of for a start of their own.

// Restorer makes environments ahead of demand.
type Restorer interface {
	// Ready says whether an environment of v would be restored now, as far as can be told quickly: it is asked about every version that was invoked
	// lately, each second.
	Ready(v *function.Version) bool
	// Restore is Starter.Open, but where that would run Init it fails: at once, or by Gone.
	Restore(ctx context.Context, v *function.Version, owner execenv.Owner) (*execenv.Environment, error)
}

// Spares say how far the pool goes ahead of demand.
type Spares struct {
	Restorer Restorer      // nil: no spares
	Most     int           // of one version; 0: no spares
	Window   time.Duration // a version has spares for so long after its last invocation. Default 1 hour
	// Life is when a spare is replaced, and an idle environment of provisioned concurrency: the credentials that it got run out. Default half of
	// execenv.CredentialsLife; the other half is left to the invocations.
	Life time.Duration
}

const (
	// surge is how long an invocation that found no environment ready makes the pool keep one more.
	surge = time.Minute
	// spareDelay keeps the making of the next spare off the path of the request that took the last one: most are answered by then.
	spareDelay = 50 * time.Millisecond
	// spareTick is how often is looked at what time has brought.
	spareTick = time.Second
	// yield is for how long no spare is made after one had to give its memory to real work.
	yield = 10 * time.Second
	// firstBackoff is how long is waited after a spare that came to nothing; doubled each time until one is claimed, up to lastBackoff.
	firstBackoff = time.Second
	lastBackoff  = 5 * time.Minute
)

// usage is the demand for one version, as far as it decides how many spares there are.
type usage struct {
	last   time.Time   // an invocation came
	limit  int         // reserved concurrency of the function then; -1: none
	misses []time.Time // one found no environment ready; oldest first, at most as many as there may be spares
}

// missed notes that an invocation found nothing ready.
func (u *usage) missed(now time.Time, most int) {
	u.misses = append(u.misses, now)
	u.misses = u.misses[max(0, len(u.misses)-most):]
}

// wants is how many environments should lie ready: one while the version was invoked within window, and one more for each invocation that lately found
// none, up to most.
func (u *usage) wants(now time.Time, window time.Duration, most int) int {
	if u.last.IsZero() || now.Sub(u.last) >= window {
		return 0
	}
	n := 1
	for _, at := range u.misses {
		if now.Sub(at) < surge {
			n++
		}
	}
	return min(n, most)
}

// spareFits says whether memory allows one more spare of need bytes: as much again must stay free for real work, and all spares together, which hold held,
// take no more than half of what there would be without them.
func spareFits(available, pending, held, need int64) bool {
	if available < 0 { // not known
		return true
	}
	free := available - pending
	return free >= 2*need && held+need <= (free+held)/2
}

func (p *Pool) spares() bool { return p.o.Spares.Restorer != nil && p.o.Spares.Most > 0 }

// wantsLocked is how many environments of a set should lie ready as far as demand goes; whether there is a snapshot is not its business.
func (p *Pool) wantsLocked(s *set, now time.Time) int {
	if !p.spares() || !s.version.SnapStart || s.retired || p.closed {
		return 0
	}
	return s.use.wants(now, p.o.Spares.Window, p.o.Spares.Most)
}

// worn says that an idle member is to be let go as soon as it is not needed to lie ready.
func (p *Pool) worn(m *member, now time.Time) bool {
	if m.allotted {
		return false
	}
	if m.ahead {
		return age(m.made, now) >= p.o.Spares.Life
	}
	return now.Sub(m.since) >= p.o.IdleExpiry
}

// lastingLocked counts the idle members that have a future.
func (p *Pool) lastingLocked(s *set, now time.Time) int {
	n := 0
	for _, m := range s.idle {
		if !p.worn(m, now) && m.past(now) == "" {
			n++
		}
	}
	return n
}

// expireLocked ends what was idle for too long, but for what the set keeps ready: that goes when another took its place.
func (p *Pool) expireLocked(s *set, now time.Time) {
	lasting, renewed := p.lastingLocked(s, now), s.provisioned.target > 0 && s.provisioned.target > len(p.allottedLocked(s))
	for _, m := range slices.Clone(s.idle) {
		switch why := m.past(now); {
		case why != "":
			p.letGoLocked(m, why)
		case m.allotted: // one at a time, so that the others are there
			if !renewed && age(m.made, now) >= p.o.Spares.Life {
				renewed = true
				p.letGoLocked(m, "credentials run out")
			}
		case p.worn(m, now):
			if lasting >= s.want {
				p.letGoLocked(m, "idle")
			}
		case m.ahead && now.Sub(m.since) >= p.o.IdleExpiry && lasting > s.want:
			p.letGoLocked(m, "idle spare")
			lasting--
		}
	}
}

// nudge has the spares looked at soon.
func (p *Pool) nudge() {
	if !p.spares() {
		return
	}
	select {
	case p.nudged <- struct{}{}:
	default:
	}
}

// keepSpares makes spares until the pool is closed.
func (p *Pool) keepSpares() {
	defer p.janitor.Done()
	t := time.NewTicker(spareTick)
	defer t.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-t.C:
		case <-p.nudged:
			select {
			case <-time.After(spareDelay):
			case <-p.ctx.Done():
				return
			}
		}
		p.makeSpares()
	}
}

// makeSpares looks at every set once, the most recently used first, and begins what it wants and may have.
func (p *Pool) makeSpares() {
	type used struct {
		s    *set
		last time.Time
	}
	var sets []used
	now := p.o.Now()
	p.mu.Lock()
	for _, s := range p.sets {
		if p.wantsLocked(s, now) == 0 {
			s.want = 0
			p.dropEmptyLocked(s)
			continue
		}
		sets = append(sets, used{s, s.use.last})
	}
	p.mu.Unlock()
	slices.SortFunc(sets, func(a, b used) int { return b.last.Compare(a.last) })
	for _, u := range sets {
		ready := p.o.Spares.Restorer.Ready(u.s.version)
		p.mu.Lock()
		u.s.want = 0
		if ready {
			u.s.want = p.wantsLocked(u.s, now)
		}
		short := p.shortLocked(u.s, now)
		p.mu.Unlock()
		if short {
			p.openSpare(u.s)
		}
	}
}

// shortLocked says whether a set may have one more spare now, memory and processors apart. What its function could not run at once is of no use.
func (p *Pool) shortLocked(s *set, now time.Time) bool {
	return p.lastingLocked(s, now)+s.opening < s.want && (s.use.limit < 0 || s.all < s.use.limit) && len(s.waiters) == 0 && !s.retired && !p.closed &&
		!now.Before(s.notBefore) && !now.Before(p.yielding)
}

// openSpare begins one spare when nothing real is in its way.
func (p *Pool) openSpare(s *set) {
	need := int64(s.version.MemoryMiB) << 20
	leave, ok := p.admission.spare()
	if !ok {
		return
	}
	available := p.lockWithAvailable()
	now := p.o.Now()
	m := &member{set: s, starting: true, ahead: true, made: now}
	waiting := 0
	for _, x := range p.sets {
		waiting += len(x.waiters)
	}
	if waiting > 0 || !p.shortLocked(s, now) || p.envs+1 >= p.o.MaxEnvironments || !spareFits(available, p.memory.sum, p.heldLocked(), need) {
		p.mu.Unlock()
		leave()
		return
	}
	s.wanted++
	s.opening++
	p.joinLocked(m)
	p.memory.expect(m, need)
	p.mu.Unlock()
	p.spareStarts.Add(1)
	o := &owner{p: p, m: m, admitted: leave}
	if _, err := p.o.Spares.Restorer.Restore(p.ctx, s.version, o); err != nil {
		o.Gone(nil, err)
	}
}

// heldLocked is what spares may hold together.
func (p *Pool) heldLocked() (sum int64) {
	for m := range p.members {
		if m.ahead && !m.stopping {
			sum += int64(m.set.version.MemoryMiB) << 20
		}
	}
	return sum
}

// spareLostLocked notes that a spare ended without having served, and not because it was asked to: the next one comes later each time.
func (p *Pool) spareLostLocked(s *set, err error) {
	p.spareFailures.Add(1)
	wait := min(firstBackoff<<min(s.failed, 16), lastBackoff)
	s.failed++
	s.notBefore = p.o.Now().Add(wait)
	p.o.Log.Warn("spare lost", "fn", s.version.Name, "qualifier", s.version.Number, "again_in", wait, "error", err)
}

// claimedLocked notes that a member serves from now on.
func (p *Pool) claimedLocked(m *member) {
	if m.allotted {
		m.set.provisioned.failed = 0
	}
	if m.ahead {
		m.ahead = false
		m.set.failed, m.set.notBefore = 0, time.Time{}
	}
}

// Adopt takes an environment that was restored for another purpose, is offered, and would be let go now, as a spare. It returns the owner to tell from
// now on; nil when the pool has no use for a spare of v.
func (p *Pool) Adopt(v *function.Version, env *execenv.Environment) execenv.Owner {
	available := p.lockWithAvailable()
	now := p.o.Now()
	s := p.sets[keyOf(v)]
	if s == nil || p.wantsLocked(s, now) == 0 || now.Before(p.yielding) || p.envs+1 >= p.o.MaxEnvironments ||
		!spareFits(available, p.memory.sum, p.heldLocked(), int64(v.MemoryMiB)<<20) {
		p.mu.Unlock()
		return nil
	}
	m := &member{set: s, env: env, ahead: true, made: now}
	s.failed, s.notBefore = 0, time.Time{}
	p.joinLocked(m)
	p.mu.Unlock()
	p.spareStarts.Add(1)
	p.offered(m)
	return &owner{p: p, m: m, admitted: func() {}}
}
