// Package images turns the mounts of a sandbox into disks of a machine: read-only images of the folders and files that gVisor
// would mount, and writable disks for /tmp.
//
// An image is EROFS, not compressed, so that gVisor's reader takes it, too. It has the owners, modes and symbolic links of its
// source, and the times of its files: Python trusts a compiled module only when its source has the time that it was compiled
// from. Folders and links have one time, extended attributes are left out, hard links become files of their own; sockets,
// pipes and devices are passed over. The same tree gives the same bytes on every host.
//
// The writer is github.com/erofs/go-erofs, of EROFS's own makers, without dependencies. mkfs.erofs would be one more
// package to install, wants its sources under one folder, so mounts in a namespace of their own for each image, and puts
// the present into what it writes. A writer of our own would be 500 lines, and would gain hard links alone.
//
// Images are kept by the SHA-256 of their bytes. What was looked at (names, modes, owners, sizes, times and inodes, no contents)
// leads to it, so that a tree is read once as long as it stays as it is, also over restarts. What lies in the folder is
// compared with its name when a process first uses it: a large one in the background, as long as its file has the size and the
// time that it was written with. A damaged image is made again.
//
// Life of an image:
//
//	looked for -> made -> held by Sets -> kept -> evicted
//	                 ^______________________|
//
// Kept images that no Set holds stay until they have more than Options.KeepBytes together; the one that was used longest
// ago goes first, and none that Options.Needed names. One that is gone is made again from the same mounts; a snapshot
// whose image is gone, and whose mounts have changed, is of no use any more (*GoneError).
//
// Owner: a Store owns its folder, and the goroutines that make images; Close ends them. Lock order: none is taken while mu is held.
package images

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"thaw/blob"
	"thaw/guest/control"
	"thaw/sandbox"
	"thaw/sandbox/firecracker/vmm"
)

// ErrChanging: files were changed all the while that they were read.
var ErrChanging = errors.New("it changes while it is read")

// GoneError says that the image that a snapshot was made with is not here, and that its mounts show something else now.
type GoneError struct{ Want, Is string } // digests

func (e *GoneError) Error() string {
	return fmt.Sprintf("image %s is not here any more, and its mounts have changed since (they make %s now)", e.Want, e.Is)
}

// Options of a store. Dir and Log are required.
type Options struct {
	Dir string // made if missing; only this process may use it
	Log *slog.Logger
	// KeepBytes is how much of images that no Set holds stays for the next; 0: 8 GiB.
	KeepBytes int64
	// Needed names images that must stay, since snapshots were made with them. It is asked before something is evicted. nil: none.
	Needed func() (map[string]bool, error)
}

const defaultKeepBytes = 8 << 30

// Store keeps images and makes disks. It is safe for use by many goroutines.
type Store struct {
	dir    string
	blobs  *blob.Store
	log    *slog.Logger
	keep   int64
	needed func() (map[string]bool, error)
	ctx    context.Context // of what is made
	end    context.CancelFunc
	flight singleflight.Group // by look, digest, or size
	work   sync.WaitGroup

	mu     sync.Mutex
	closed bool
	images map[string]*image   // by digest
	looks  map[string]string   // look of a tree to its digest
	groups map[string]*known   // by key of the group
	turns  map[string]*waiting // by key of the group
}

// image is one that is in the folder.
type image struct {
	digest string
	size   int64
	users  int
	used   time.Time
	sound  bool      // it was compared with its name in this process, or is being
	wrote  time.Time // the time of its file; zero: unknown
}

// known is the last full look at a group.
type known struct {
	tree   *tree // without its nodes
	digest string
	at     time.Time
}

// index is what is written down beside the images.
type index struct {
	Looks map[string]string    `json:"looks"`
	Used  map[string]time.Time `json:"used"`
	Wrote map[string]time.Time `json:"wrote"` // times of the files
}

// Open opens the folder.
func Open(o Options) (*Store, error) {
	blobs, err := blob.Open(filepath.Join(o.Dir, "images"))
	if err != nil {
		return nil, err
	}
	s := &Store{dir: o.Dir, blobs: blobs, log: o.Log, keep: o.KeepBytes, needed: o.Needed,
		images: map[string]*image{}, looks: map[string]string{}, groups: map[string]*known{}, turns: map[string]*waiting{}}
	if s.keep == 0 {
		s.keep = defaultKeepBytes
	}
	s.ctx, s.end = context.WithCancel(context.Background())
	if err := s.load(); err != nil {
		return nil, errors.Join(err, blobs.Close())
	}
	return s, nil
}

// load finds the images of an earlier process. What cannot be read of the index is made anew.
func (s *Store) load() error {
	var x index
	if b, err := os.ReadFile(s.indexPath()); err == nil {
		json.Unmarshal(b, &x) //nolint:errcheck // then it is empty, and trees are read once more
	}
	err := s.blobs.List(s.ctx, func(name string, size int64) bool {
		s.images[name] = &image{digest: name, size: size, used: x.Used[name], wrote: x.Wrote[name]}
		return true
	})
	for look, digest := range x.Looks {
		if s.images[digest] != nil {
			s.looks[look] = digest
		}
	}
	return err
}

