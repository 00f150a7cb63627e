package notify

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// interest is what is watched of each folder. Files count when they are closed, moved here or linked, not while they are
// written: that is what the libraries for watching do not tell.
const interest = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_CREATE | unix.IN_DELETE | unix.IN_DELETE_SELF | unix.IN_MOVE_SELF |
	unix.IN_ONLYDIR | unix.IN_DONT_FOLLOW

// change is one thing that the kernel tells of a folder's tree.
type change struct {
	mask uint32
	name string // below the root; empty: the root itself
}

func (c change) is(bits uint32) bool { return c.mask&bits != 0 }

// watcher is an open watch of a tree. Its owner reads changes until they end.
type watcher struct {
	file    *os.File
	root    string
	dirs    map[uint32]string // by watch, below the root
	watches map[string]uint32
	raw     chan []rawChange
}

type rawChange struct {
	watch, mask uint32
	name        string
}

func openWatcher(root string) (*watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	w := &watcher{file: os.NewFile(uintptr(fd), "inotify"), root: root, dirs: map[uint32]string{},
		watches: map[string]uint32{}, raw: make(chan []rawChange)}
	return w, nil
}

// add watches a folder of the tree.
func (w *watcher) add(dir string) error {
	c, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	var wd int
	var failed error
	err = c.Control(func(fd uintptr) { wd, failed = unix.InotifyAddWatch(int(fd), filepath.Join(w.root, dir), interest) })
	if err = errors.Join(err, failed); err != nil {
		if errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("%s: the kernel watches no more folders for this user: raise fs.inotify.max_user_watches", dir)
		}
		return &os.PathError{Op: "watch", Path: filepath.Join(w.root, dir), Err: err}
	}
	w.dirs[uint32(wd)], w.watches[dir] = dir, uint32(wd) //nolint:gosec // a small number
	return nil
}

// forget ends the watches of a folder that is not in the tree any more, and of all below.
func (w *watcher) forget(dir string) {
	for name, wd := range w.watches {
		if name != dir && !strings.HasPrefix(name, dir+"/") {
			continue
		}
		if c, err := w.file.SyscallConn(); err == nil {
			c.Control(func(fd uintptr) { unix.InotifyRmWatch(int(fd), wd) }) //nolint:errcheck // it may be gone
		}
		delete(w.watches, name)
		delete(w.dirs, wd)
	}
}

// read sends what the kernel tells, until the file is closed.
func (w *watcher) read(done <-chan struct{}) {
	defer close(w.raw)
	buf := make([]byte, 64<<10)
	for {
		n, err := w.file.Read(buf)
		if err != nil {
			return
		}
		select {
		case w.raw <- parseChanges(buf[:n]):
		case <-done:
			return
		}
	}
}

func parseChanges(b []byte) (list []rawChange) {
	for len(b) >= unix.SizeofInotifyEvent {
		length := int(binary.NativeEndian.Uint32(b[12:]))
		end := min(unix.SizeofInotifyEvent+length, len(b))
		name := b[unix.SizeofInotifyEvent:end]
		if i := bytes.IndexByte(name, 0); i >= 0 {
			name = name[:i]
		}
		list = append(list, rawChange{binary.NativeEndian.Uint32(b), binary.NativeEndian.Uint32(b[4:]), string(name)})
		b = b[end:]
	}
	return list
}

// named is a change by its name in the tree; false: it is about nothing that is watched any more.
func (w *watcher) named(r rawChange) (change, bool) {
	if r.mask&unix.IN_Q_OVERFLOW != 0 {
		return change{mask: r.mask}, true
	}
	dir, ok := w.dirs[r.watch]
	if r.mask&unix.IN_IGNORED != 0 {
		delete(w.dirs, r.watch)
		if w.watches[dir] == r.watch {
			delete(w.watches, dir)
		}
		return change{}, false
	}
	return change{r.mask, path.Join(dir, r.name)}, ok
}

func (w *watcher) close() { w.file.Close() }
