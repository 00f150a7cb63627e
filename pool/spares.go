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
// It is counted among the starts that are wanted (set.wanted) once it has its place: who comes while a spare is being
// restored waits for it instead of for a start of their own.

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
)

// spares is what a set knows of its spares.
type spares struct {
	use     usage
	want    int // how many should lie ready, as of the last look
	backoff backoff
}

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

func (p *Pool) makesSpares() bool { return p.o.Spares.Restorer != nil && p.o.Spares.Most > 0 }

// wantsLocked is how many environments of a set should lie ready as far as demand goes; whether there is a snapshot is not its business.
func (p *Pool) wantsLocked(s *set, now time.Time) int {
	if !p.makesSpares() || !s.version.SnapStart || s.version.PerTenant || s.retired || p.closed {
		return 0
	}
	return s.spares.use.wants(now, p.o.Spares.Window, p.o.Spares.Most)
}

// wornLocked says that an idle member is to be let go as soon as it is not needed to lie ready.
func (p *Pool) wornLocked(m *member, now time.Time) bool {
	if m.purpose == asProvisioned {
		return false
	}
	if m.purpose == asSpare {
		return age(m.made, now) >= p.o.Spares.Life
	}
	return now.Sub(m.since) >= p.o.IdleExpiry
}

// lastingLocked counts the idle members that have a future.
func (p *Pool) lastingLocked(s *set, now time.Time) int {
	n := 0
	for _, m := range s.idle {
		if !p.wornLocked(m, now) && m.past(now) == "" {
			n++
		}
	}
	return n
}

// expireLocked ends what was idle for too long, but for what the set keeps ready: that goes when another took its place.
func (p *Pool) expireLocked(s *set, now time.Time) {
	lasting, renewed := p.lastingLocked(s, now), s.provisioned.target > 0 && s.provisioned.target > s.allotted()
	for _, m := range slices.Clone(s.idle) {
		switch why := m.past(now); {
		case why != "":
			p.letGoLocked(m, why)
		case m.purpose == asProvisioned: // one at a time, so that the others are there
			if !renewed && age(m.made, now) >= p.o.Spares.Life {
				renewed = true
				p.letGoLocked(m, "credentials run out")
			}
		case p.wornLocked(m, now):
			if lasting >= s.spares.want {
				p.letGoLocked(m, "idle")
			}
		case m.purpose == asSpare && now.Sub(m.since) >= p.o.IdleExpiry && lasting > s.spares.want:
			p.letGoLocked(m, "idle spare")
			lasting--
		}
	}
}

// nudge has the spares looked at soon.
func (p *Pool) nudge() {
	if !p.makesSpares() {
		return
	}
	select {
	case p.nudged <- struct{}{}:
	default:
	}
}

// keepSpares makes spares until the pool is closed.
func (p *Pool) keepSpares() {
	defer p.tasks.loops.Done()
	t := time.NewTicker(spareTick)
	defer t.Stop()
	for {
		select {
		case <-p.tasks.ctx.Done():
			return
		case <-t.C:
		case <-p.nudged:
			select {
			case <-time.After(spareDelay):
			case <-p.tasks.ctx.Done():
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
			s.spares.want = 0
			p.dropEmptyLocked(s)
			continue
		}
		sets = append(sets, used{s, s.spares.use.last})
	}
	p.mu.Unlock()
	slices.SortFunc(sets, func(a, b used) int { return b.last.Compare(a.last) })
	for _, u := range sets {
		ready := p.o.Spares.Restorer.Ready(u.s.version)
		p.mu.Lock()
		u.s.spares.want = 0
		if ready {
			u.s.spares.want = p.wantsLocked(u.s, now)
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
	limit := s.spares.use.limit
	return p.lastingLocked(s, now)+s.in.in(asSpare, Starting) < s.spares.want && (limit < 0 || s.in.environments() < limit) && len(s.waiters) == 0 &&
		!s.retired && !p.closed && s.spares.backoff.over(now) && !now.Before(p.yielding)
}

// openSpare begins one spare when nothing real is in its way.
func (p *Pool) openSpare(s *set) {
	p.mu.Lock()
	m := p.newMemberLocked(s, asSpare)
	p.mu.Unlock()
	p.open(m)
}

func (p *Pool) spareWantedLocked(m *member) bool {
	for _, s := range p.sets {
		if len(s.waiters) > 0 {
			return false
		}
	}
	return p.shortLocked(m.set, p.o.Now())
}

// spareFitsLocked leaves memory, and a place among the environments, to real work.
func (p *Pool) spareFitsLocked(m *member, available int64) bool {
	return p.in.environments()+1 < p.o.MaxEnvironments && spareFits(available, p.memory.sum, p.heldLocked(), m.set.need())
}

// heldLocked is what spares may hold together.
func (p *Pool) heldLocked() (sum int64) {
	for m := range p.members {
		if m.purpose == asSpare && m.state != Leaving {
			sum += m.set.need()
		}
	}
	return sum
}

// Adopt takes an environment that was restored for another purpose, is offered, and would be let go now, as a spare. It returns the owner to tell from
// now on; nil when the pool has no use for a spare of v.
func (p *Pool) Adopt(v *function.Version, env *execenv.Environment) execenv.Owner {
	available := p.lockWithAvailable()
	defer p.mu.Unlock()
	now := p.o.Now()
	s := p.sets[keyOf(v)]
	if s == nil || p.wantsLocked(s, now) == 0 || now.Before(p.yielding) {
		return nil
	}
	m := &member{set: s, purpose: asSpare, env: env}
	if !p.spareFitsLocked(m, available) {
		return nil
	}
	s.spares.backoff = backoff{}
	p.countLocked(m, 1)
	p.moveLocked(m, Adopted, nil)
	p.offeredLocked(m)
	return &owner{p: p, m: m, admitted: func() {}}
}
