package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Cache keeps the snapshots that were restored lately as plain local files: each file of a snapshot whole, never changed, page-aligned,
// fit for pread, O_DIRECT, mmap and copy-on-write mapping by many clones. It is not encrypted: put it where the memory of
// running environments may lie too.
//
//	DIR/ID/NAME     the files, mode 0400
//	DIR/ID/.sums    sizes and checksums; a folder without it is half-made
//	DIR/.ID-RANDOM  half-made, removed when the cache is opened
//
// Files are not synced: after a crash a checksum tells, because the first Open of each snapshot after OpenCache reads its files once.
type Cache struct {
	dir   string
	limit int64
	store *Store
	log   *slog.Logger
	life  context.Context // of the cache: loads go on when the caller that began one leaves
	end   context.CancelFunc
	loads sync.WaitGroup

	mu      sync.Mutex
	entries map[ID]*entry // resident, or being loaded
	bytes   int64         // of resident entries
	closed  bool
	stats   CacheStats
}

// CacheStats count since OpenCache, except for Bytes and Snapshots, which are of now.
type CacheStats struct {
	Snapshots int
	Bytes     int64
	Hits      uint64 // Opens answered by resident files
	Loads     uint64 // files made from the store
	Damaged   uint64 // resident files that a checksum refused
	Evicted   uint64
}

type entry struct {
	id    ID
	ready chan struct{} // closed when files or err are set
	err   error
	files []cachedFile
	size  int64
	// Guarded by Cache.mu:
	loaded    bool  // ready is closed, or about to be
	checked   bool  // the files were made or verified by this process
	resident  bool  // has its folder
	inherited int64 // bytes of the folder that is being verified for it
	refs      int
	used      time.Time
	touched   time.Time // when used was last written to disk
}

type cachedFile struct {
	File
	f *os.File
}

const sumsName = ".sums"

// OpenCache opens a folder, made if missing, that holds at most limit bytes of files that nobody has open. What a former process left is
// kept, least recently used first out.
func OpenCache(dir string, limit int64, store *Store, log *slog.Logger) (*Cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("snapshot cache: %w", err)
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("snapshot cache: %w", err)
	}
	c := &Cache{dir: dir, limit: limit, store: store, log: log, entries: map[ID]*entry{}}
	c.life, c.end = context.WithCancel(context.Background())
	for _, n := range names {
		path := filepath.Join(dir, n.Name())
		e, err := openEntry(ID(n.Name()), path)
		if err != nil {
			if strings.HasPrefix(n.Name(), ".") || ID(n.Name()).Valid() {
				os.RemoveAll(path)
			}
			continue
		}
		c.entries[e.id], e.resident = e, true
		c.bytes += e.size
	}
	c.mu.Lock()
	gone := c.evictLocked()
	c.mu.Unlock()
	gone.remove()
	return c, nil
}

// openEntry opens the files of a folder that a former process completed.
func openEntry(id ID, path string) (*entry, error) {
	if !id.Valid() {
		return nil, errors.New("not a snapshot")
	}
	b, err := os.ReadFile(filepath.Join(path, sumsName))
	if err != nil {
		return nil, err
	}
	st, err := os.Stat(filepath.Join(path, sumsName))
	if err != nil {
		return nil, err
	}
	var files []File
	if err := json.Unmarshal(b, &files); err != nil {
		return nil, err
	}
	e := &entry{id: id, ready: make(chan struct{}), loaded: true, used: st.ModTime(), touched: st.ModTime()}
	close(e.ready)
	for _, file := range files {
		if !validFileName(file.Name) {
			err = errors.New("malformed name")
			break
		}
		var f *os.File
		if f, err = os.Open(filepath.Join(path, file.Name)); err != nil {
			break
		}
		e.files = append(e.files, cachedFile{file, f})
		if st, serr := f.Stat(); serr != nil || st.Size() != file.Size {
			err = errors.Join(errors.New("has another size"), serr)
			break
		}
		e.size += file.Size
	}
	if err != nil {
		e.closeFiles()
		return nil, err
	}
	return e, nil
}

// closeFiles may be called once, when nobody can ask for the files any more.
func (e *entry) closeFiles() {
	for _, f := range e.files {
		f.f.Close()
	}
}

func (c *Cache) path(id ID) string { return filepath.Join(c.dir, string(id)) }

