package sns

import (
	"sync"
	"time"
)

// Count is what went to a function, since the server began.
type Count struct {
	Events   uint64
	Last     time.Time
	Trouble  string // the last, in words
	Troubled time.Time
}

// tally counts what goes to functions, by subscription or subscriber.
type tally struct {
	mu  sync.Mutex
	all map[string]Count
}

// note counts an event that was taken, or one that was not.
func (t *tally) note(key string, at time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[string]Count{}
	}
	c := t.all[key]
	if err == nil {
		c.Events, c.Last = c.Events+1, at
	} else {
		c.Trouble, c.Troubled = err.Error(), at
	}
	t.all[key] = c
}

func (t *tally) forget(key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, key)
}

func (t *tally) of(key string) Count {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[key]
}

// ToFunction is a subscription of a function to a topic of this server.
type ToFunction struct {
	Subscription, Topic, Function string // ARNs
	Count
}

// ToFunctions are all subscriptions of functions.
func (s *Server) ToFunctions() (list []ToFunction) {
	for _, r := range s.records.All() {
		if b := r.Subscription; b != nil && b.Protocol == toLambda {
			list = append(list, ToFunction{b.ARN, b.Topic, b.Endpoint, s.counts.of(b.ARN)})
		}
	}
	return list
}

// CountOf is what came for a subscriber.
func (s *Server) CountOf(name string) Count { return s.counts.of(countOf(name)) }

func countOf(name string) string { return "x/" + name }
