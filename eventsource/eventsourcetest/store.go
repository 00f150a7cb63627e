package eventsourcetest

import (
	"context"
	"errors"
	"maps"
	"sync"

	"thaw/eventsource"
)

// Store is records, checkpoints and leases in memory, for suites. Several services may share one, as several servers
// share a cluster, each with a Server of its own.
type Store struct {
	mu       sync.Mutex
	revision uint64
	mappings map[eventsource.ID]*eventsource.Mapping
	marks    map[eventsource.ID]map[string]eventsource.Checkpoint
	leases   map[string]*lease
}

// NewStore makes an empty one.
func NewStore() *Store {
	return &Store{mappings: map[eventsource.ID]*eventsource.Mapping{}, marks: map[eventsource.ID]map[string]eventsource.Checkpoint{}, leases: map[string]*lease{}}
}

// Server is what one server has of a Store. Once it has died nothing of it changes the Store, and its leases are free.
type Server struct {
	*Store
	dead bool
}

// Server makes one.
func (s *Store) Server() *Server { return &Server{Store: s} }

var errDead = errors.New("the server was killed")

// Die is the end of a server that was killed.
func (s *Server) Die() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dead = true
	for key, l := range s.leases {
		if l.s == s {
			l.loseLocked(key)
		}
	}
}

// Dead says whether it has.
func (s *Server) Dead() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dead
}

// Put implements eventsource.Records.
func (s *Server) Put(_ context.Context, m *eventsource.Mapping) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return 0, errDead
	}
	was := uint64(0)
	if old := s.mappings[m.ID]; old != nil {
		was = old.Revision
	}
	if was != m.Revision {
		return 0, eventsource.ErrStale
	}
	s.revision++
	n := *m
	n.Revision = s.revision
	s.mappings[m.ID] = &n
	return s.revision, nil
}

// Delete implements eventsource.Records.
func (s *Server) Delete(_ context.Context, id eventsource.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return errDead
	}
	delete(s.mappings, id)
	return nil
}

// List implements eventsource.Records.
func (s *Server) List(context.Context) ([]*eventsource.Mapping, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*eventsource.Mapping
	for _, m := range s.mappings {
		n := *m
		all = append(all, &n)
	}
	return all, nil
}

// Load implements eventsource.Checkpoints.
func (s *Server) Load(_ context.Context, id eventsource.ID) (map[string]eventsource.Checkpoint, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return nil, errDead
	}
	return maps.Clone(s.marks[id]), nil
}

// Save implements eventsource.Checkpoints.
func (s *Server) Save(_ context.Context, id eventsource.ID, shard string, c eventsource.Checkpoint) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return 0, errDead
	}
	if s.marks[id][shard].Revision != c.Revision {
		return 0, eventsource.ErrStale
	}
	if s.marks[id] == nil {
		s.marks[id] = map[string]eventsource.Checkpoint{}
	}
	s.revision++
	c.Revision = s.revision
	s.marks[id][shard] = c
	return c.Revision, nil
}

// Drop implements eventsource.Checkpoints.
func (s *Server) Drop(_ context.Context, id eventsource.ID, shards ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return errDead
	}
	if len(shards) == 0 {
		delete(s.marks, id)
	}
	for _, sh := range shards {
		delete(s.marks[id], sh)
	}
	return nil
}

type lease struct {
	s    *Server
	key  string
	lost chan struct{}
	over bool
}

// Take implements eventsource.Leases.
func (s *Server) Take(_ context.Context, id eventsource.ID, shard string) (eventsource.Lease, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := string(id) + "/" + shard
	if s.dead {
		return nil, errDead
	}
	if s.leases[key] != nil {
		return nil, eventsource.ErrHeld
	}
	l := &lease{s: s, key: key, lost: make(chan struct{})}
	s.leases[key] = l
	return l, nil
}

func (l *lease) Lost() <-chan struct{} { return l.lost }

func (l *lease) loseLocked(key string) {
	if !l.over {
		l.over = true
		close(l.lost)
		delete(l.s.leases, key)
	}
}

// Release implements eventsource.Lease.
func (l *lease) Release(context.Context) {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.loseLocked(l.key)
}
