package firecracker

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// extent is a range of a file that is not a hole, in bytes.
type extent struct {
	Offset int64 `json:"o"`
	Length int64 `json:"n"`
}

// extents are the ranges of a file that hold something, in order. A file system that knows no holes has one.
func extents(f *os.File) (list []extent, err error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, err
	}
	for off, size := int64(0), fi.Size(); off < size; {
		data, err := unix.Seek(int(f.Fd()), off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // nothing but a hole follows
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("holes of %s: %w", f.Name(), err)
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return nil, fmt.Errorf("holes of %s: %w", f.Name(), err)
		}
		hole = min(hole, size)
		list = append(list, extent{data, hole - data})
		off = hole
	}
	return list, nil
}

// fits says whether extents lie in order within a file of that size, and how many bytes they have.
func fits(list []extent, size int64) (total int64, ok bool) {
	end := int64(0)
	for _, e := range list {
		if e.Offset < end || e.Length <= 0 || e.Length > size || e.Offset > size-e.Length {
			return 0, false
		}
		end = e.Offset + e.Length
		total += e.Length
	}
	return total, true
}

// pack writes the extents of a file, one after the other.
func pack(to io.Writer, f *os.File, list []extent) error {
	for _, e := range list {
		if n, err := io.Copy(to, io.NewSectionReader(f, e.Offset, e.Length)); err != nil {
			return err
		} else if n != e.Length {
			return io.ErrUnexpectedEOF
		}
	}
	return nil
}

// unpack is the way back, into an empty file of that size.
func unpack(f *os.File, from io.Reader, list []extent, size int64) error {
	if err := f.Truncate(size); err != nil {
		return err
	}
	for _, e := range list {
		if _, err := io.CopyN(io.NewOffsetWriter(f, e.Offset), from, e.Length); err != nil {
			return err
		}
	}
	return nil
}
