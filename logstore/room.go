package logstore

// waiter is a stream that waits for room.
type waiter struct {
	st    *Stream
	ready chan struct{}
}

// Room returns a channel that is closed when the stream may append roomGrant more, counted with eventCost for each
// event, and lose nothing of it. The channel is closed at once where that is so already, and after patience without any
// progress: a disk that is stuck must not hold up functions for ever.
func (st *Stream) Room() <-chan struct{} {
	s := st.s
	s.mu.Lock()
	defer s.mu.Unlock()
	w := waiter{st, make(chan struct{})}
	if len(s.waiting) == 0 && s.grantLocked(w) {
		return w.ready
	}
	if len(s.waiting) == 0 {
		s.overdue.Reset(patience)
	}
	s.waiting = append(s.waiting, w)
	signal(s.soon)
	signal(s.wake)
	return w.ready
}

// grantLocked gives room if there is some. s.mu is held.
func (s *Store) grantLocked(w waiter) bool {
	if !s.closed && !w.st.closed && !s.stuck {
		if w.st.bytes >= streamRoom || s.bytes+s.granted+roomGrant > queueRoom {
			return false
		}
		s.granted += roomGrant
	}
	close(w.ready)
	return true
}

// settle gives room to those who wait, the oldest first; the rest has its turn at the next flush, which is on its way.
// The writer calls it when it has flushed.
func (s *Store) settle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stuck, s.granted = false, 0
	s.settleLocked()
	if len(s.waiting) == 0 {
		s.overdue.Stop()
		return
	}
	s.overdue.Reset(patience)
	signal(s.wake)
}

// progressed: the disk has taken a part of the batch.
func (s *Store) progressed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) > 0 {
		s.overdue.Reset(patience)
	}
}

func (s *Store) settleLocked() {
	kept := s.waiting[:0]
	for _, w := range s.waiting {
		if !s.grantLocked(w) {
			kept = append(kept, w)
		}
	}
	clear(s.waiting[len(kept):])
	s.waiting = kept
}

// giveUp: the writer is at the same write for patience.
func (s *Store) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return // it was settled meanwhile
	}
	s.log.Warn("the log folder does not take what functions print", "waited", patience, "waiting", len(s.waiting))
	s.stuck = true
	s.settleLocked()
}

// signal tells a goroutine that will look, once.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
