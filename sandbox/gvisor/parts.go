package gvisor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"thaw/sandbox"
)

// parts are those of a snapshot source, in the order of sandbox.Parts.
type parts []sandbox.SnapshotPart

// maxWhole bounds the parts that are read before a restore begins, in bytes.
const maxWhole = 256 << 20

func openParts(src sandbox.SnapshotSource) (parts, error) {
	var ps parts
	for _, name := range sandbox.Parts {
		p, err := src.Open(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if p.Size < 0 || (name != sandbox.PartPages && p.Size > maxWhole) {
			return nil, fmt.Errorf("%s: %d bytes", name, p.Size)
		}
		ps = append(ps, p)
	}
	return ps, nil
}

// files are the parts as the sandbox reads them, to be closed by the caller. Pages that come from a reader go through memory of ours that is filled while
// the sandbox reads; a pipe, last, tells it how far.
func (ps parts) files(s *Sandbox) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeAll(files)
			files = nil
		}
	}()
	for i, p := range ps {
		if p.File != nil {
			f, err := dup(p.File)
			if err != nil {
				return files, err
			}
			files = append(files, f)
			continue
		}
		f, err := memoryFile(sandbox.Parts[i], p.Size)
		if err != nil {
			return files, err
		}
		files = append(files, f)
		if sandbox.Parts[i] != sandbox.PartPages {
			if err := fill(f, p, func(int64) error { return nil }); err != nil {
				return files, fmt.Errorf("%s: %w", sandbox.Parts[i], err)
			}
			continue
		}
		r, w, err := os.Pipe()
		if err != nil {
			return files, fmt.Errorf("%s: %w", sandbox.Parts[i], err)
		}
		own, err := dup(f)
		if err != nil {
			r.Close()
			w.Close()
			return files, err
		}
		files = append(files, r)
		s.wg.Go(func() {
			defer w.Close()
			defer own.Close()
			if err := fill(own, p, func(n int64) error {
				select {
				case <-s.closing:
					return sandbox.ErrClosed
				default:
				}
				_, err := w.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
				return err
			}); err != nil && !errors.Is(err, sandbox.ErrClosed) && !errors.Is(err, unix.EPIPE) {
				s.b.log.Warn("snapshot source", "sandbox", s.name, "err", err)
			}
		})
	}
	return files, nil
}

// fillStep is how much is read from a source at once, in bytes.
const fillStep = 1 << 20

// fill copies a part into f from beginning to end and tells how far it is after each step.
func fill(f *os.File, p sandbox.SnapshotPart, arrived func(int64) error) error {
	buf := make([]byte, min(fillStep, p.Size))
	for off := int64(0); off < p.Size; {
		n, err := p.Reader.ReadAt(buf[:min(fillStep, p.Size-off)], off)
		if n == 0 && err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if _, err := f.WriteAt(buf[:n], off); err != nil {
			return err
		}
		off += int64(n)
		if err := arrived(off); err != nil {
			return err
		}
	}
	return nil
}

func memoryFile(name string, size int64) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := f.Truncate(size); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

func dup(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
