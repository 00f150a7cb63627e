package launcher

import (
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"thaw/cmd/thaw-sandbox/internal/agent/calls"
)

// identity tells one snapshot from another: the file that its state comes in. A snapshot that comes in another file next time is learned anew.
type identity struct {
	dev, ino uint64
	size     int64
	mtime    unix.Timespec
}

func identityOf(f *os.File) (identity, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return identity{}, err
	}
	return identity{uint64(st.Dev), st.Ino, st.Size, st.Mtim}, nil
}

const (
	// maxTouched is of how many snapshots the launcher keeps something: some 45 kB each at most.
	maxTouched = 256
	// maxLessons is how often it takes something new of one snapshot. What only the fifth copy touches is better left to its own fault than mapped in all others.
	maxLessons = 4
)

// learned is what the launcher knows of each snapshot, as long as it lives. Why it is worth it stands in the agent's touch.go and reserve.go.
type learned struct {
	mu    sync.Mutex // guards what follows
	of    map[identity]lessons
	order []identity // the one that was used last comes last
}

type lessons struct {
	touched []byte
	layout  []byte
	count   int // how often touched was taken
}

// use returns what is known of a snapshot that is about to be restored.
func (l *learned) use(id identity) lessons {
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
func (l *learned) learn(id identity, said calls.Learned) {
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
		l.of = make(map[identity]lessons)
	}
	l.of[id] = k
}
