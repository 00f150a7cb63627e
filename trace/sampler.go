package trace

import (
	"math/rand/v2"
	"sync"
	"time"

	"thaw/function"
)

// The service samples the first request of each second and one in twenty of the others, which nobody can configure. Here
// each function has a second of its own. Source: Lambda Developer Guide, AWS X-Ray.
const fixedRate = 0.05

// Sampler decides for senders that have not.
type Sampler struct {
	mu   sync.Mutex
	last map[function.Key]int64 // the second, in Unix time, in which a function had its first
	now  func() time.Time
	dice func() float64
}

// NewSampler makes a sampler.
func NewSampler() *Sampler {
	return &Sampler{last: map[function.Key]int64{}, now: time.Now, dice: rand.Float64}
}

// maxSampled bounds the functions that are remembered; what is forgotten is sampled once more.
const maxSampled = 10_000

// Sample decides about one invocation of a function.
func (s *Sampler) Sample(k function.Key) bool {
	second := s.now().Unix()
	s.mu.Lock()
	first := s.last[k] != second
	if first {
		if len(s.last) >= maxSampled {
			clear(s.last)
		}
		s.last[k] = second
	}
	s.mu.Unlock()
	return first || s.dice() < fixedRate
}
