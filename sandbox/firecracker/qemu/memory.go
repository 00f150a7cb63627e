package qemu

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"thaw/sandbox/firecracker/vmm"
)

// pageSize is the size by which memory is written or left as a hole.
const pageSize = 4096

// memory is what a machine's memory is mapped from.
type memory struct {
	file   *os.File
	shared bool // what the machine writes is in the file
}

func (m *memory) close() { m.file.Close() }

// newMemory is empty.
func newMemory(mib int, shared bool) (*memory, error) {
	fd, err := unix.MemfdCreate("thaw machine", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("memfd_create", err)
	}
	m := &memory{os.NewFile(uintptr(fd), "memory"), shared}
	// QEMU opens it anew, by the user that it runs as. No other process has a way to it.
	if err := errors.Join(m.file.Chmod(0o666), m.file.Truncate(int64(mib)<<20)); err != nil {
		m.close()
		return nil, fmt.Errorf("memory: %w", err)
	}
	return m, nil
}

// savedMemory is that of a snapshot: the snapshot's file itself where QEMU may open it, else a copy. QEMU opens memory to
// write even where it maps it privately, so a user of its own is not given the file: others run from it.
func savedMemory(mib int, s vmm.Saved, uid, gid int) (*memory, error) {
	size := int64(mib) << 20
	if s.Memory == nil && s.Pages == nil {
		return nil, errors.New("snapshot without memory")
	}
	if s.Memory == nil {
		return copyMemory(mib, s.Pages, s.Pages.Size())
	}
	fi, err := s.Memory.Stat()
	if err != nil {
		return nil, fmt.Errorf("memory: %w", err)
	}
	switch {
	case fi.Size() == 0: // it is in the stream
		return newMemory(mib, false)
	case fi.Size() != size:
		return nil, fmt.Errorf("memory of %d bytes in a machine of %d", fi.Size(), size)
	case !mayWrite(fi, uid, gid):
		return copyMemory(mib, s.Memory, size)
	}
	fd, err := unix.FcntlInt(s.Memory.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	return &memory{os.NewFile(uintptr(fd), "memory"), false}, nil
}

// mayWrite says whether a user may open a file to write: QEMU opens memory so also where it maps it privately.
func mayWrite(fi os.FileInfo, uid, gid int) bool {
	if uid == 0 { // whom this process runs as
		uid, gid = os.Getuid(), os.Getgid()
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	if uid == 0 || !ok {
		return uid == 0
	}
	switch {
	case int(st.Uid) == uid:
		return fi.Mode()&0o600 == 0o600
	case int(st.Gid) == gid:
		return fi.Mode()&0o060 == 0o060
	}
	return fi.Mode()&0o006 == 0o006
}

func copyMemory(mib int, from io.ReaderAt, size int64) (*memory, error) {
	if size != int64(mib)<<20 {
		return nil, fmt.Errorf("memory of %d bytes in a machine of %d", size, int64(mib)<<20)
	}
	m, err := newMemory(mib, true)
	if err != nil {
		return nil, err
	}
	if err := copyPages(m.file, from, 0, size); err != nil {
		m.close()
		return nil, fmt.Errorf("memory: %w", err)
	}
	return m, nil
}

// save copies the memory into an empty file, with holes where nothing is.
func (m *memory) save(to *os.File) error {
	fi, err := m.file.Stat()
	if err != nil {
		return err
	}
	if err := to.Truncate(fi.Size()); err != nil {
		return err
	}
	fd := int(m.file.Fd())
	for at := int64(0); at < fi.Size(); {
		from, err := unix.Seek(fd, at, unix.SEEK_DATA)
		if err == unix.ENXIO {
			return nil
		}
		if err != nil {
			return os.NewSyscallError("lseek", err)
		}
		if at, err = unix.Seek(fd, from, unix.SEEK_HOLE); err != nil {
			return os.NewSyscallError("lseek", err)
		}
		if err := copyPages(to, m.file, from, at); err != nil {
			return err
		}
	}
	return nil
}

var zeros [pageSize]byte

// copyPages copies a range, without the pages that are zero.
func copyPages(to io.WriterAt, from io.ReaderAt, begin, end int64) error {
	buf := make([]byte, 1<<20)
	for at := begin; at < end; at += int64(len(buf)) {
		b := buf[:min(int64(len(buf)), end-at)]
		if n, err := from.ReadAt(b, at); n < len(b) {
			return fmt.Errorf("read at %d: %w", at+int64(n), err)
		}
		for i := 0; i < len(b); {
			j := i
			for j < len(b) && !bytes.Equal(b[j:min(j+pageSize, len(b))], zeros[:min(pageSize, len(b)-j)]) {
				j = min(j+pageSize, len(b))
			}
			if j > i {
				if _, err := to.WriteAt(b[i:j], at+int64(i)); err != nil {
					return err
				}
			}
			i = j + pageSize
		}
	}
	return nil
}
