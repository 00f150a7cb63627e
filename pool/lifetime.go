package pool

import (
	"context"
	"fmt"
	"sync"
	"time"

	"thaw/execenv"
)

// Retire lets every environment of a version below an epoch go, and sends those who wait for one back to resolve again. number "" means
// all versions of the function. What runs finishes.
func (p *Pool) Retire(unqualifiedARN, number string, beforeEpoch uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, s := range p.sets {
		if key.function != unqualifiedARN || (number != "" && key.number != number) || key.epoch >= beforeEpoch {
			continue
		}
		p.retireLocked(s)
	}
	floor := versionKey{unqualifiedARN, number}
	p.floor[floor] = max(p.floor[floor], beforeEpoch)
}

func (p *Pool) retireLocked(s *set) {
	s.retired = true
	s.provisioned.target = 0
	for _, w := range s.waiters {
		w.got <- grant{err: ErrSuperseded}
	}
	s.waiters = nil
	for _, m := range s.idle {
		m.idle, m.stopping = false, true
		go m.env.Stop("superseded")
	}
	s.idle = nil
	for m := range p.members {
		if m.set == s && m.starting && (m.ahead || m.allotted) && m.env != nil && !m.stopping { // nobody waits for it
			m.stopping = true
			go m.env.Stop("superseded")
		}
	}
	p.dropEmptyLocked(s)
}

// Outdate lets the environments of a version go that did not begin from the snapshot keep: idle ones now, the others when they come back. One that ran
// Init began from none: it goes when there is a snapshot, because nobody knows when what it cached is no longer good, and stays when keep is empty.
func (p *Pool) Outdate(unqualifiedARN, number, keep string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for m := range p.members {
		if m.set.key.function != unqualifiedARN || m.set.key.number != number || m.env == nil || m.stopping {
			continue
		}
		if id, _ := m.env.Snapshot(); id == keep {
			continue
		}
		m.outdated = true
		if m.idle {
			p.letGoLocked(m, "snapshot replaced")
		}
	}
	for key, s := range p.sets {
		if key.function == unqualifiedARN && key.number == number { // what failed with the old one may do with the new one
			s.failed, s.notBefore = 0, time.Time{}
		}
	}
	p.nudge()
}

// expire ends what was idle for too long.
func (p *Pool) expire() {
	defer p.janitor.Done()
	every := max(p.o.IdleExpiry/4, 10*time.Millisecond)
	t := time.NewTicker(min(every, 5*time.Second))
	defer t.Stop()
	for {
		select {
		case <-p.ctx.Done():
			return
		case <-t.C:
			now := p.o.Now()
			p.mu.Lock()
			for _, s := range p.sets {
				p.expireLocked(s, now)
			}
			p.mu.Unlock()
		}
	}
}

func (p *Pool) letGoLocked(m *member, reason string) {
	p.unlistLocked(m)
	m.stopping = true
	go m.env.Stop(reason)
}

// Close drains: no invocation is taken any more, what runs finishes until ctx ends, and then everything goes. It returns when nothing is left.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		for _, s := range p.sets {
			for _, w := range s.waiters {
				w.got <- grant{err: ErrClosed}
			}
			s.waiters = nil
			for len(s.idle) > 0 {
				p.letGoLocked(s.idle[len(s.idle)-1], "drain")
			}
		}
		for m := range p.members {
			if m.starting && !m.stopping && m.env != nil { // nobody waits for it any more
				m.stopping = true
				go m.env.Stop("drain")
			}
		}
		p.checkDrainedLocked()
	}
	p.mu.Unlock()
	p.stop()
	p.janitor.Wait()
	select {
	case <-p.drained:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	var left []*execenv.Environment
	for m := range p.members {
		m.stopping = true
		if m.env != nil {
			left = append(left, m.env)
		}
	}
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, e := range left {
		wg.Go(func() { e.Stop("drain limit reached"); <-e.Done() })
	}
	wg.Wait()
	<-p.drained
	return fmt.Errorf("drain: %w: %d environments were stopped at work", context.Cause(ctx), len(left))
}

// checkDrainedLocked notices that a closed pool has nothing left.
func (p *Pool) checkDrainedLocked() {
	if !p.closed || p.envs > 0 || p.flight.total() > 0 {
		return
	}
	for _, s := range p.sets {
		if s.wanted > 0 {
			return
		}
	}
	select {
	case <-p.drained:
	default:
		close(p.drained)
	}
}

// Environments returns what is known of every environment, in no order.
func (p *Pool) Environments() []execenv.Status {
	p.mu.Lock()
	out := make([]execenv.Status, 0, len(p.members))
	for m := range p.members {
		if m.env != nil {
			s := m.env.Status()
			s.Spare, s.Provisioned = m.idle && m.ahead, m.allotted
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
	// Spares are those among Idle that were made ahead of demand. SpareClaims are those among Warm that found one; SpareFailures came to nothing.
	Spares                                  int
	SpareStarts, SpareClaims, SpareFailures uint64
}

// Counts returns the pool's numbers.
func (p *Pool) Counts() Counts {
	c := Counts{Cold: p.colds.Load(), Warm: p.warms.Load(), Throttled: p.throttles.Load(),
		SpareStarts: p.spareStarts.Load(), SpareClaims: p.spareClaims.Load(), SpareFailures: p.spareFailures.Load()}
	p.mu.Lock()
	defer p.mu.Unlock()
	c.Environments = p.envs
	for _, s := range p.sets {
		c.Idle += len(s.idle)
		for _, m := range s.idle {
			if m.ahead {
				c.Spares++
			}
		}
		c.Waiting += len(s.waiters)
	}
	c.InFlight = p.flight.total()
	return c
}
