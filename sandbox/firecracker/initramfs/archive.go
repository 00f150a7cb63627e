package initramfs

import (
	"fmt"
	"io"
)

// Kinds of entries, as stat has them.
const (
	kindFolder = 0o040000
	kindDevice = 0o020000
	kindFile   = 0o100000
)

// archive writes the format newc of cpio. Entries have no owner and no time, and are numbered in their order: what is
// not asked for cannot differ. Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
type archive struct {
	w    io.Writer
	err  error // the first; whatever is written after it is dropped
	made int   // entries
}

func (a *archive) folder(name string)                       { a.entry(name, kindFolder|0o755, 0, 0, nil) }
func (a *archive) bytes(name string, b []byte, mode uint32) { a.entry(name, kindFile|mode, 0, 0, b) }
func (a *archive) device(name string, mode, major, minor uint32) {
	a.entry(name, kindDevice|mode, major, minor, nil)
}

// end closes the archive, and returns the first error of all.
func (a *archive) end() error {
	a.entry("TRAILER!!!", 0, 0, 0, nil)
	return a.err
}

func (a *archive) entry(name string, mode, major, minor uint32, data []byte) {
	a.made++
	const links, none = 1, 0
	head := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", a.made, mode, none, none, links, none,
		len(data), none, none, major, minor, len(name)+1, none)
	a.write([]byte(head + name + "\x00"))
	a.write(data)
}

// write writes b and fills up to a multiple of four bytes, at which everything in the archive begins.
func (a *archive) write(b []byte) {
	if a.err == nil {
		_, a.err = a.w.Write(b)
	}
	if rest := len(b) % 4; rest != 0 && a.err == nil {
		_, a.err = a.w.Write(make([]byte, 4-rest))
	}
}
