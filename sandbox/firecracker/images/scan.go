package images

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// node is one file, folder or symbolic link of the host as it was looked at.
type node struct {
	name     string
	path     string // on the host
	at       stamp
	link     string  // target of a symbolic link
	children []*node // of a folder, by name
}

// stamp is what tells a file from another, and from itself before it was changed.
type stamp struct {
	dev, ino     uint64
	mode         uint32 // with the bits of the type
	uid, gid     uint32
	size         int64
	mtime, ctime int64 // nanoseconds since 1970
}

func stampOf(st *unix.Stat_t) stamp {
	return stamp{uint64(st.Dev), st.Ino, st.Mode, st.Uid, st.Gid, st.Size, st.Mtim.Nano(), st.Ctim.Nano()}
}

func (s stamp) is(kind uint32) bool { return s.mode&unix.S_IFMT == kind }

// tree is what one image is made of: the entries of its root, or its root itself.
type tree struct {
	root *node
	look string    // a sum of all that was looked at
	last time.Time // when something in it last changed
	n    int       // how many nodes
	dirs []seen    // folders, and files that are mounted alone: what quickly shows most changes
}

type seen struct {
	path string
	at   stamp
}

// scan looks at all that a group is made of. It reads no contents.
func scan(ctx context.Context, g group) (*tree, error) {
	t := &tree{}
	s := scanner{ctx: ctx, tree: t, sum: sha256.New()}
	fmt.Fprintf(s.sum, "erofs %d %v\n", format, g.whole)
	if g.whole {
		root, err := s.source(g.sources[0], "")
		if err != nil {
			return nil, err
		}
		t.root = root
	} else {
		t.root = &node{at: stamp{mode: unix.S_IFDIR | 0o755}}
		for i, source := range g.sources {
			n, err := s.source(source, entryName(i))
			if err != nil {
				return nil, err
			}
			t.root.children = append(t.root.children, n)
		}
		// As the library and the reader of an image want them; the sum above has the order of the sources.
		slices.SortFunc(t.root.children, func(a, b *node) int { return strings.Compare(a.name, b.name) })
	}
	t.look = hex.EncodeToString(s.sum.Sum(nil))
	return t, nil
}

type scanner struct {
	ctx  context.Context
	tree *tree
	sum  hash.Hash
	buf  []byte
}

// source looks at a folder or a file that is mounted. Its path has no symbolic links any more.
func (s *scanner) source(path, name string) (*node, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	n := &node{name: name, path: path, at: stampOf(&st)}
	switch {
	case n.at.is(unix.S_IFREG):
		s.tree.dirs = append(s.tree.dirs, seen{path, n.at})
		s.add(n)
	case n.at.is(unix.S_IFDIR):
		f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return nil, err
		}
		if err := s.folder(n, f); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("%s is neither a file nor a folder", path)
	}
	return n, nil
}

// folder looks at what is in an open folder, and closes it.
func (s *scanner) folder(n *node, f *os.File) error {
	defer f.Close()
	if err := context.Cause(s.ctx); err != nil {
		return err
	}
	s.tree.dirs = append(s.tree.dirs, seen{n.path, n.at})
	s.add(n)
	names, err := f.Readdirnames(-1)
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		var st unix.Stat_t
		err := unix.Fstatat(int(f.Fd()), name, &st, unix.AT_SYMLINK_NOFOLLOW)
		if errors.Is(err, unix.ENOENT) {
			continue // removed since: as if it had never been
		}
		c := &node{name: name, path: filepath.Join(n.path, name), at: stampOf(&st)}
		if err != nil {
			return &fs.PathError{Op: "lstat", Path: c.path, Err: err}
		}
		if err := s.child(c, f); err != nil {
			return err
		}
		switch {
		case c.at.is(unix.S_IFREG), c.at.is(unix.S_IFDIR), c.at.is(unix.S_IFLNK):
			n.children = append(n.children, c)
		}
	}
	s.buf = append(s.buf[:0], "up\n"...)
	s.sum.Write(s.buf)
	return nil
}

// child looks at what is in a folder. Sockets, pipes and devices are passed over: they are the host's, and would be of no use
// in a machine.
func (s *scanner) child(c *node, parent *os.File) error {
	switch {
	case c.at.is(unix.S_IFREG):
		s.add(c)
	case c.at.is(unix.S_IFLNK):
		var to [unix.PathMax]byte
		k, err := unix.Readlinkat(int(parent.Fd()), c.name, to[:])
		if err != nil {
			return s.changed("readlink", c.path, err)
		}
		c.link = string(to[:k])
		s.add(c)
	case c.at.is(unix.S_IFDIR):
		fd, err := unix.Openat(int(parent.Fd()), c.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return s.changed("open", c.path, err)
		}
		return s.folder(c, os.NewFile(uintptr(fd), c.path))
	}
	return nil
}

// changed is the error of a look that met something else than was there a moment before.
func (s *scanner) changed(op, path string, err error) error {
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("%s: %w", path, ErrChanging)
	}
	return &fs.PathError{Op: op, Path: path, Err: err}
}

// add counts a node into the sum. Of folders neither times nor inodes count: what is in them does.
func (s *scanner) add(n *node) {
	b := append(s.buf[:0], n.name...)
	b = append(b, 0)
	b = append(b, n.link...)
	b = append(b, 0)
	b = binary.LittleEndian.AppendUint32(b, n.at.mode)
	b = binary.LittleEndian.AppendUint32(b, n.at.uid)
	b = binary.LittleEndian.AppendUint32(b, n.at.gid)
	if n.at.is(unix.S_IFREG) {
		for _, v := range []uint64{n.at.dev, n.at.ino, uint64(n.at.size), uint64(n.at.mtime), uint64(n.at.ctime)} {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	s.buf = b
	s.sum.Write(b)
	s.tree.n++
	if at := time.Unix(0, n.at.ctime); at.After(s.tree.last) {
		s.tree.last = at
	}
}

// unmoved says whether the folders of a look, and the files that are mounted alone, are still what they were then. A file that was
// written in place since, without being replaced, does not show here.
func unmoved(dirs []seen) bool {
	for _, d := range dirs {
		var st unix.Stat_t
		if unix.Lstat(d.path, &st) != nil || stampOf(&st) != d.at {
			return false
		}
	}
	return true
}
