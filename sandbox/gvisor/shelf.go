package gvisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"thaw/sandbox"
	"thaw/sandbox/host/making"
)

// A shelf keeps sandboxes of one kind ready that are nobody's yet. A backend has two: of blank sandboxes, whose guest is
// up, and of armed ones, which wait for a snapshot.
type shelf struct {
	b     *Backend
	steps []step        // to a sandbox of this kind
	pause time.Duration // how long a place stays empty: whoever took one needs the cores more
	taken chan struct{} // capacity 1: look again

	// Backend.mu guards what follows.
	ready []*Sandbox
	kept  bool // keep runs
}

func newShelf(b *Backend, steps []step, pause time.Duration) *shelf {
	return &shelf{b: b, steps: steps, pause: pause, taken: make(chan struct{}, 1)}
}

// rearmPause is as long as a restore and its first invoke take on a busy machine.
const rearmPause = 200 * time.Millisecond

// blankLimit bounds the making of one sandbox, which takes some 60 ms on an idle machine and seconds on a drowning one.
const blankLimit = time.Minute

// retryPause is how long a shelf rests after a sandbox could not be made.
const retryPause = 2 * time.Second

// wantLocked has the shelf kept full from now on. Backend.mu is held.
func (sh *shelf) wantLocked() {
	if sh.b.opt.Blank > 0 && !sh.kept && !sh.b.closed {
		sh.kept = true
		sh.b.wg.Go(sh.keep)
	}
}

// keep makes sandboxes, one at a time so that it leaves the cores to those who are waiting for theirs.
func (sh *shelf) keep() {
	b := sh.b
	for {
		b.mu.Lock()
		full := len(sh.ready) >= b.opt.Blank
		b.mu.Unlock()
		if full {
			select {
			case <-b.ctx.Done():
				return
			case <-sh.taken:
			}
			if !b.rest(sh.pause) {
				return
			}
			continue
		}
		if b.ctx.Err() != nil {
			return
		}
		ctx, cancel := context.WithTimeoutCause(b.ctx, blankLimit, errors.New("a blank sandbox took too long"))
		s, err := b.makeSandbox(ctx, making.NewClock(), true, sh.steps)
		cancel()
		if err != nil {
			if b.ctx.Err() == nil {
				b.log.Warn("no sandbox is kept ready", "err", err)
			}
			if !b.rest(retryPause) {
				return
			}
			continue
		}
		b.mu.Lock()
		sh.ready = append(sh.ready, s) // also after Close, which has it among the living
		b.mu.Unlock()
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

// take returns a sandbox that is ready, or makes one.
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
			return b.makeSandbox(ctx, clock, false, sh.steps)
		}
		sh.lookAgain()
		if s.ended() { // one that died while it waited is nobody's loss
			b.log.Warn("blank sandbox ended by itself", "sandbox", s.name, "err", s.Exit().Err)
			s.Close()
			continue
		}
		clock.Mark("blank")
		return s, nil
	}
}

// first takes what has waited longest from the shelf; nil: it is empty, and the caller is counted in Backend.wg.
func (sh *shelf) first() (*Sandbox, error) {
	b := sh.b
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
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

// dropLocked takes a sandbox that ends from the shelf, if it is there. Backend.mu is held.
func (sh *shelf) dropLocked(s *Sandbox) {
	sh.ready = slices.DeleteFunc(sh.ready, func(o *Sandbox) bool { return o == s })
}
