package pool

import (
	"context"
	"errors"
	"slices"
	"time"

	"thaw/execenv"
	"thaw/function"
)

// Provisioned concurrency keeps a number of environments of a version initialised, whether anybody calls or not. They are made through admission and
// memory like those that somebody waits for, are nobody's victims when memory is short, and do not go for being idle; one that ends is replaced. Invocations use them
// like all others, and more than they can take get ordinary ones.

// Provider makes environments of provisioned concurrency.
type Provider interface {
	// Provision is Starter.Open for an environment whose Init is ahead of demand.
	Provision(ctx context.Context, v *function.Version, owner execenv.Owner) (*execenv.Environment, error)
}

// provisioned is what a set knows of its provisioned concurrency.
type provisioned struct {
	target  int
	reason  string // why the last one could not be made
	backoff backoff
}

// InitFailure is the reason of a failed allocation when the function did not initialise. Source: E-018.
const InitFailure = "FUNCTION_ERROR_INIT_FAILURE"

// Allocation is how far the provisioned concurrency of a version is.
type Allocation struct {
	Requested int
	Allocated int    // environments that are initialised
	Failure   string // why the last one could not be made; empty when it could
}

// Provision sets how many environments of a version are kept initialised; 0: none. It does not wait.
func (p *Pool) Provision(v *function.Version, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	key := keyOf(v)
	if p.closed || p.supersededLocked(key) || n == 0 && p.sets[key] == nil {
		return
	}
	s := p.setLocked(key, v)
	s.provisioned = provisioned{target: n}
	p.dropEmptyLocked(s)
	p.lookAtProvisioned()
}

// Provisioned says how far a version's provisioned concurrency is.
func (p *Pool) Provisioned(v *function.Version) Allocation {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sets[keyOf(v)]
	if s == nil {
		return Allocation{}
	}
	return Allocation{Requested: s.provisioned.target, Failure: s.provisioned.reason, Allocated: min(s.allotted(), s.provisioned.target)}
}

// allotted is how many environments of a set's provisioned concurrency are initialised.
func (s *set) allotted() (n int) {
	for _, state := range initialised {
		n += s.in.in(asProvisioned, state)
	}
	return n
}

// initialised are the states in which an environment is ready, at work, or ready again in a moment.
var initialised = []State{Idle, Claimed, Answered, Away}

func (p *Pool) lookAtProvisioned() {
	select {
	case p.provision <- struct{}{}:
	default:
	}
}

// keepProvisioned makes what is missing until the pool is closed.
func (p *Pool) keepProvisioned() {
	defer p.tasks.loops.Done()
	t := time.NewTicker(spareTick)
	defer t.Stop()
	for {
		select {
		case <-p.tasks.ctx.Done():
			return
		case <-t.C:
		case <-p.provision:
		}
		p.makeProvisioned()
	}
}

// makeProvisioned looks at every set once: what is missing is begun, what is too much is provisioned concurrency no more.
func (p *Pool) makeProvisioned() {
	now := p.o.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for m := range p.members {
		if m.purpose == asProvisioned && slices.Contains(initialised, m.state) && m.set.allotted() > m.set.provisioned.target {
			m.since = now
			p.becomeLocked(m, forCaller)
		}
	}
	for _, s := range p.sets {
		have := s.allotted() + s.opening(asProvisioned)
		for ; have < s.provisioned.target && s.provisioned.backoff.over(now) && !s.retired && !p.closed; have++ {
			m := p.newMemberLocked(s, asProvisioned)
			p.tasks.starts.Go(func() { p.open(m) })
		}
	}
}

func (p *Pool) provisionedWantedLocked(m *member) bool {
	return !p.closed && !m.set.retired && m.set.provisioned.target > 0
}

// failureOf is the reason of a failed allocation. err is nil when the environment ended and did not say why.
func failureOf(err error) string {
	switch {
	case err == nil:
		return "environment ended"
	case errors.Is(err, errSpent), errors.As(err, new(*execenv.RestoreError)):
		return InitFailure
	}
	return err.Error()
}
