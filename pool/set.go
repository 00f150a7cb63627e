package pool

import (
	"errors"
	"slices"
	"time"

	"thaw/function"
)

type versionKey struct {
	function function.ARN // unqualified
	number   function.VersionNumber
}

type setKey struct {
	versionKey
	epoch  uint64
	tenant string // of a version that is PerTenant; else empty
}

// keyOf is the set whose environments are nobody's: of all versions but those that are PerTenant.
func keyOf(v *function.Version) setKey {
	return setKey{versionKey{v.UnqualifiedARN(), v.Number}, v.Epoch, ""}
}

// keyFor is the set whose environments an invocation may have.
func keyFor(r *Request) setKey {
	k := keyOf(r.Version)
	k.tenant = r.TenantID
	return k
}

// set is the environments of one version at one epoch, and of one tenant where the version tells them apart.
type set struct {
	key         setKey
	version     *function.Version
	in          tally     // of its members
	idle        []*member // those that are Idle; last one is the most recently used
	waiters     []*waiter // oldest first
	retired     bool
	provisioned provisioned
	spares      spares
}

// waiter is an invocation without an environment.
type waiter struct {
	got chan grant // buffered
}

type grant struct {
	turn turn
	err  error
}

// need is the memory of one environment, in bytes.
func (s *set) need() int64 { return int64(s.version.MemoryMiB) << 20 }

// wanted is how many environments those who wait can count on: starts for callers, and spares that have their place. A
// spare without one may still be dropped.
func (s *set) wanted() int {
	return s.in.in(forCaller, Wanted) + s.in.in(forCaller, Starting) + s.in.in(asSpare, Starting)
}

// opening is how many members of a purpose are on their way.
func (s *set) opening(of purpose) int { return s.in.in(of, Wanted) + s.in.in(of, Starting) }

func (s *set) forget(w *waiter) {
	if i := slices.Index(s.waiters, w); i >= 0 {
		s.waiters = slices.Delete(s.waiters, i, i+1)
	}
}

// supersededLocked says that no environment of an epoch may be made any more: it was retired.
func (p *Pool) supersededLocked(key setKey) bool {
	return key.epoch < max(p.floor[key.versionKey], p.floor[versionKey{function: key.function}])
}

func (p *Pool) setLocked(key setKey, v *function.Version) *set {
	s := p.sets[key]
	if s == nil {
		s = &set{key: key, version: v}
		p.sets[key] = s
	}
	return s
}

func (p *Pool) dropEmptyLocked(s *set) {
	if s.in == (tally{}) && len(s.waiters) == 0 && p.sets[s.key] == s && s.provisioned.target == 0 && p.wantsLocked(s, p.o.Now()) == 0 {
		delete(p.sets, s.key)
	}
}

// wantLocked starts an environment unless enough are on their way for those who wait. Beyond the function's scaling rate
// whoever waits longest is refused instead.
func (p *Pool) wantLocked(s *set) {
	if s.wanted() >= len(s.waiters) || s.retired || p.closed {
		return
	}
	if !p.rates.start(s.key.function, p.o.Now()) {
		p.failOldestLocked(s, &ThrottledError{Reason: AccountConcurrency})
		return
	}
	p.totals.colds.Add(1)
	m := p.newMemberLocked(s, forCaller)
	p.tasks.starts.Go(func() { p.open(m) })
}

// failOldestLocked answers the oldest waiter of the set: an environment that was wanted will not come.
func (p *Pool) failOldestLocked(s *set, err error) {
	if len(s.waiters) == 0 || s.wanted() >= len(s.waiters) {
		return // somebody else's start serves it
	}
	if s.retired {
		err = ErrSuperseded
	}
	w := s.waiters[0]
	s.waiters = s.waiters[1:]
	if t := (*ThrottledError)(nil); errors.As(err, &t) {
		p.totals.throttles.Add(1)
	}
	w.got <- grant{err: err}
}

const (
	// firstBackoff is how long is waited after an environment ahead of demand that came to nothing; doubled each time
	// until one is claimed, up to lastBackoff.
	firstBackoff = time.Second
	lastBackoff  = 5 * time.Minute
)

// backoff keeps the making of environments ahead of demand from going on and on where it fails.
type backoff struct {
	failed    int       // in a row
	notBefore time.Time // is the next one made
}

// lengthen is called for each failure; it returns the wait.
func (b *backoff) lengthen(now time.Time) time.Duration {
	wait := min(firstBackoff<<min(b.failed, 16), lastBackoff)
	b.failed++
	b.notBefore = now.Add(wait)
	return wait
}

func (b *backoff) over(now time.Time) bool { return !now.Before(b.notBefore) }

// noteFailureLocked notes that a member made ahead of demand ended without having served, and not because it was asked
// to: the next one comes later each time. err is nil when its environment ended and did not say why.
func (p *Pool) noteFailureLocked(m *member, err error) {
	s := m.set
	if m.claims > 0 || s.retired || p.closed {
		return
	}
	now := p.o.Now()
	switch m.purpose {
	case asSpare:
		p.totals.spareFailures.Add(1)
		wait := s.spares.backoff.lengthen(now)
		p.o.Log.Warn("spare lost", "fn", s.version.Name, "qualifier", s.version.Number, "again_in", wait, "error", err)
	case asProvisioned:
		s.provisioned.reason = failureOf(err)
		wait := s.provisioned.backoff.lengthen(now)
		p.o.Log.Warn("provisioned environment not made", "fn", s.version.Name, "qualifier", s.version.Number, "reason", s.provisioned.reason, "again_in", wait)
	}
}
