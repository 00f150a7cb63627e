package snapshot

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// beginLocked starts a load, or the check of what a former process left. Caller holds c.mu.
func (c *Cache) beginLocked(id ID, old *entry) *entry {
	e := &entry{id: id, ready: make(chan struct{})}
	c.entries[id] = e
	if old != nil {
		e.inherited = old.size
	}
	c.loads.Go(func() {
		if old == nil || !c.inherit(e, old) {
			c.finish(e, c.load(e))
			return
		}
		c.finish(e, nil)
	})
	return e
}

// inherit makes the files of a former process those of e, if they are right.
func (c *Cache) inherit(e, old *entry) bool {
	err := old.verify(c.life)
	var gone garbage
	defer func() { gone.remove() }()
	c.mu.Lock()
	defer c.mu.Unlock()
	mine := c.entries[e.id] == e // else it was dropped meanwhile, with its folder; the descriptors are good
	e.inherited = 0
	if err == nil {
		e.files, e.size, e.checked, e.resident, e.used, e.touched = old.files, old.size, true, mine, old.used, old.touched
		return true
	}
	c.log.Warn("cached snapshot is damaged and made again from the store", "snapshot", string(e.id), "err", err)
	c.stats.Damaged++
	gone.entries = append(gone.entries, old)
	if mine {
		c.bytes -= old.size
		gone.takeFolder(c, e.id)
	}
	return false
}

// finish lets those who wait go on.
func (c *Cache) finish(e *entry, err error) {
	c.mu.Lock()
	e.loaded, e.err = true, err
	if err != nil && c.entries[e.id] == e {
		delete(c.entries, e.id) // the next Open tries again
	}
	unwanted := e.refs == 0 && c.entries[e.id] != e
	c.mu.Unlock()
	close(e.ready)
	if unwanted {
		e.closeFiles()
	}
}

// verify reads all files against their checksums, on all cores.
func (e *entry) verify(ctx context.Context) error {
	const piece = 4 << 20
	sums := make([]atomic.Uint64, len(e.files))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, f := range e.files {
		for off := int64(0); off < f.Size; off += piece {
			g.Go(func() error {
				if err := context.Cause(ctx); err != nil {
					return err
				}
				sum, err := sumPages(f.f, off, min(piece, f.Size-off))
				sums[i].Add(sum)
				return err
			})
		}
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, f := range e.files {
		if sums[i].Load() != f.Sum {
			return fmt.Errorf("file %s has another checksum", f.Name)
		}
	}
	return nil
}

// sumPages sums size bytes from off, the start of a page.
func sumPages(f *os.File, off, size int64) (sum uint64, err error) {
	pooled := blockBufs.Get().(*[]byte)
	defer blockBufs.Put(pooled)
	buf := *pooled
	for size > 0 {
		n := min(int64(len(buf)), size)
		if _, err := f.ReadAt(buf[:n], off); err != nil {
			return 0, err
		}
		pages := pagesOf(n)
		clear(buf[n : pages*PageSize])
		for i := range pages {
			if page := buf[i*PageSize : (i+1)*PageSize]; !isZero(page) {
				sum += pageSum(off/PageSize+i, page)
			}
		}
		off, size = off+n, size-n
	}
	return sum, nil
}

// load makes the files of e from the store.
func (c *Cache) load(e *entry) error {
	return c.make(e, func(temp string) ([]File, error) {
		var outs []*os.File
		defer func() {
			for _, f := range outs {
				f.Close()
			}
		}()
		m, err := c.store.Extract(c.life, e.id, func(f *File) (io.WriterAt, error) {
			// Truncated: Extract begins anew when pages were moved under it.
			out, err := os.OpenFile(filepath.Join(temp, f.Name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
			if err != nil {
				return nil, err
			}
			outs = append(outs, out)
			return out, out.Truncate(f.Size)
		})
		if err != nil {
			return nil, err
		}
		return m.Files, nil
	})
}

// make fills a folder by fill, puts it in its place, and makes e resident.
func (c *Cache) make(e *entry, fill func(temp string) ([]File, error)) error {
	temp, err := os.MkdirTemp(c.dir, "."+string(e.id)+"-*")
	if err != nil {
		return fmt.Errorf("snapshot cache: %w", err)
	}
	defer os.RemoveAll(temp)
	files, err := fill(temp)
	if err != nil {
		return err
	}
	kept := make([]File, len(files))
	for i, f := range files {
		f.Runs = nil
		kept[i] = f
	}
	b, err := json.Marshal(kept)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(temp, sumsName), b, 0o600); err != nil {
		return fmt.Errorf("snapshot cache: %w", err)
	}
	for _, f := range kept {
		if err := os.Chmod(filepath.Join(temp, f.Name), 0o400); err != nil {
			return fmt.Errorf("snapshot cache: %w", err)
		}
	}
	made, err := openEntry(e.id, temp)
	if err != nil {
		return fmt.Errorf("snapshot cache: %w", err)
	}
	var gone garbage
	defer func() { gone.remove() }()
	c.mu.Lock()
	defer c.mu.Unlock()
	e.files, e.size, e.used, e.touched, e.checked = made.files, made.size, time.Now(), time.Now(), true
	if c.entries[e.id] != e { // dropped meanwhile: the descriptors are good, the folder goes
		return nil
	}
	gone.takeFolder(c, e.id) // of an entry that was dropped and could not be removed
	if err := os.Rename(temp, c.path(e.id)); err != nil {
		gone.entries = append(gone.entries, made)
		e.files = nil
		return fmt.Errorf("snapshot cache: %w", err)
	}
	e.resident = true
	c.bytes += e.size
	c.stats.Loads++
	e.refs++ // what was just made is not what goes
	gone.add(c.evictLocked())
	e.refs--
	return nil
}

// Adopt puts files that are on this disk already into the cache as those of a snapshot in the store, so that the first restore after the
// making needs no load. paths maps names to files that nobody writes any more; they are moved, or copied from another disk. They are checked
// against the store's checksums.
func (c *Cache) Adopt(ctx context.Context, id ID, paths map[string]string) error {
	m, err := c.store.Manifest(ctx, id)
	if err != nil {
		return err
	}
	e := &entry{id: id, ready: make(chan struct{})}
	c.mu.Lock()
	if c.closed || c.entries[id] != nil {
		c.mu.Unlock()
		return nil
	}
	c.entries[id] = e
	c.loads.Add(1)
	c.mu.Unlock()
	defer c.loads.Done()
	err = c.make(e, func(temp string) ([]File, error) {
		for _, f := range m.Files {
			from, ok := paths[f.Name]
			if !ok {
				return nil, fmt.Errorf("snapshot %s: file %s is not given", id, f.Name)
			}
			if err := moveFile(from, filepath.Join(temp, f.Name)); err != nil {
				return nil, fmt.Errorf("snapshot %s: %w", id, err)
			}
		}
		check := &entry{}
		defer check.closeFiles()
		for _, f := range m.Files {
			r, err := os.Open(filepath.Join(temp, f.Name))
			if err != nil {
				return nil, err
			}
			check.files = append(check.files, cachedFile{f, r})
		}
		if err := check.verify(ctx); err != nil {
			return nil, fmt.Errorf("snapshot %s: %w", id, err)
		}
		return m.Files, nil
	})
	c.finish(e, err)
	return err
}

func moveFile(from, to string) error {
	if os.Rename(from, to) == nil {
		return nil
	}
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	return err
}
