package snapstart

import (
	"thaw/snapshot"
)

// Inside is what a Service holds: for tests that look whether something is left.
type Inside struct {
	Records   snapshot.Records
	Store     *snapshot.Store
	Cache     *snapshot.Cache
	MakingDir string
	Lives     []snapshot.Version // those that ended and have not left among them
	Makers    int                // environments that make or verify
}

// Inside returns it.
func (s *Service) Inside() Inside {
	in := Inside{Records: s.o.Records, Store: s.store, Cache: s.cache, MakingDir: s.disk.making(), Makers: len(s.makers)}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.lives {
		in.Lives = append(in.Lives, id)
	}
	return in
}
