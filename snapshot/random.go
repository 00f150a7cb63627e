package snapshot

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"sort"
	"sync"
)

// Reader reads the files of one snapshot at any offset, straight from the store: nothing of it lies on a disk in plain. A pack is
// unpacked once for all who read its neighbours meanwhile; all Readers of a Store keep maxRandom packs. Whoever reads in the
// order of a file reads each pack once.
//
// What it gives is what was stored, since packs are sealed; the checksum of a whole file is not looked at. A Reader holds sweeps
// away from its packs until Close. It may be used by many goroutines.
type Reader struct {
	s    *Store
	id   ID
	life context.Context
	end  context.CancelFunc
	keep func() // of Store.random

	mu     sync.RWMutex // held shared by those who read, for what follows
	closed bool
	m      *Manifest
	unpin  func()
	files  []fileRuns
	dicts  [][]dictRun
}

// fileRuns are the runs of a file, with the first page of each.
type fileRuns struct {
	first []int64
	runs  []run
}

// Reader opens a snapshot. Errors as of Extract; more of them may come when it is read.
func (s *Store) Reader(ctx context.Context, id ID) (*Reader, error) {
	m, err := s.Manifest(ctx, id)
	if err != nil {
		return nil, err
	}
	r := &Reader{s: s, id: id, keep: s.random.open()}
	r.life, r.end = context.WithCancel(context.Background())
	if err := r.useLocked(m); err != nil { // nobody else has it yet
		r.Close()
		return nil, err
	}
	return r, nil
}

// useLocked makes a manifest the one that is read by. Caller holds mu.
func (r *Reader) useLocked(m *Manifest) error {
	m, unpin := r.s.pin(m)
	if r.unpin != nil {
		r.unpin()
	}
	r.m, r.unpin, r.files, r.dicts = m, unpin, make([]fileRuns, len(m.Files)), make([][]dictRun, len(m.Packs))
	for i := range m.Files {
		f := &r.files[i]
		err := m.eachRun(&m.Files[i], func(page int64, run run) {
			f.first, f.runs = append(f.first, page), append(f.runs, run)
		})
		if err != nil {
			return &CorruptError{m.ID, manifestKey(m.ID), err}
		}
	}
	for i := range m.Packs {
		dict, err := m.dictOf(i)
		if err != nil {
			return &CorruptError{m.ID, manifestKey(m.ID), err}
		}
		r.dicts[i] = dict
	}
	return nil
}

// Size is a file's size in bytes; -1 when there is none.
func (r *Reader) Size(name string) int64 {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if f := r.m.File(name); f != nil {
		return f.Size
	}
	return -1
}

// File is one file. The error is fs.ErrNotExist when the snapshot has none of this name.
func (r *Reader) File(name string) (io.ReaderAt, error) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for i := range r.m.Files {
		if r.m.Files[i].Name == name {
			return randomFile{r, i}, nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// Close lets go of the packs. Reads that are under way end with an error, and so do later ones. It may be called more than once.
func (r *Reader) Close() error {
	r.end()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	r.closed = true
	if r.unpin != nil {
		r.unpin()
	}
	r.keep()
	return nil
}

type randomFile struct {
	r    *Reader
	file int // index in the manifest, the same in any manifest of the snapshot
}

// ReadAt implements io.ReaderAt.
func (f randomFile) ReadAt(b []byte, off int64) (int, error) {
	for attempt := 0; ; attempt++ {
		m, n, err := f.read(b, off)
		if !errors.Is(err, errMissing) || attempt == 2 {
			return n, err
		}
		if err := f.r.follow(m, err); err != nil {
			return n, err
		}
	}
}

// follow takes the manifest as it is now, where a sweep of another server has moved pages since m; missing is what was found.
func (r *Reader) follow(m *Manifest, missing error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fs.ErrClosed
	}
	if r.m != m { // another read was first
		return nil
	}
	again, err := r.s.reload(r.life, r.id)
	if err != nil {
		return err
	}
	if len(again.Files) != len(m.Files) || slices.EqualFunc(m.Packs, again.Packs, func(a, b PackRef) bool { return a.ID == b.ID }) {
		return missing
	}
	return r.useLocked(again)
}

func (f randomFile) read(b []byte, off int64) (m *Manifest, n int, err error) {
	r := f.r
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.closed {
		return nil, 0, fs.ErrClosed
	}
	file, size := &r.files[f.file], r.m.Files[f.file].Size
	if off < 0 {
		return r.m, 0, &fs.PathError{Op: "read", Path: r.m.Files[f.file].Name, Err: fs.ErrInvalid}
	}
	if off >= size {
		return r.m, 0, io.EOF
	}
	short := int64(len(b)) > size-off
	b = b[:min(int64(len(b)), size-off)]
	i := sort.Search(len(file.first), func(i int) bool { return file.first[i] > off/PageSize }) - 1
	for n < len(b) {
		run := file.runs[i]
		skip := off + int64(n) - file.first[i]*PageSize // within the run
		part := b[n:min(int64(len(b)), int64(n)+int64(run.count)*PageSize-skip)]
		if err := r.copyRun(part, run, skip); err != nil {
			return r.m, n, err
		}
		n += len(part)
		i++
	}
	if short {
		err = io.EOF
	}
	return r.m, n, err
}

func (r *Reader) copyRun(b []byte, run run, skip int64) error {
	if run.pack < 0 {
		clear(b)
		return nil
	}
	return r.s.random.useAny(r.life, r.id, r.m.Packs[run.pack], r.dicts[run.pack], func(pages []byte) error {
		copy(b, pages[int64(run.slot)*PageSize+skip:])
		return nil
	})
}
