package faultfs

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
)

// ErrCrashed is the answer of every call after the crash.
var ErrCrashed = errors.New("the machine has crashed")

// Mem is a file system in memory that knows what a disk may forget. Content is durable after the file's Sync, a name after its folder's
// SyncDir. Folders are durable when made. It is safe for use by many goroutines.
type Mem struct {
	mu      sync.Mutex
	dirs    map[string]bool
	names   map[string]*node // as a running system sees them
	durable map[string]*node // as a disk surely has them
	calls   []Label          // of every call that changes something
	crashAt int              // the call that no longer happens; 0: none
	fail    map[Label]*failure
	crashed bool
}

type node struct {
	data   []byte
	synced []byte // what a disk surely has
	isSafe bool   // synced is all of data
}

type failure struct {
	nth  int
	err  error
	seen int
}

// NewMem returns an empty file system.
func NewMem() *Mem {
	return &Mem{dirs: map[string]bool{}, names: map[string]*node{}, durable: map[string]*node{}, fail: map[Label]*failure{}}
}

// Calls are the labels of all changing calls so far, in order.
func (m *Mem) Calls() []Label {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.calls)
}

// CrashAt stops the world right before the nth changing call from now; the first is 1. Every later call answers ErrCrashed.
func (m *Mem) CrashAt(nth int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.crashAt = len(m.calls) + nth
}

// Fail lets the nth call from now with that label fail once, without effect; the first is 1.
func (m *Mem) Fail(label Label, nth int, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail[label] = &failure{nth: nth, err: err}
}

// Crashed says whether the world has stopped.
func (m *Mem) Crashed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.crashed
}

// Reboot returns what a disk may hold after the power failed now. Of each name that was changed and not synced it is the old or
// the new meaning; of content that was not synced it is the synced part, some of the new, or the new length full of zeros. r decides.
func (m *Mem) Reboot(r *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.crashed = true
	after := NewMem()
	for d := range m.dirs {
		after.dirs[d] = true
	}
	survived := map[*node]*node{} // one file with two names stays one file
	keep := func(path string, n *node) {
		s := survived[n]
		if s == nil {
			s = &node{data: n.afterCrash(r), isSafe: true}
			s.synced = s.data
			survived[n] = s
		}
		after.names[path], after.durable[path] = s, s
	}
	paths := make([]string, 0, len(m.names)+len(m.durable))
	for p := range m.names {
		paths = append(paths, p)
	}
	for p := range m.durable {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	for _, p := range slices.Compact(paths) {
		now, old := m.names[p], m.durable[p]
		choice := now
		if now != old && r.IntN(2) == 0 {
			choice = old
		}
		if choice != nil {
			keep(p, choice)
		}
	}
	return after
}

func (n *node) afterCrash(r *rand.Rand) []byte {
	if n.isSafe {
		return bytes.Clone(n.data)
	}
	switch r.IntN(4) {
	case 0:
		return bytes.Clone(n.data)
	case 1:
		return bytes.Clone(n.synced)
	case 2:
		return bytes.Clone(n.data[:r.IntN(len(n.data)+1)])
	}
	return make([]byte, len(n.data)) // the length came through, the blocks did not
}

// step counts one changing call and says whether it happens.
func (m *Mem) stepLocked(label Label) error {
	if m.crashed {
		return ErrCrashed
	}
	m.calls = append(m.calls, label)
	if m.crashAt > 0 && len(m.calls) >= m.crashAt {
		m.crashed = true
		return ErrCrashed
	}
	return m.failLocked(label)
}

func (m *Mem) failLocked(label Label) error {
	if m.crashed {
		return ErrCrashed
	}
	if f := m.fail[label]; f != nil {
		f.seen++
		if f.seen == f.nth {
			delete(m.fail, label)
			return f.err
		}
	}
	return nil
}

type memFile struct {
	m     *Mem
	n     *node
	label Label
}

// Create implements FS.
func (m *Mem) Create(label Label, path string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	path = clean(path)
	if err := m.stepLocked(label); err != nil {
		return nil, pathError("create", path, err)
	}
	if !m.dirs[filepath.Dir(path)] {
		return nil, pathError("create", path, fs.ErrNotExist)
	}
	if m.names[path] != nil {
		return nil, pathError("create", path, fs.ErrExist)
	}
	n := &node{isSafe: true}
	m.names[path] = n
	return &memFile{m, n, label}, nil
}

// Write adds to the file under the label that it was created with.
func (f *memFile) Write(b []byte) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.stepLocked(f.label); err != nil {
		return 0, err
	}
	f.n.data, f.n.isSafe = append(f.n.data, b...), false
	return len(b), nil
}

func (f *memFile) Sync(label Label) error {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if err := f.m.stepLocked(label); err != nil {
		return err
	}
	f.n.synced, f.n.isSafe = bytes.Clone(f.n.data), true
	return nil
}

func (f *memFile) Close() error { return nil }

// Rename implements FS.
func (m *Mem) Rename(label Label, from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = clean(from), clean(to)
	if err := m.stepLocked(label); err != nil {
		return pathError("rename", from, err)
	}
	n := m.names[from]
	if n == nil {
		return pathError("rename", from, fs.ErrNotExist)
	}
	delete(m.names, from)
	m.names[to] = n
	return nil
}

// Link implements FS.
func (m *Mem) Link(label Label, from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	from, to = clean(from), clean(to)
	if err := m.stepLocked(label); err != nil {
		return pathError("link", from, err)
	}
	n := m.names[from]
	if n == nil {
		return pathError("link", from, fs.ErrNotExist)
	}
	if m.names[to] != nil {
		return pathError("link", to, fs.ErrExist)
	}
	m.names[to] = n
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(label Label, path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	path = clean(path)
	if err := m.stepLocked(label); err != nil {
		return pathError("remove", path, err)
	}
	if m.names[path] == nil {
		return pathError("remove", path, fs.ErrNotExist)
	}
	delete(m.names, path)
	return nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(label Label, dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = clean(dir)
	if err := m.stepLocked(label); err != nil {
		return pathError("sync", dir, err)
	}
	for p := range m.durable {
		if _, ok := inDir(dir, p); ok && m.names[p] == nil {
			delete(m.durable, p)
		}
	}
	for p, n := range m.names {
		if _, ok := inDir(dir, p); ok {
			m.durable[p] = n
		}
	}
	return nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(label Label, dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.stepLocked(label); err != nil {
		return pathError("mkdir", dir, err)
	}
	for d := clean(dir); !m.dirs[d]; d = filepath.Dir(d) {
		m.dirs[d] = true
	}
	return nil
}

// ReadFile implements FS.
func (m *Mem) ReadFile(label Label, path string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	path = clean(path)
	if err := m.failLocked(label); err != nil {
		return nil, pathError("read", path, err)
	}
	n := m.names[path]
	if n == nil {
		return nil, pathError("read", path, fs.ErrNotExist)
	}
	return bytes.Clone(n.data), nil
}

// ReadDir implements FS.
func (m *Mem) ReadDir(label Label, dir string) ([]Info, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir = clean(dir)
	if err := m.failLocked(label); err != nil {
		return nil, pathError("list", dir, err)
	}
	if !m.dirs[dir] {
		return nil, pathError("list", dir, fs.ErrNotExist)
	}
	var infos []Info
	for p, n := range m.names {
		if name, ok := inDir(dir, p); ok {
			infos = append(infos, Info{name, int64(len(n.data)), 0o600})
		}
	}
	return infos, nil
}
