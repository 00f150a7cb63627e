// Package cpio writes what the kernel unpacks at its start: an initramfs, in the format that it calls newc. Entries have no
// owner and no time, and are numbered in their order: the same content gives the same bytes.
// Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.
package cpio

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Kinds of entries, as in st_mode.
const (
	folder = 0o040000
	device = 0o020000
	file   = 0o100000
	link   = 0o120000
)

// trailer is the name of the entry that ends an archive.
const trailer = "TRAILER!!!"

// Writer writes an archive. The first error ends it: whatever comes after is dropped, and Close returns it.
type Writer struct {
	w    io.Writer
	err  error
	made int // entries
}

// NewWriter begins an archive in w, which nobody closes.
func NewWriter(w io.Writer) *Writer { return &Writer{w: w} }

// Fail ends the archive with an error, if it had none yet.
func (w *Writer) Fail(err error) {
	if w.err == nil {
		w.err = err
	}
}

// Err is the first error.
func (w *Writer) Err() error { return w.err }

// Close writes the end, and returns the first error of all.
func (w *Writer) Close() error {
	w.entry(trailer, 0, 0, 0, 0, nil)
	return w.err
}

// Folder adds a folder that all may read. The kernel makes none by itself: those above an entry come before it.
func (w *Writer) Folder(name string) { w.entry(name, folder|0o755, 0, 0, 0, nil) }

// File adds a file of that many bytes. A content that ends before is an error, what it has more is left.
func (w *Writer) File(name string, permissions uint32, size int64, content io.Reader) {
	w.entry(name, file|permissions, 0, 0, size, content)
}

// Bytes adds a file.
func (w *Writer) Bytes(name string, permissions uint32, b []byte) {
	w.File(name, permissions, int64(len(b)), bytes.NewReader(b))
}

// Link adds a symbolic link.
func (w *Writer) Link(name, to string) {
	w.entry(name, link|0o777, 0, 0, int64(len(to)), strings.NewReader(to))
}

// Device adds a character device.
func (w *Writer) Device(name string, permissions, major, minor uint32) {
	w.entry(name, device|permissions, major, minor, 0, nil)
}

// entry writes one: numbers of 8 hexadecimal digits, the name with its NUL, the content. Name and content are each filled
// up to a multiple of four bytes, at which everything in an archive begins.
func (w *Writer) entry(name string, mode, major, minor uint32, size int64, content io.Reader) {
	if w.err != nil {
		return
	}
	w.made++
	const links, none = 1, 0
	head := fmt.Sprintf("070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00", w.made, mode, none, none, links, none,
		size, none, none, major, minor, len(name)+1, none, name)
	_, w.err = io.WriteString(w.w, head+fill(int64(len(head))))
	if w.err == nil && content != nil {
		var n int64
		if n, w.err = io.Copy(w.w, io.LimitReader(content, size)); w.err == nil && n != size {
			w.err = fmt.Errorf("cpio: %s has %d bytes, not %d", name, n, size)
		}
	}
	if w.err == nil {
		_, w.err = io.WriteString(w.w, fill(size))
	}
}

func fill(n int64) string { return "\x00\x00\x00"[:(4-n%4)%4] }
