package poller

import (
	"sync"

	"thaw/eventsource"
)

// tracker knows which records of a shard are done with. The shard is done with as far as all are that were read first.
type tracker struct {
	mu       sync.Mutex
	order    []*eventsource.Record // not done with, or behind one that is not; in the order of the shard
	finished map[*eventsource.Record]bool
	position string // of the last of those that came before order
	any      bool   // position is one
	newest   string // of the last that was read
	read     bool   // newest is one
	empty    chan struct{}
}

func (t *tracker) init() { t.finished = map[*eventsource.Record]bool{} }

// add takes note of records that were read; some of them are done with at once.
func (t *tracker) add(all, done []*eventsource.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.order = append(t.order, all...)
	t.newest, t.read = all[len(all)-1].Position, true
	t.doneLocked(done)
}

func (t *tracker) done(records []*eventsource.Record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.doneLocked(records)
}

func (t *tracker) doneLocked(records []*eventsource.Record) {
	for _, r := range records {
		t.finished[r] = true
	}
	n := 0
	for n < len(t.order) && t.finished[t.order[n]] {
		delete(t.finished, t.order[n])
		t.position, t.any = t.order[n].Position, true
		t.order[n] = nil
		n++
	}
	t.order = t.order[n:]
	if len(t.order) == 0 {
		t.order = nil // the array goes
		if t.empty != nil {
			close(t.empty)
			t.empty = nil
		}
	}
}

// move says that reading goes on somewhere else, behind all records; false: some are not done with.
func (t *tracker) move(position string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.order) > 0 {
		return false
	}
	t.position, t.any = position, true
	t.newest, t.read = position, true
	return true
}

// reached is the position up to which everything is done with; false: nothing has been, since the reading began.
func (t *tracker) reached() (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.position, t.any
}

// last is the position of the last record that was read.
func (t *tracker) last() (string, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.newest, t.read
}

// restart forgets where reading was; what is in flight stays.
func (t *tracker) restart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.read, t.newest = false, ""
}

// finish returns a channel that is closed as soon as everything is done with.
func (t *tracker) finish() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := make(chan struct{})
	if len(t.order) == 0 {
		close(c)
	} else {
		t.empty = c
	}
	return c
}
