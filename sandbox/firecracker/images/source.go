package images

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/erofs/go-erofs"
	"golang.org/x/sys/unix"
)

// source shows a tree that was looked at to the library that writes images. Files are opened when they are read, one at a time.
type source struct {
	ctx  context.Context
	root *node
}

func (s source) find(name string) (*node, error) {
	n := s.root
	if name == "." {
		return n, nil
	}
	for part := range strings.SplitSeq(name, "/") {
		i, ok := n.child(part)
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		n = n.children[i]
	}
	return n, nil
}

func (n *node) child(name string) (int, bool) {
	lo, hi := 0, len(n.children)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if n.children[mid].name < name {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, lo < len(n.children) && n.children[lo].name == name
}

func (s source) Open(name string) (fs.File, error) {
	n, err := s.find(name)
	if err != nil {
		return nil, err
	}
	return &content{ctx: s.ctx, n: n, left: n.at.size}, nil
}

func (s source) Stat(name string) (fs.FileInfo, error) {
	n, err := s.find(name)
	if err != nil {
		return nil, err
	}
	return entry{n}, nil
}

func (s source) ReadLink(name string) (string, error) {
	n, err := s.find(name)
	if err != nil {
		return "", err
	}
	return n.link, nil
}

func (s source) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := s.find(name)
	if err != nil {
		return nil, err
	}
	list := make([]fs.DirEntry, len(n.children))
	for i, c := range n.children {
		list[i] = entry{c}
	}
	return list, nil
}

// entry is a node as the library wants to know it.
type entry struct{ n *node }

func (e entry) Name() string               { return e.n.name }
func (e entry) Size() int64                { return e.n.at.size }
func (e entry) IsDir() bool                { return e.n.at.is(unix.S_IFDIR) }
func (e entry) Type() fs.FileMode          { return e.Mode().Type() }
func (e entry) Info() (fs.FileInfo, error) { return e, nil }
func (e entry) ModTime() time.Time         { return time.Unix(0, e.n.at.mtime) }

func (e entry) Mode() fs.FileMode {
	m := fs.FileMode(e.n.at.mode & 0o777)
	for bit, is := range map[uint32]fs.FileMode{unix.S_ISUID: fs.ModeSetuid, unix.S_ISGID: fs.ModeSetgid, unix.S_ISVTX: fs.ModeSticky} {
		if e.n.at.mode&bit != 0 {
			m |= is
		}
	}
	switch {
	case e.n.at.is(unix.S_IFDIR):
		m |= fs.ModeDir
	case e.n.at.is(unix.S_IFLNK):
		m |= fs.ModeSymlink
	}
	return m
}

// Sys has what a FileInfo has no method for.
func (e entry) Sys() any {
	st := &erofs.Stat{UID: e.n.at.uid, GID: e.n.at.gid, Nlink: 1, Mtime: buildTime}
	switch {
	case e.n.at.is(unix.S_IFREG) && e.n.at.mtime >= 0:
		st.Mtime, st.MtimeNs = uint64(e.n.at.mtime/1e9), uint32(e.n.at.mtime%1e9)
	case e.IsDir():
		st.Nlink = 2 // find(1) trusts it: two, and one for each folder inside
		for _, c := range e.n.children {
			if c.at.is(unix.S_IFDIR) {
				st.Nlink++
			}
		}
	}
	return st
}

// content reads a file that must still be the one that was looked at, before its first byte and after its last.
type content struct {
	ctx  context.Context
	n    *node
	f    *os.File
	left int64
}

func (c *content) Stat() (fs.FileInfo, error) { return entry{c.n}, nil }

func (c *content) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	if c.f == nil {
		f, err := os.OpenFile(c.n.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
			err = c.changed()
		}
		if err != nil {
			return 0, err
		}
		c.f = f
		if err := c.same(); err != nil {
			return 0, err
		}
	}
	if c.left == 0 {
		return 0, io.EOF
	}
	n, err := c.f.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err == io.EOF {
		return n, c.changed() // it is shorter than it was
	}
	if err == nil && c.left == 0 {
		err = c.same()
	}
	return n, err
}

func (c *content) changed() error { return fmt.Errorf("%s: %w", c.n.path, ErrChanging) }

func (c *content) same() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(c.f.Fd()), &st); err != nil {
		return err
	}
	if stampOf(&st) != c.n.at {
		return c.changed()
	}
	return nil
}

func (c *content) Close() error {
	if c.f == nil {
		return nil
	}
	return c.f.Close()
}
