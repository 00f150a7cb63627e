package notify

import (
	"crypto/sha256"
	"fmt"
	"sync"

	"thaw/trigger"
)

// seenMost is how many notifications are remembered: senders repeat within minutes, not after thousands of others.
const seenMost = 1 << 16

// seen knows the last notifications. After a restart it knows none, as the contract allows.
type seen struct {
	mu   sync.Mutex
	set  map[[16]byte]struct{}
	ring [][16]byte
	next int
}

func newSeen() *seen { return &seen{set: map[[16]byte]struct{}{}} }

// mark names a notification: what happened to which version of an object, and in which order of things.
func mark(name string, r *trigger.S3Record) (id [16]byte) {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q %q %q", name, r.Bucket, r.Key, r.Version, r.Name, r.Sequencer))
	copy(id[:], sum[:])
	return id
}

func (s *seen) has(id [16]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.set[id]
	return ok
}

func (s *seen) add(id [16]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.set[id]; ok {
		return
	}
	if len(s.ring) < seenMost {
		s.ring = append(s.ring, id)
	} else {
		delete(s.set, s.ring[s.next])
		s.ring[s.next] = id
		s.next = (s.next + 1) % seenMost
	}
	s.set[id] = struct{}{}
}
