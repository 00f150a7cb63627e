package launcher

import (
	"slices"
	"sync"

	"thaw/cmd/thaw-sandbox/internal/agent/calls"
)

const (
	// maxTouched is of how many snapshots the launcher keeps something: some 45 kB each at most.
	maxTouched = 256
	// maxLessons is how often it takes something new of one snapshot. What only the fifth copy touches is better left
	// to its own fault than mapped in all others.
	maxLessons = 4
)

// learned is what the launcher knows of each snapshot, as long as it lives. The file that a snapshot's state comes in
// tells it from others; one that comes in another file next time is learned anew. Why it is worth it stands in the
// agent's touch.go and reserve.go.
type learned struct {
	mu    sync.Mutex // guards what follows
	of    map[fileID]lessons
	order []fileID // the one that was used last comes last
}

type lessons struct {
	touched []byte
	layout  []byte
	count   int // how often touched was taken
}

// use returns what is known of a snapshot that is about to be restored.
func (l *learned) use(id fileID) lessons {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.order, id); i >= 0 {
		l.order = slices.Delete(l.order, i, i+1)
	}
	l.order = append(l.order, id)
	if len(l.order) > maxTouched {
		delete(l.of, l.order[0])
		l.order = slices.Delete(l.order, 0, 1)
	}
	return l.of[id]
}

// likely is the layout of the snapshot that was used last.
func (l *learned) likely() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.order) == 0 {
		return nil
	}
	return l.of[l.order[len(l.order)-1]].layout
}

// learn keeps what a sandbox says: addresses of that snapshot's own programs, and where its pages lie.
func (l *learned) learn(id fileID, said calls.Learned) {
	if !said.Fits() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.order, id) {
		return // others came since
	}
	k := l.of[id]
	k.layout = said.Layout
	if len(said.Touched) > len(k.touched) && k.count < maxLessons {
		k.touched = said.Touched
		k.count++
	}
	if l.of == nil {
		l.of = make(map[fileID]lessons)
	}
	l.of[id] = k
}
