package firecracker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"thaw/guest/control"
	"thaw/sandbox"
)

// freezing is whether a sandbox runs.
type freezing struct {
	mu     sync.Mutex // one change of the freezer at a time; guards stuck
	stuck  error      // why it is not known any more whether it runs; only Close is left
	held   bool       // the guest has processes stand still, or may have
	frozen atomic.Bool
}

// Freeze implements sandbox.Sandbox. The group's freezer stops the monitor with all its threads, the machine's
// processors among them. That is the same for every monitor, and leaves its connections alone: in Firecracker 1.16 a
// pause of the machine does not.
func (s *Sandbox) Freeze() error {
	s.keepWorkingSet()
	return s.setFrozen(true)
}

// Thaw implements sandbox.Sandbox.
func (s *Sandbox) Thaw() error { return s.setFrozen(false) }

// setFrozen changes the freezer. An error of which it is not known what it left behind is given again by every later call.
func (s *Sandbox) setFrozen(want bool) error {
	s.freezing.mu.Lock()
	defer s.freezing.mu.Unlock()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed || s.ended() {
		return sandbox.ErrClosed
	}
	if s.freezing.stuck != nil {
		return s.freezing.stuck
	}
	if s.freezing.frozen.Load() == want {
		return nil
	}
	if want {
		s.askFreeze()
		// Before: whoever asks for memory meanwhile does not wait for an answer of what is frozen.
		s.freezing.frozen.Store(true)
	}
	if err := s.freezer(want, s.closing); err != nil {
		err = s.describe(fmt.Errorf("freezer: %w", err))
		if !want {
			s.freezing.stuck = err
			return err
		}
		// Half-frozen is worse than running.
		undo := s.freezer(false, s.closing)
		if undo == nil {
			undo = s.goOn()
		}
		if undo != nil {
			s.freezing.stuck = errors.Join(err, undo)
			return s.freezing.stuck
		}
		s.freezing.frozen.Store(false)
		return err
	}
	if !want {
		if err := s.goOn(); err != nil {
			s.freezing.stuck = s.describe(err)
			return s.freezing.stuck
		}
	}
	s.freezing.frozen.Store(want)
	return nil
}

// askFreeze has the guest prepare (control.Freeze). A guest that has no time for it is frozen all the same.
func (s *Sandbox) askFreeze() {
	ctx, cancel := context.WithTimeoutCause(context.Background(), memoryLimit, errors.New("it takes too long"))
	defer cancel()
	var f control.Freeze
	if err := s.control.ask(ctx, control.KindFreeze, nil, &f); err != nil {
		s.freezing.held = true
		return
	}
	s.freezing.held = f.Held
	s.heldMemory(f.Memory)
}

// thawLimit bounds the wait for a guest that runs again.
const thawLimit = 10 * time.Second

// goOn lets processes go on that the guest had stand still, in a machine that runs again.
func (s *Sandbox) goOn() error {
	if !s.freezing.held {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), thawLimit, errors.New("the guest does not answer"))
	defer cancel()
	if err := s.control.ask(ctx, control.KindThaw, nil, nil); err != nil {
		return err
	}
	s.freezing.held = false
	return nil
}
