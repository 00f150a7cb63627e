package machine

import (
	"io"
	"sync"
	"syscall"

	"thaw/guest"
)

// stream is the guest's one stream over connections that come and go. While it is quiet (from Quiesced to Restored, and
// before the first connection) the end of a connection is nothing, and a new one takes the old one's place. Otherwise
// the connection's end is the stream's, and there can be no other.
type stream struct {
	mu      sync.Mutex
	changed sync.Cond
	conn    io.ReadWriteCloser // nil: there is none
	silent  bool
}

func (s *stream) init() { s.changed.L, s.silent = &s.mu, true }

// quiet is guest.Place's.
func (s *stream) quiet(quiet bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = quiet
	s.changed.Broadcast()
}

// wait waits for a connection.
func (s *stream) wait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.conn == nil {
		s.changed.Wait()
	}
}

// offer makes a new connection the one that counts, or closes it. What it returns waits until it is over.
func (s *stream) offer(c io.ReadWriteCloser) (over func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil && !s.silent {
		c.Close()
		return func() {}
	}
	if s.conn != nil {
		s.conn.Close()
	}
	s.conn = c
	s.changed.Broadcast()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for s.conn == c {
			s.changed.Wait()
		}
	}
}

// Read is io.Reader. guest.ErrRenewed comes before the first byte of a new connection that took another's place.
func (s *stream) Read(b []byte) (int, error) {
	s.mu.Lock()
	c := s.conn
	s.mu.Unlock()
	if c == nil {
		return 0, io.EOF
	}
	n, err := c.Read(b)
	if n > 0 || err == nil {
		return n, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == c {
		c.Close()
		s.conn = nil
		s.changed.Broadcast()
		if !s.silent {
			return 0, err
		}
		for s.conn == nil && s.silent {
			s.changed.Wait()
		}
	}
	if s.conn == nil {
		return 0, err
	}
	return 0, guest.ErrRenewed
}

// Write is io.Writer.
func (s *stream) Write(b []byte) (int, error) {
	s.mu.Lock()
	c := s.conn
	s.mu.Unlock()
	if c == nil {
		return 0, syscall.EPIPE
	}
	return c.Write(b)
}
