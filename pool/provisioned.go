package pool

import (
	"context"
	"errors"
	"sync"
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
	target    int
	opening   int // being made, from the wish on
	failed    int // in a row
	reason    string
	notBefore time.Time
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
	s.provisioned.target = n
	s.provisioned.failed, s.provisioned.reason, s.provisioned.notBefore = 0, "", time.Time{}
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
	a := Allocation{Requested: s.provisioned.target, Failure: s.provisioned.reason}
	a.Allocated = min(len(p.allottedLocked(s)), s.provisioned.target)
	return a
}

// allottedLocked are the environments of a set's provisioned concurrency that are initialised.
func (p *Pool) allottedLocked(s *set) (list []*member) {
	for m := range p.members {
		if m.set == s && m.allotted && !m.starting && !m.stopping {
			list = append(list, m)
		}
	}
	return list
}

func (p *Pool) lookAtProvisioned() {
	select {
	case p.provision <- struct{}{}:
	default:
	}
}

// keepProvisioned makes what is missing until the pool is closed.
func (p *Pool) keepProvisioned() {
	defer p.janitor.Done()
	t := time.NewTicker(spareTick)
	defer t.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-t.C:
		case <-p.provision:
		}
		now := p.o.Now()
		p.mu.Lock()
		allotted := map[*set][]*member{}
		for m := range p.members {
			if m.allotted && !m.starting && !m.stopping {
				allotted[m.set] = append(allotted[m.set], m)
			}
		}
		for _, s := range p.sets {
			list := allotted[s]
			for _, m := range list[min(len(list), s.provisioned.target):] { // too many: from now on ordinary ones
				m.allotted = false
				m.since = now
			}
			have := len(list) + s.provisioned.opening
			for ; have < s.provisioned.target && !now.Before(s.provisioned.notBefore) && !s.retired && !p.closed; have++ {
				s.provisioned.opening++
				p.janitor.Go(func() { p.openProvisioned(s) })
			}
		}
		p.mu.Unlock()
	}
}

// openProvisioned makes one environment.
func (p *Pool) openProvisioned(s *set) {
	failed := func(err error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		s.provisioned.opening--
		if !errors.Is(err, errUnwanted) {
			p.provisionFailedLocked(s, err)
		}
		p.dropEmptyLocked(s)
		p.checkDrainedLocked()
	}
	done, err := p.admission.enter(p.ctx)
	if err != nil {
		failed(ErrClosed)
		return
	}
	m := &member{set: s, starting: true, allotted: true, made: p.o.Now()}
	if err := p.makeRoom(m, func() bool { return !p.closed && !s.retired && s.provisioned.target > 0 }); err != nil {
		done()
		failed(err)
		return
	}
	o := &owner{p: p, m: m, admitted: sync.OnceFunc(done)}
	open := p.o.Starter.Open
	if p.o.Provider != nil {
		open = p.o.Provider.Provision
	}
	if _, err := open(p.ctx, s.version, o); err != nil {
		o.Gone(nil, err)
	}
}

// provisionFailedLocked notes that one could not be made. err is nil when its Init failed. It is tried again ever later.
func (p *Pool) provisionFailedLocked(s *set, err error) {
	if p.closed || s.retired {
		return
	}
	s.provisioned.reason = InitFailure
	if r := (*execenv.RestoreError)(nil); err != nil && !errors.As(err, &r) {
		s.provisioned.reason = err.Error()
	}
	wait := min(firstBackoff<<min(s.provisioned.failed, 16), lastBackoff)
	s.provisioned.failed++
	s.provisioned.notBefore = p.o.Now().Add(wait)
	p.o.Log.Warn("provisioned environment not made", "fn", s.version.Name, "qualifier", s.version.Number, "reason", s.provisioned.reason, "again_in", wait)
}