func (s *Store) indexPath() string { return filepath.Join(s.dir, "looks.json") }

// save writes the index. A lost one costs time.
func (s *Store) save() {
	s.mu.Lock()
	x := index{map[string]string{}, map[string]time.Time{}, map[string]time.Time{}}
	for look, digest := range s.looks {
		x.Looks[look] = digest
	}
	for digest, im := range s.images {
		x.Used[digest], x.Wrote[digest] = im.used, im.wrote
	}
	s.mu.Unlock()
	b, err := json.Marshal(x)
	if err == nil {
		err = replace(s.indexPath(), b)
	}
	if err != nil {
		s.log.Warn("the list of images was not written; they are made again after the next start", "error", err)
	}
}

func replace(path string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // not there any more when all went well
	_, err = f.Write(b)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Close ends what is being made. Sets that are still held stay valid: their files are there.
func (s *Store) Close() error {
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	s.end()
	s.work.Wait()
	s.save()
	return s.blobs.Close()
}

// Set is what a machine has of its mounts.
type Set struct {
	Drives  []vmm.Drive     // read-only, in their order; disks that are written come behind
	Mounts  []control.Mount // outer targets first
	Digests []string        // of the drives that were made here, in their order: part of a snapshot (see Again)
	release func()
}

// Release says that no machine uses the drives any more. It may be called more than once.
func (s *Set) Release() { s.release() }

// Set gives the drives of mounts, and makes the images that are not there yet, each once however many ask for it. ctx
// bounds the waiting, not the making. *sandbox.ResourceError when the disk is full.
func (s *Store) Set(ctx context.Context, mounts []sandbox.Mount) (*Set, error) {
	groups, places, err := arrange(mounts)
	if err != nil {
		return nil, err
	}
	var held []*image
	for _, g := range groups {
		im, err := s.imageOf(ctx, g)
		if err != nil {
			s.release(held...)
			return nil, err
		}
		held = append(held, im)
	}
	set, err := s.set(held, places)
	if err != nil {
		return nil, err
	}
	set.Mounts = controlMounts(mounts, places, set.driveOf)
	return set, nil
}

// Again gives the drives that a snapshot was made with, by the digests of its Set. What is not here any more is made from
// the mounts of its Spec; *GoneError when these show something else now. Mounts is empty: what was mounted still is.
func (s *Store) Again(ctx context.Context, mounts []sandbox.Mount, digests []string) (*Set, error) {
	var places []place
	for _, m := range mounts {
		if m.Image {
			real, err := filepath.EvalSymlinks(m.Source)
			if err != nil {
				return nil, fmt.Errorf("mount at %s: %w", m.Target, err)
			}
			places = append(places, place{group: -1, image: real})
		}
	}
	var held []*image
	for i, want := range digests {
		im, err := s.acquire(ctx, want)
		if err == nil && im == nil {
			im, err = s.remake(ctx, mounts, i, want)
		}
		if err != nil {
			s.release(held...)
			return nil, err
		}
		held = append(held, im)
	}
	return s.set(held, places)
}

// remake makes the i-th image of a snapshot again, and holds it.
func (s *Store) remake(ctx context.Context, mounts []sandbox.Mount, i int, want string) (*image, error) {
	groups, _, err := arrange(mounts)
	if err != nil {
		return nil, err
	}
	if i >= len(groups) {
		return nil, &GoneError{want, "none"}
	}
	im, err := s.imageOf(ctx, groups[i])
	if err == nil && im.digest != want {
		s.release(im)
		return nil, &GoneError{want, im.digest}
	}
	return im, err
}

// set takes over what is held.
func (s *Store) set(held []*image, places []place) (*Set, error) {
	set := &Set{release: sync.OnceFunc(func() { s.release(held...) })}
	for _, im := range held {
		set.Digests = append(set.Digests, im.digest)
		set.Drives = append(set.Drives, vmm.Drive{Path: s.blobs.Path(im.digest)})
	}
	for _, p := range places {
		if p.group >= 0 || set.driveOf(p) >= 0 {
			continue // an image that is mounted twice is one drive
		}
		if err := isErofs(p.image); err != nil {
			set.Release()
			return nil, err
		}
		set.Drives = append(set.Drives, vmm.Drive{Path: p.image})
	}
	return set, nil
}

// driveOf finds the drive of a mount; -1: there is none.
func (s *Set) driveOf(p place) int {
	if p.group >= 0 {
		return p.group
	}
	for i := len(s.Digests); i < len(s.Drives); i++ {
		if s.Drives[i].Path == p.image {
			return i
		}
	}
	return -1
}

// verify reads a whole image.
func (s *Store) verify(ctx context.Context, digest string) error {
	r, err := s.blobs.Open(ctx, digest)
	if err != nil {
		return err
	}
	defer r.Close()
	buf := make([]byte, 1<<20)
	for err == nil && ctx.Err() == nil {
		_, err = r.Read(buf)
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return errors.Join(err, ctx.Err())
}
