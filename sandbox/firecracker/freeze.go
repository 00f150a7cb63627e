package firecracker

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"thaw/sandbox"
)

// freezing is whether a sandbox runs.
type freezing struct {
	mu     sync.Mutex // one change of the freezer at a time; guards stuck
	stuck  error      // why it is not known any more whether it runs; only Close is left
	frozen atomic.Bool
}

// Freeze implements sandbox.Sandbox. The group's freezer stops the monitor with all its threads, the machine's
// processors among them. That is the same for every monitor, and leaves its connections alone: in Firecracker 1.16 a
// pause of the machine does not.
func (s *Sandbox) Freeze() error {
	s.noteMemory()
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
	if want { // before: whoever asks for memory meanwhile does not wait for an answer of what is frozen
		s.freezing.frozen.Store(true)
	}
	if err := s.freezer(want, s.closing); err != nil {
		err = s.describe(fmt.Errorf("freezer: %w", err))
		if !want {
			s.freezing.stuck = err
			return err
		}
		// Half-frozen is worse than running.
		if undo := s.freezer(false, s.closing); undo != nil {
			s.freezing.stuck = errors.Join(err, undo)
			return s.freezing.stuck
		}
		s.freezing.frozen.Store(false)
		return err
	}
	s.freezing.frozen.Store(want)
	return nil
}
