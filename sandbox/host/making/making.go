// Package making is what backends have in common that make their sandboxes in steps: how long each took, and what its
// failure says of the host.
package making

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"thaw/sandbox"
)

// Clock measures steps.
type Clock struct {
	Stages []sandbox.Stage
	last   time.Time
}

// NewClock begins with the first step.
func NewClock() *Clock { return &Clock{last: time.Now()} }

// Mark ends a step.
func (c *Clock) Mark(name string) {
	now := time.Now()
	c.Stages = append(c.Stages, sandbox.Stage{Name: name, Seconds: now.Sub(c.last).Seconds()})
	c.last = now
}

// exhausted are the errors that mean that the host has no room for one more.
var exhausted = map[unix.Errno]string{
	unix.ENOMEM: "memory", unix.EAGAIN: "processes", unix.ENOSPC: "disk", unix.EDQUOT: "disk", unix.EMFILE: "files", unix.ENFILE: "files",
}

// Failed tells an exhausted host from a broken one, where a step of making something has failed: *sandbox.ResourceError.
func Failed(what, step string, err error) error {
	wrapped := fmt.Errorf("%s: %s: %w", what, step, err)
	for errno, resource := range exhausted {
		if errors.Is(err, errno) {
			return &sandbox.ResourceError{Resource: resource, Err: wrapped}
		}
	}
	return wrapped
}
