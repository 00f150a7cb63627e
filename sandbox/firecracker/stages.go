package firecracker

import (
	"time"

	"thaw/sandbox"
)

// stages measures the steps of Create.
type stages struct {
	last time.Time
	list []sandbox.Stage
}

func newStages() *stages { return &stages{last: time.Now()} }

// mark ends a step.
func (s *stages) mark(name string) {
	now := time.Now()
	s.list = append(s.list, sandbox.Stage{Name: name, Seconds: now.Sub(s.last).Seconds()})
	s.last = now
}
