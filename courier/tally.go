package courier

import (
	"sync"
	"time"
)

// Tally is what one source has sent to one target since the server began.
type Tally struct {
	Events   uint64
	Last     time.Time
	Trouble  string // the last failure
	Troubled time.Time
}

// tallies are kept of functions. The zero value is empty.
type tallies struct {
	mu  sync.Mutex
	all map[[2]string]Tally // by source and target
}

func (t *tallies) note(source, target string, at time.Time, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = map[[2]string]Tally{}
	}
	of := t.all[[2]string{source, target}]
	if err == nil {
		of.Events, of.Last = of.Events+1, at
	} else {
		of.Trouble, of.Troubled = err.Error(), at
	}
	t.all[[2]string{source, target}] = of
}

// Tally is what a source has sent to a function.
func (c *Courier) Tally(source, target string) Tally {
	c.tallies.mu.Lock()
	defer c.tallies.mu.Unlock()
	return c.tallies.all[[2]string{source, target}]
}

// Forget forgets a source that is no more.
func (c *Courier) Forget(source string) {
	c.tallies.mu.Lock()
	defer c.tallies.mu.Unlock()
	for k := range c.tallies.all {
		if k[0] == source {
			delete(c.tallies.all, k)
		}
	}
}
