package gateway

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Serving is a function behind a stage, with what came through.
type Serving struct {
	API      *API
	Stage    string
	Function string   // ARN
	Routes   []string // keys, in order
	Count
}

// Count is what a function behind a stage was asked.
type Count struct {
	Events   uint64 // since the server began
	Last     time.Time
	Trouble  string // of the last that failed
	Troubled time.Time
}

// counts are kept by stage and function. What is not there any more is forgotten when somebody asks.
type counts struct {
	mu   sync.Mutex
	list map[countKey]*Count
}

type countKey struct{ api, stage, function string }

func (c *counts) asked(k countKey, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.ofLocked(k)
	n.Events++
	n.Last = at
}

func (c *counts) failed(k countKey, at time.Time, why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.ofLocked(k)
	n.Trouble, n.Troubled = why, at
}

func (c *counts) ofLocked(k countKey) *Count {
	if c.list == nil {
		c.list = map[countKey]*Count{}
	}
	if c.list[k] == nil {
		c.list[k] = &Count{}
	}
	return c.list[k]
}

// Serving are the functions behind all stages.
func (s *Server) Serving() (all []Serving) {
	s.counts.mu.Lock()
	defer s.counts.mu.Unlock()
	there := map[countKey]bool{}
	for _, a := range s.Records.APIs.All() {
		for _, name := range slices.Sorted(maps.Keys(a.Stages)) {
			st := a.Stages[name]
			d := a.Deployments[st.Deployment]
			if d == nil {
				continue
			}
			routes := map[string][]string{}
			for id, r := range d.Definition.Routes {
				i := d.Definition.Integrations[r.Integration]
				if i == nil {
					i = d.Definition.Integrations[id]
				}
				if i == nil || i.Type != "AWS_PROXY" && i.Type != "AWS" {
					continue
				}
				if arn, err := functionOf(i.URI, st.Variables); err == nil {
					routes[string(arn)] = append(routes[string(arn)], r.Key)
				}
			}
			for _, arn := range slices.Sorted(maps.Keys(routes)) {
				slices.Sort(routes[arn])
				k := countKey{a.ID, name, arn}
				there[k] = true
				one := Serving{API: a, Stage: name, Function: arn, Routes: routes[arn]}
				if n := s.counts.list[k]; n != nil {
					one.Count = *n
				}
				all = append(all, one)
			}
		}
	}
	maps.DeleteFunc(s.counts.list, func(k countKey, _ *Count) bool { return !there[k] })
	return all
}