// Open returns the files of a snapshot, from the cache or made from the store now. Many callers of one snapshot wait for one load; a
// caller that leaves does not end it. The Handle must be closed. Errors as of Store.Extract.
func (c *Cache) Open(ctx context.Context, id ID) (*Handle, error) {
	if !id.Valid() {
		return nil, fmt.Errorf("snapshot %q: %w", id, ErrNotFound)
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, fmt.Errorf("snapshot %s: the cache is closed", id)
	}
	e := c.entries[id]
	if e == nil || !e.checked && e.resident {
		e = c.beginLocked(id, e)
	} else if e.resident {
		c.stats.Hits++
	}
	e.refs++
	c.mu.Unlock()
	select {
	case <-e.ready:
	case <-ctx.Done():
		c.release(e)
		return nil, fmt.Errorf("snapshot %s: %w", id, context.Cause(ctx))
	}
	if e.err != nil {
		c.release(e)
		return nil, e.err
	}
	c.touch(e)
	return &Handle{c: c, e: e}, nil
}

// Begin has the files of a snapshot made, or checked, for a later Open, and does not wait. An error is that of the Open.
func (c *Cache) Begin(id ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[id]; !c.closed && id.Valid() && (e == nil || !e.checked && e.resident) {
		c.beginLocked(id, e)
	}
}

// touch notes that an entry is used; on disk at most once a minute, for the next process.
func (c *Cache) touch(e *entry) {
	now := time.Now()
	c.mu.Lock()
	e.used = now
	write := e.resident && now.Sub(e.touched) > time.Minute
	if write {
		e.touched = now
	}
	c.mu.Unlock()
	if write {
		os.Chtimes(filepath.Join(c.path(e.id), sumsName), now, now) // at worst it is evicted too early
	}
}

func (c *Cache) release(e *entry) {
	var gone garbage
	c.mu.Lock()
	e.refs--
	if e.refs == 0 {
		if e.resident {
			gone = c.evictLocked()
		} else if e.loaded && c.entries[e.id] != e { // dropped while it was open
			gone.entries = append(gone.entries, e)
		}
	}
	c.mu.Unlock()
	gone.remove()
}

// evictLocked takes idle entries out, least recently used first, until the rest fits. One that is open does not count as idle: to
// remove it frees nothing before it is closed. Caller holds c.mu, and removes the garbage without it.
func (c *Cache) evictLocked() (gone garbage) {
	if c.bytes <= c.limit {
		return gone
	}
	var idle []*entry
	for _, e := range c.entries {
		if e.resident && e.refs == 0 {
			idle = append(idle, e)
		}
	}
	slices.SortFunc(idle, func(a, b *entry) int { return a.used.Compare(b.used) })
	for _, e := range idle {
		if c.bytes <= c.limit {
			break
		}
		c.stats.Evicted++
		gone.add(c.takeLocked(e))
	}
	return gone
}

// takeLocked takes an entry out. Descriptors that Handles have stay good. Caller holds c.mu.
func (c *Cache) takeLocked(e *entry) (gone garbage) {
	delete(c.entries, e.id)
	if e.resident || e.inherited > 0 {
		c.bytes -= max(e.size, e.inherited)
		e.resident, e.inherited = false, 0
		gone.takeFolder(c, e.id)
	}
	if e.refs == 0 && e.loaded {
		gone.entries = append(gone.entries, e)
	}
	return gone
}

// garbage is what was taken out under the lock and is removed without it: large files take their time to go.
type garbage struct {
	entries []*entry
	folders []string
}

func (g *garbage) add(o garbage) {
	g.entries, g.folders = append(g.entries, o.entries...), append(g.folders, o.folders...)
}

// takeFolder gives a snapshot's folder a name that nothing looks for.
func (g *garbage) takeFolder(c *Cache, id ID) {
	away := filepath.Join(c.dir, "."+string(id)+"-"+string(NewID()))
	if os.Rename(c.path(id), away) == nil {
		g.folders = append(g.folders, away)
	}
}

func (g *garbage) remove() {
	for _, e := range g.entries {
		e.closeFiles()
	}
	for _, f := range g.folders {
		os.RemoveAll(f) // at worst the next process does
	}
}

// Drop removes a snapshot's files now; Handles that are open stay readable. For a generation that was deleted.
func (c *Cache) Drop(id ID) {
	var gone garbage
	c.mu.Lock()
	if e := c.entries[id]; e != nil {
		gone = c.takeLocked(e)
	}
	c.mu.Unlock()
	gone.remove()
}

// Has says whether an Open would be a plain read.
func (c *Cache) Has(id ID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[id]
	return e != nil && e.resident && e.checked
}

// Stats counts.
func (c *Cache) Stats() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.stats
	st.Bytes = c.bytes
	for _, e := range c.entries {
		if e.resident {
			st.Snapshots++
		}
	}
	return st
}

// Close waits for loads and closes the descriptors of everything that no Handle has open. The files stay for the next process.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.loads.Wait()
	var gone garbage
	c.mu.Lock()
	for id, e := range c.entries {
		e.resident = false // a Handle that is closed later must not remove the folder
		delete(c.entries, id)
		if e.refs == 0 {
			gone.entries = append(gone.entries, e)
		}
	}
	c.mu.Unlock()
	gone.remove()
	return nil
}
