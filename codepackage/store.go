// Package codepackage unpacks code packages, the zips that customers upload, and keeps the folders that sandboxes see as /var/task.
//
// A folder is named by the SHA-256 of its package and is complete when it has that name: it is filled under another
// name, synced and renamed. It is a copy of what the blobs hold and can be removed and made again at any time when
// nobody uses it. Beside it lies a sum of everything in it, by which its first user after a start learns whether it is
// as it was filled (sum.go); if not, it is made again.
//
// Owner: a Store owns its folder and starts no goroutine. Its one lock guards the table of users; renames of folders are all that
// happens on a disk under it.
package codepackage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"thaw/function"
	"thaw/internal/treesum"
)

// Source gives the bytes of a package by the lower-case hex of its SHA-256; *blob.Store is one. The reader must fail, instead of
// ending, when the bytes are not those of the name.
type Source interface {
	Open(ctx context.Context, sha256 string) (io.ReadCloser, error)
}

// Options of a store. Dir, Source and Log are required.
type Options struct {
	Dir    string // made if missing; only this process may use it
	Source Source
	Log    *slog.Logger
	// KeepBytes is how much unpacked code that nobody uses stays for the next user; 0: 4 GiB.
	KeepBytes int64
}

const defaultKeepBytes = 4 << 30

// Store is an open set of unpacked packages. It is safe for use by many goroutines.
type Store struct {
	dir    string
	source Source
	log    *slog.Logger
	keep   int64

	mu      sync.Mutex
	entries map[string]*entry // by hash; a folder that exists or is being made
	gone    int               // folders evicted so far: names them until they are removed
}

type entry struct {
	ready   chan struct{} // closed when made or not
	err     error         // set before ready is closed
	found   bool          // by Open, and not looked into yet: nobody uses it
	users   int
	bytes   int64
	used    time.Time
	dropped bool // remove as soon as nobody uses it
}

const tempPrefix = ".unpacking-"

// Open opens the folder and removes what was never finished there.
func Open(o Options) (*Store, error) {
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("code folder: %w", err)
	}
	// Sandboxes that run as somebody else read through it.
	if err := os.Chmod(o.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("code folder: %w", err)
	}
	s := &Store{dir: o.Dir, source: o.Source, log: o.Log, keep: o.KeepBytes, entries: map[string]*entry{}}
	if s.keep == 0 {
		s.keep = defaultKeepBytes
	}
	list, err := os.ReadDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("code folder: %w", err)
	}
	var sums []string
	for _, d := range list {
		p := filepath.Join(o.Dir, d.Name())
		switch {
		case strings.HasPrefix(d.Name(), tempPrefix):
			if err := os.RemoveAll(p); err != nil {
				return nil, fmt.Errorf("unfinished code folder: %w", err)
			}
		case d.IsDir() && validHash(d.Name()):
			e := &entry{ready: make(chan struct{}), found: true, bytes: diskBytes(p)}
			close(e.ready)
			if info, err := d.Info(); err == nil {
				e.used = info.ModTime()
			}
			s.entries[d.Name()] = e
		case strings.HasSuffix(d.Name(), treesum.Suffix):
			sums = append(sums, d.Name())
		}
	}
	for _, name := range sums {
		if s.entries[strings.TrimSuffix(name, treesum.Suffix)] == nil {
			if err := os.Remove(filepath.Join(o.Dir, name)); err != nil {
				return nil, fmt.Errorf("code folder: %w", err)
			}
		}
	}
	return s, nil
}

// Unpack checks the bytes of a package and unpacks them unless that was done before. It returns the lower-case hex of their SHA-256
// and a release as Dir does. Errors: *InvalidError, ErrEmpty, ErrTooLarge; nothing is left behind then.
func (s *Store) Unpack(ctx context.Context, zip *io.SectionReader) (hash string, release func(), err error) {
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(zip, 0, zip.Size())); err != nil {
		return "", nil, err
	}
	hash = hex.EncodeToString(sum.Sum(nil))
	_, release, err = s.use(ctx, hash, func(dir string) error { return unpack(dir, zip, zip.Size(), MaxBytes) })
	return hash, release, err
}

