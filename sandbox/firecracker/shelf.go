package firecracker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"thaw/sandbox"
	"thaw/sandbox/host/making"
)

// A shelf keeps slots ready that are nobody's yet.
type shelf struct {
	b     *Backend
	taken chan struct{} // capacity 1: look again

	// work.mu guards what follows.
	ready []*Sandbox
	kept  bool // keep runs
}

func newShelf(b *Backend) *shelf { return &shelf{b: b, taken: make(chan struct{}, 1)} }

const (
	// slotLimit bounds the making of one slot, which takes some 50 ms on an idle machine and seconds on a drowning one.
	slotLimit = time.Minute
	// retryPause is how long a shelf rests after a slot could not be made.
	retryPause = 2 * time.Second
)

// wantLocked has the shelf kept full from now on. work.mu is held.
func (sh *shelf) wantLocked() {
	if sh.b.opt.Slots > 0 && !sh.kept && !sh.b.work.closed {
		sh.kept = true
		sh.b.wg.Go(sh.keep)
	}
}

// keep makes slots, one at a time so that it leaves the processors to those who are waiting for theirs.
func (sh *shelf) keep() {
	b := sh.b
	for {
		b.work.mu.Lock()
		full := len(sh.ready) >= b.opt.Slots
		b.work.mu.Unlock()
		if full {
			select {
			case <-b.ctx.Done():
				return
			case <-sh.taken:
			}
			continue
		}
		if b.ctx.Err() != nil {
			return
		}
		ctx, cancel := context.WithTimeoutCause(b.ctx, slotLimit, errors.New("a slot took too long"))
		s, err := b.makeSlot(ctx, making.NewClock(), true)
		cancel()
		if err != nil {
			if b.ctx.Err() == nil {
				b.log.Warn("no slot of a microVM is kept ready", "err", err)
			}
			if !b.rest(retryPause) {
				return
			}
			continue
		}
		b.work.mu.Lock()
		sh.ready = append(sh.ready, s) // also after Close, which has it among the living
		b.work.mu.Unlock()
	}
}

// rest waits, and says whether the backend is still open then.
func (b *Backend) rest(pause time.Duration) bool {
	select {
	case <-b.ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}

// take returns a slot that is ready, or makes one.
func (sh *shelf) take(ctx context.Context, clock *making.Clock) (*Sandbox, error) {
	b := sh.b
	for {
		s, err := sh.first()
		if err != nil {
			return nil, err
		}
		if s == nil {
			defer b.wg.Done()
			if err := b.make.Acquire(ctx, 1); err != nil {
				return nil, fmt.Errorf("sandbox: %w", context.Cause(ctx))
			}
			defer b.make.Release(1)
			clock.Mark("wait for a core")
			return b.makeSlot(ctx, clock, false)
		}
		sh.lookAgain()
		if s.ended() { // one that died while it waited is nobody's loss
			b.log.Warn("a monitor that waited ended by itself", "sandbox", s.name, "err", s.Exit().Err)
			s.Close()
			continue
		}
		clock.Mark("slot")
		return s, nil
	}
}

// first takes what has waited longest from the shelf; nil: it is empty, and the caller is counted in Backend.wg.
func (sh *shelf) first() (*Sandbox, error) {
	b := sh.b
	b.work.mu.Lock()
	defer b.work.mu.Unlock()
	if b.work.closed {
		return nil, sandbox.ErrClosed
	}
	sh.wantLocked()
	if len(sh.ready) == 0 {
		b.wg.Add(1)
		return nil, nil
	}
	s := sh.ready[0]
	sh.ready = slices.Delete(sh.ready, 0, 1)
	return s, nil
}

func (sh *shelf) lookAgain() {
	select {
	case sh.taken <- struct{}{}:
	default:
	}
}

// dropLocked takes a slot that ends from the shelf, if it is there. work.mu is held.
func (sh *shelf) dropLocked(s *Sandbox) {
	sh.ready = slices.DeleteFunc(sh.ready, func(o *Sandbox) bool { return o == s })
}
