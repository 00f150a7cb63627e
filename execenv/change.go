package execenv

import (
	"fmt"
	"time"

	"thaw/function"
)

// changeLimit bounds a freeze or a thaw. Both take microseconds, but for a freeze that has to wait for the disk; past
// the limit the environment goes, and an invoke that waits for it gets another one.
const changeLimit = 15 * time.Second

// maxChanges is how many freezes and thaws can be under way: a freeze, and the thaw that an invoke asked for before it
// was done. Their results wait in a channel that has a place for each, so that nobody waits for a driver that has
// ended; twice as many, for good measure.
const maxChanges = 4

// change is how a freeze or a thaw ended.
type change struct {
	event Event
	err   error
}

// change begins a freeze or a thaw beside the driver, behind the one that is under way.
func (d *driver) change(done, failed Event, do func() error) {
	d.limit.Reset(changeLimit)
	before, ended, results := d.changing, make(chan struct{}), d.changed
	d.changing = ended
	go func() {
		defer close(ended)
		if before != nil {
			<-before
		}
		c := change{event: done}
		if err := do(); err != nil {
			c = change{failed, err}
		}
		results <- c
	}()
}

// returnInvoke gives the invocation back as it came.
func (d *driver) returnInvoke() {
	a := d.attempt
	d.attempt = nil
	d.invokes--
	err := ErrNotTaken
	if d.failure != nil {
		err = fmt.Errorf("%w: %w", err, d.failure)
	}
	a.reply <- function.Outcome{Err: err}
}
