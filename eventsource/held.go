package eventsource

import (
	"sync"
	"time"
)

// Held is what a function has failed for and a queue would give out again at once: it is kept for a while. The zero value
// holds nothing.
type Held struct {
	mu     sync.Mutex
	timers map[*time.Timer]struct{}
	closed bool
}

// For calls release after a while. After Close it does not: the end of a connection gives all of it back.
func (h *Held) For(wait time.Duration, release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(wait, func() {
		h.mu.Lock()
		delete(h.timers, t)
		h.mu.Unlock()
		release()
	})
	if h.timers == nil {
		h.timers = map[*time.Timer]struct{}{}
	}
	h.timers[t] = struct{}{}
}

// Close releases nothing any more. What is being released meanwhile is.
func (h *Held) Close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	for t := range h.timers {
		t.Stop()
	}
	h.timers = nil
}
