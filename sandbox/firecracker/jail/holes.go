package jail

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// grain is the least range that becomes a hole, in bytes: with less, a file would have more pieces than it saves pages.
const grain = 64 << 10

// window is how much of a file is read at a time, in bytes.
const window = 1 << 20

var zeros [grain]byte

// digHoles makes holes of ranges of zeros. A file system without holes keeps its zeros.
func digHoles(f *os.File) error {
	err := eachRange(f, func(at int64, b []byte) error {
		for i, n := 0, 0; i < len(b); i += n {
			if n = zerosIn(b[i:]); n == 0 {
				n = grain
				continue
			}
			n = min(n, len(b)-i)
			if err := unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, at+int64(i), int64(n)); err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("holes: %w", err)
	}
	return nil
}

// zerosIn counts the bytes of zeros that b begins with, in whole grains; the last may be cut short by the end.
func zerosIn(b []byte) (n int) {
	for n < len(b) {
		part := b[n:min(n+grain, len(b))]
		if !bytes.Equal(part, zeros[:len(part)]) {
			return n
		}
		n += len(part)
	}
	return n
}

// copyHoles copies a file into an empty one, and leaves out what is zero.
func copyHoles(to, from *os.File) error {
	fi, err := from.Stat()
	if err != nil {
		return err
	}
	if err := unix.IoctlFileClone(int(to.Fd()), int(from.Fd())); err == nil { // where both share their blocks
		return nil
	}
	if err := to.Truncate(fi.Size()); err != nil {
		return err
	}
	return eachRange(from, func(at int64, b []byte) error {
		for i, n := 0, 0; i < len(b); i += n {
			if n = zerosIn(b[i:]); n > 0 {
				continue
			}
			n = min(grain, len(b)-i)
			if _, err := to.WriteAt(b[i:i+n], at+int64(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// eachRange reads what is in a file and no hole.
func eachRange(f *os.File, do func(at int64, b []byte) error) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	buf := make([]byte, window)
	for at, size := int64(0), fi.Size(); at < size; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) { // holes follow
			return nil
		}
		if err != nil {
			return fmt.Errorf("holes of %s: %w", f.Name(), err)
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return fmt.Errorf("holes of %s: %w", f.Name(), err)
		}
		for at = data; at < min(hole, size); {
			n, err := f.ReadAt(buf[:min(int64(window), hole-at)], at)
			if n == 0 {
				return errors.Join(io.ErrUnexpectedEOF, err)
			}
			if err := do(at, buf[:n]); err != nil {
				return err
			}
			at += int64(n)
		}
	}
	return nil
}
