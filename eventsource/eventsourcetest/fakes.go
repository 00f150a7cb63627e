package eventsourcetest

import (
	"context"
	"maps"
	"sync"
	"testing"

	"thaw/eventsource"
)

// Endpoints are where sources are, by their ARN.
type Endpoints map[string]string

// Endpoint implements eventsource.Endpoints.
func (e Endpoints) Endpoint(arn string) (string, bool) { u, ok := e[arn]; return u, ok }

// Secrets are texts by name. What is asked for is what there is at that moment.
type Secrets struct {
	mu  sync.Mutex
	all map[string]string
}

// NewSecrets makes secrets.
func NewSecrets(all map[string]string) *Secrets { return &Secrets{all: maps.Clone(all)} }

// Set makes a secret, or changes it.
func (s *Secrets) Set(name, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]string{}
	}
	s.all[name] = text
}

// Secret implements eventsource.Secrets.
func (s *Secrets) Secret(_ context.Context, name string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if text, ok := s.all[name]; ok {
		return []byte(text), nil
	}
	return nil, &eventsource.ProblemError{Text: "The secret " + name + " is not there."}
}

// Next reads until it has n records of a shard.
func Next(t testing.TB, r eventsource.Reader, n int) []*eventsource.Record {
	t.Helper()
	return gather(t, n, r.Next)
}

// Receive receives until it has n messages of a queue.
func Receive(t testing.TB, q eventsource.Queue, n int) []*eventsource.Record {
	t.Helper()
	return gather(t, n, q.Receive)
}

func gather(t testing.TB, n int, more func(ctx context.Context, limit int) ([]*eventsource.Record, error)) []*eventsource.Record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var all []*eventsource.Record
	for len(all) < n {
		some, err := more(ctx, n-len(all))
		if err != nil {
			t.Fatalf("after %d records: %v", len(all), err)
		}
		all = append(all, some...)
	}
	return all
}
