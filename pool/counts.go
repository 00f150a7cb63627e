package pool

import (
	"maps"
	"sync/atomic"

	"thaw/execenv"
	"thaw/function"
)

// totals are since the pool was opened.
type totals struct {
	colds, warms, throttles                 atomic.Uint64
	spareStarts, spareClaims, spareFailures atomic.Uint64
}

// Environments returns what is known of every environment, in no order.
func (p *Pool) Environments() []execenv.Status {
	p.mu.Lock()
	out := make([]execenv.Status, 0, len(p.members))
	for m := range p.members {
		if m.env != nil {
			s := m.env.Status()
			s.Spare, s.Provisioned = m.state == Idle && m.purpose == asSpare, m.purpose == asProvisioned
			out = append(out, s)
		}
	}
	p.mu.Unlock()
	return out
}

// Counts are totals since the pool was opened, and what is there now.
type Counts struct {
	Cold, Warm, Throttled                 uint64
	Environments, Idle, Waiting, InFlight int
	// Spares are those among Idle that were made ahead of demand. SpareClaims are those among Warm that found one;
	// SpareFailures came to nothing.
	Spares                                  int
	SpareStarts, SpareClaims, SpareFailures uint64
}

// Counts returns the pool's numbers.
func (p *Pool) Counts() Counts {
	t := &p.totals
	c := Counts{Cold: t.colds.Load(), Warm: t.warms.Load(), Throttled: t.throttles.Load(),
		SpareStarts: t.spareStarts.Load(), SpareClaims: t.spareClaims.Load(), SpareFailures: t.spareFailures.Load()}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.Environments, c.Idle, c.Spares, c.InFlight = p.in.environments(), p.in.all(Idle), p.in.in(asSpare, Idle), p.flight.total()
	for _, s := range p.sets {
		c.Waiting += len(s.waiters)
	}
	return c
}

// InUse is the concurrency that is taken at one moment.
type InUse struct {
	Named       map[function.Resource]int
	Unreserved  int                  // by functions without a reservation, provisioned concurrency apart
	Provisioned map[function.ARN]int // of the provisioned concurrency of versions
}

// InUse returns what is taken now.
func (p *Pool) InUse() InUse {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := InUse{Named: maps.Clone(p.flight.named), Unreserved: p.flight.unreserved, Provisioned: make(map[function.ARN]int, len(p.flight.owned))}
	for k, n := range p.flight.owned {
		u.Provisioned[k.function.Version(k.number)] = n
	}
	return u
}
