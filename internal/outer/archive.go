package outer

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

// archive writes an initramfs: a cpio archive of the form that the kernel calls newc, not compressed, since emulation
// unpacks slowly. The first error is kept and ends it.
// Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst.
type archive struct {
	w       io.Writer
	inode   int
	folders map[string]bool
	err     error
}

// Types of entries, as in st_mode.
const (
	modeFile, modeFolder, modeLink, modeDevice = 0o100000, 0o040000, 0o120000, 0o020000
)

func newArchive(w io.Writer) *archive {
	return &archive{w: w, folders: map[string]bool{".": true, "/": true}}
}

func (a *archive) fail(err error) {
	if a.err == nil {
		a.err = err
	}
}

// entry writes one entry, after the folders above it. Sizes and numbers are 8 hexadecimal digits; the name, with its NUL,
// and the content are filled up to multiples of 4 bytes.
func (a *archive) entry(name string, mode int, size int64, major, minor int, content io.Reader) {
	name = strings.TrimPrefix(name, "/")
	if parent := path.Dir(name); name != trailer {
		a.folder(parent)
	}
	if a.err != nil {
		return
	}
	a.inode++
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.inode, mode, 0, 0, 1, 0, size, 0, 0, major, minor, len(name)+1, 0, name)
	_, err := io.WriteString(a.w, head+fill(int64(len(head))))
	if err == nil && content != nil {
		var n int64
		if n, err = io.Copy(a.w, io.LimitReader(content, size)); err == nil && n != size {
			err = fmt.Errorf("%s became shorter while it was packed", name)
		}
	}
	if err == nil {
		_, err = io.WriteString(a.w, fill(size))
	}
	a.fail(err)
}

func fill(n int64) string { return "\x00\x00\x00"[:(4-n%4)%4] }

func (a *archive) folder(name string) {
	name = strings.TrimPrefix(path.Clean(name), "/")
	if name == "" || a.folders[name] {
		return
	}
	a.folders[name] = true
	a.entry(name, modeFolder|0o755, 0, 0, 0, nil)
}

// file adds a file of this host, which has its permissions there too.
func (a *archive) file(name, here string) {
	f, err := os.Open(here)
	if err != nil {
		a.fail(err)
		return
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		a.fail(err)
		return
	}
	a.entry(name, modeFile|int(info.Mode().Perm()), info.Size(), 0, 0, f)
}

func (a *archive) link(name, here string) {
	to, err := os.Readlink(here)
	if err != nil {
		a.fail(err)
		return
	}
	a.entry(name, modeLink|0o777, int64(len(to)), 0, 0, strings.NewReader(to))
}

func (a *archive) device(name string, major, minor int) {
	a.entry(name, modeDevice|0o600, 0, major, minor, nil)
}

// trailer is the name of the entry that ends an archive.
const trailer = "TRAILER!!!"

func (a *archive) end() error {
	a.entry(trailer, 0, 0, 0, 0, nil)
	return a.err
}
