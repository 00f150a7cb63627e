package pool

import (
	"context"
	"fmt"
	"time"

	"thaw/execenv"
	"thaw/function"
)

// Retire lets every environment of a version below an epoch go, and sends those who wait for one back to resolve again. number "" means
// all versions of the function. What runs finishes.
func (p *Pool) Retire(unqualifiedARN function.ARN, number function.VersionNumber, beforeEpoch uint64) {
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
	for m := range p.members {
		if m.set == s && (m.state == Idle || m.state == Starting && m.purpose != forCaller) { // nobody waits for it
			p.letGoLocked(m, "superseded")
		}
	}
	p.dropEmptyLocked(s)
}

// Outdate lets the environments of a version go that did not begin from the snapshot keep: idle ones now, the others when they come back. One that ran
// Init began from none: it goes when there is a snapshot, because nobody knows when what it cached is no longer good, and stays when keep is empty.
func (p *Pool) Outdate(unqualifiedARN function.ARN, number function.VersionNumber, keep string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for m := range p.members {
		if m.set.key.function != unqualifiedARN || m.set.key.number != number || m.env == nil || m.state == Leaving {
			continue
		}
		if id, _ := m.env.Snapshot(); id == keep {
			continue
		}
		m.outdated = true
		if m.state == Idle {
			p.letGoLocked(m, "snapshot replaced")
		}
	}
	for key, s := range p.sets {
		if key.function == unqualifiedARN && key.number == number { // what failed with the old one may do with the new one
			s.spares.backoff = backoff{}
		}
	}
	p.nudge()
}

// expire ends what was idle for too long.
func (p *Pool) expire() {
	defer p.tasks.loops.Done()
	every := max(p.o.IdleExpiry/4, 10*time.Millisecond)
	t := time.NewTicker(min(every, 5*time.Second))
	defer t.Stop()
	for {
		select {
		case <-p.tasks.ctx.Done():
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
		}
		for m := range p.members {
			if m.state == Idle || m.state == Starting { // nobody waits for it any more
				p.letGoLocked(m, "drain")
			}
		}
		p.checkDrainedLocked()
	}
	p.mu.Unlock()
	p.tasks.stop()
	p.tasks.loops.Wait()
	defer p.tasks.starts.Wait()
	select {
	case <-p.drained:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	var left []*execenv.Environment
	for m := range p.members {
		p.letGoLocked(m, "drain limit reached")
		if m.env != nil {
			left = append(left, m.env)
		}
	}
	p.mu.Unlock()
	for _, e := range left {
		<-e.Done()
	}
	<-p.drained
	return fmt.Errorf("drain: %w: %d environments were stopped at work", context.Cause(ctx), len(left))
}

// checkDrainedLocked notices that a closed pool has nothing left.
func (p *Pool) checkDrainedLocked() {
	if !p.closed || p.in != (tally{}) || p.flight.total() > 0 {
		return
	}
	select {
	case <-p.drained:
	default:
		close(p.drained)
	}
}
