package gateway

import (
	"errors"
	"net/http"
	"sync"

	"thaw/trigger"
)

// answerStream writes a function's stream as an HTTP answer. It is a function.StreamSink.
type answerStream struct {
	c *call

	mu      sync.Mutex // the pool may call from another goroutine than the one that asked
	prelude trigger.Prelude
	begun   bool  // the head is written
	refused error // the prelude is none
}

func (s *answerStream) state() (begun bool, refused error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.begun, s.refused
}

// Head implements function.StreamSink.
func (s *answerStream) Head(string) error { return nil }

// Chunk implements function.StreamSink.
func (s *answerStream) Chunk(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.refused != nil:
		return s.refused
	case s.begun:
		return s.writeLocked(b)
	}
	r, err := s.prelude.Take(b)
	if err != nil {
		s.refused = err
		return err
	}
	if r == nil {
		return nil
	}
	s.begun = true
	s.c.w.Header()["X-Amzn-Trace-Id"] = []string{s.c.traceID}
	s.c.head(r.Status, r.Header, -1)
	return s.writeLocked(r.Body)
}

func (s *answerStream) writeLocked(b []byte) error {
	if len(b) > 0 {
		n, err := s.c.w.Write(b)
		s.c.length += n
		if err != nil && !errors.Is(err, http.ErrBodyNotAllowed) { // 204 and 304 have none
			return err
		}
	}
	return http.NewResponseController(s.c.w).Flush()
}
