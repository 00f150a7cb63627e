package backlog

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// group syncs the files of a stream: one sync for all who wait for one. Every message block that has changed since its
// last sync is synced, so it does not matter into which one a message went, or whether JetStream wrote a block anew
// meanwhile.
//
// Lock order: flush, then mu.
type group struct {
	dir string

	flush  sync.Mutex // who syncs
	synced map[string]state
	done   uint64        // messages of those who asked that are on disk
	syncs  uint64        // that were made for them
	took   time.Duration // of the last one

	coming atomic.Int64 // who is on the way to the files, and will ask

	mu   sync.Mutex
	next *round // whom the next sync is for; nil: nobody has asked yet
}

// round is a sync that several wait for. Its first makes it.
type round struct {
	n    uint64
	over chan struct{} // closed when err is known
	err  error
}

// state tells whether a file has changed.
type state struct {
	inode    uint64
	size     int64
	modified time.Time
}

// do returns when everything that was written before the call is on disk, n messages of the caller among it. A sync that
// fails has failed for all who shared it: the kernel tells of an error once, and the next sync would seem to succeed.
func (g *group) do(n uint64) error {
	g.mu.Lock()
	r := g.next
	if r != nil {
		r.n += n
		g.mu.Unlock()
		<-r.over
		return r.err
	}
	r = &round{n: n, over: make(chan struct{})}
	g.next = r
	g.mu.Unlock()
	defer close(r.over)

	g.flush.Lock()
	defer g.flush.Unlock()
	// Those that are about to ask share this sync instead of waiting for it and then for another one. When many senders
	// go on in step, as they do after a sync, that is all of them.
	for until := time.Now().Add(min(g.took, gatherMost)); g.coming.Load() > 0 && time.Now().Before(until); {
		time.Sleep(gatherLook)
	}
	g.mu.Lock()
	g.next = nil // whoever asks now needs another sync
	g.mu.Unlock()
	began := time.Now()
	r.err = g.all()
	g.took = time.Since(began)
	if r.err == nil {
		g.done += r.n
		g.syncs++
	}
	return r.err
}

// A sync waits for those that are about to ask for as long as the last one took: on a disk that is slow more share one.

const (
	gatherMost = 50 * time.Millisecond
	gatherLook = 100 * time.Microsecond
)

// forget makes the next do sync everything.
func (g *group) forget() {
	g.flush.Lock()
	defer g.flush.Unlock()
	g.synced = nil
}

// all syncs what has changed. Caller holds flush.
func (g *group) all() error {
	list, err := os.ReadDir(g.dir)
	if err != nil {
		return err
	}
	now, changed := make(map[string]state, len(list)), false
	for _, entry := range list {
		if !strings.HasSuffix(entry.Name(), ".blk") {
			continue
		}
		was, known := g.synced[entry.Name()]
		is, err := syncFile(filepath.Join(g.dir, entry.Name()), was)
		if os.IsNotExist(err) { // all of its messages are gone
			continue
		}
		if err != nil {
			return err
		}
		now[entry.Name()] = is
		changed = changed || !known || was.inode != is.inode
	}
	if changed {
		if err := syncDir(g.dir); err != nil {
			return err
		}
	}
	g.synced = now
	return nil
}

// syncFile syncs a file if it is not what it was, and returns what it was before that.
func syncFile(path string, was state) (state, error) {
	info, err := os.Stat(path)
	if err != nil {
		return state{}, err
	}
	is := state{size: info.Size(), modified: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		is.inode = st.Ino
	}
	if is == was {
		return is, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return state{}, err
	}
	defer f.Close()
	return is, f.Sync()
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