// Scratch returns a file without a name on the disk of the packages. It is gone when it is closed.
func (s *Store) Scratch() (*os.File, error) {
	f, err := os.CreateTemp(s.dir, tempPrefix+"*.zip")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Dir returns the folder with the code of a version, for as long as release was not called. It is unpacked from its blob if it is not
// there. Everything in it is readable for everybody, owned by us, and must not be changed.
func (s *Store) Dir(ctx context.Context, v *function.Version) (dir string, release func(), err error) {
	return s.use(ctx, v.CodeSHA256, func(dir string) error { return s.fetch(ctx, v.CodeSHA256, dir) })
}

// Opt returns the folder with the layers of a version, laid over each other in their order: what later ones have comes
// over what earlier ones have. It is made once for all that have the same layers. Empty, with a release that does
// nothing: the version has no layers. Otherwise it is as Dir.
func (s *Store) Opt(ctx context.Context, v *function.Version) (dir string, release func(), err error) {
	if len(v.Layers) == 0 {
		return "", func() {}, nil
	}
	return s.use(ctx, v.Package.Opt(), func(dir string) error { return s.merge(ctx, v.Layers, dir) })
}

// fetch unpacks a blob. Its bytes go to a file first: a zip is read from its end, and must be verified before anything of it counts.
func (s *Store) fetch(ctx context.Context, hash, dir string) error {
	r, err := s.source.Open(ctx, hash)
	if err != nil {
		return err
	}
	defer r.Close()
	f, err := s.Scratch()
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.Copy(f, r)
	if err != nil {
		return err
	}
	return unpack(dir, f, n, MaxBytes)
}

// use counts a user of a folder and has it made by the first of them; the others wait.
func (s *Store) use(ctx context.Context, hash string, fill func(dir string) error) (string, func(), error) {
	if !validHash(hash) {
		return "", nil, fmt.Errorf("code %q: not a hash", hash)
	}
	for {
		s.mu.Lock()
		e := s.entries[hash]
		first := e == nil || e.found
		if first {
			e = &entry{ready: make(chan struct{})}
			s.entries[hash] = e
		}
		e.users++
		e.dropped = false // a new user: it is wanted again
		s.mu.Unlock()
		if first {
			bytes, err := s.make(hash, fill)
			s.mu.Lock()
			e.err, e.bytes = err, bytes
			if err != nil {
				delete(s.entries, hash) // the next one tries again
			}
			s.mu.Unlock()
			close(e.ready)
			if err != nil {
				return "", nil, err
			}
		}
		select {
		case <-e.ready:
		case <-ctx.Done():
			s.release(hash, e)
			return "", nil, context.Cause(ctx)
		}
		if e.err == nil {
			return s.path(hash), sync.OnceFunc(func() { s.release(hash, e) }), nil
		}
		// The one who made it had no luck, perhaps because his caller left. Try with our own fill.
		if err := ctx.Err(); err != nil {
			return "", nil, context.Cause(ctx)
		}
	}
}

// make fills a new folder under another name and renames it when it is whole and on disk.
// What Open has found is taken when it is as it was filled.
func (s *Store) make(hash string, fill func(dir string) error) (int64, error) {
	if whole, err := s.check(hash); err != nil {
		return 0, err
	} else if whole {
		return diskBytes(s.path(hash)), nil
	}
	tmp, err := os.MkdirTemp(s.dir, tempPrefix+"*")
	if err != nil {
		return 0, fmt.Errorf("code folder: %w", err)
	}
	defer os.RemoveAll(tmp) // not there any more when all went well
	if err := os.Chmod(tmp, 0o755); err != nil {
		return 0, fmt.Errorf("code folder: %w", err)
	}
	if err := fill(tmp); err != nil {
		return 0, err
	}
	if err := syncTree(tmp); err != nil {
		return 0, fmt.Errorf("sync of a code folder: %w", err)
	}
	if err := treesum.Put(s.path(hash), tmp, tempPrefix); err != nil {
		return 0, fmt.Errorf("sum of a code folder: %w", err)
	}
	if err := os.Rename(tmp, s.path(hash)); err != nil {
		return 0, fmt.Errorf("code folder: %w", err)
	}
	if err := syncPath(s.dir); err != nil {
		return 0, fmt.Errorf("sync of the code folder: %w", err)
	}
	return diskBytes(s.path(hash)), nil
}

func (s *Store) path(hash string) string { return filepath.Join(s.dir, hash) }

func (s *Store) release(hash string, e *entry) {
	s.mu.Lock()
	e.users--
	e.used = time.Now()
	var victims []string
	if s.entries[hash] == e {
		victims = s.victimsLocked()
	}
	s.mu.Unlock()
	s.remove(victims)
}

// Drop says that no function needs a package any more: its folder goes as soon as nobody uses it.
func (s *Store) Drop(hash string) {
	s.mu.Lock()
	if e := s.entries[hash]; e != nil {
		e.dropped = true
	}
	victims := s.victimsLocked()
	s.mu.Unlock()
	s.remove(victims)
}

// DropExcept drops every folder whose hash wanted refuses.
func (s *Store) DropExcept(wanted func(hash string) bool) {
	s.mu.Lock()
	for hash, e := range s.entries {
		if !wanted(hash) {
			e.dropped = true
		}
	}
	victims := s.victimsLocked()
	s.mu.Unlock()
	s.remove(victims)
}

// victimsLocked takes out of the table what must go now: what was dropped, and of the rest what was not used for longest as far as
// there is more than is to be kept. Once out of the table a folder is ours alone: it is renamed before anybody can make it anew.
func (s *Store) victimsLocked() []string {
	var victims []string
	take := func(hash string) {
		s.gone++
		tmp := filepath.Join(s.dir, fmt.Sprintf("%sgone-%d", tempPrefix, s.gone))
		if err := os.Rename(s.path(hash), tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Error("code folder cannot be evicted", "code", hash, "error", err)
			return
		}
		os.Remove(s.path(hash) + treesum.Suffix) // at worst the next start does
		delete(s.entries, hash)
		victims = append(victims, tmp)
	}
	var idle int64
	for hash, e := range s.entries {
		if e.users > 0 || !e.made() {
			continue
		}
		if e.dropped {
			take(hash)
		} else {
			idle += e.bytes
		}
	}
	for idle > s.keep {
		oldest := ""
		for hash, e := range s.entries {
			if e.users == 0 && e.made() && (oldest == "" || e.used.Before(s.entries[oldest].used)) {
				oldest = hash
			}
		}
		if oldest == "" {
			break
		}
		idle -= s.entries[oldest].bytes
		n := len(victims)
		if take(oldest); len(victims) == n {
			break
		}
	}
	return victims
}

func (e *entry) made() bool {
	select {
	case <-e.ready:
		return e.err == nil
	default:
		return false
	}
}

func (s *Store) remove(folders []string) {
	for _, f := range folders {
		if err := os.RemoveAll(f); err != nil {
			s.log.Error("evicted code folder cannot be removed", "folder", filepath.Base(f), "error", err)
		}
	}
}

func validHash(s string) bool {
	return len(s) == 2*sha256.Size && strings.Trim(s, "0123456789abcdef") == ""
}

// diskBytes estimates what a folder holds; it decides about eviction only.
func diskBytes(dir string) int64 {
	var n int64
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error { //nolint:errcheck // an estimate
		if err != nil {
			return nil
		}
		n += 4096
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}

// syncEach is how many files and folders are synced one by one; with more of them one sync of the whole file system is quicker.
const syncEach = 64

func syncTree(dir string) error {
	var paths []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() || d.Type().IsRegular() {
			paths = append(paths, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if len(paths) > syncEach {
		f, err := os.Open(dir)
		if err != nil {
			return err
		}
		defer f.Close()
		return unix.Syncfs(int(f.Fd()))
	}
	for _, p := range paths {
		if err := syncPath(p); err != nil {
			return err
		}
	}
	return nil
}

func syncPath(p string) error {
	f, err := os.Open(p)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}
