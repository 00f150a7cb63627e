package gvisor

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"thaw/sandbox"
)

// The parts of a snapshot, in the order in which launch.OpSave and OpGive have their files.
const (
	partState     = "state"      // the kernel's objects, some 0.3 MB; begins with a JSON header that names what made it
	partPagesMeta = "pages_meta" // which page of memory lies where in partPages, some KB
	partPages     = "pages"      // the memory itself, in whole pages of 4096 bytes; zero pages are left out
)

var parts = []string{partState, partPagesMeta, partPages}

// source is a snapshot source that is being read for one restore. A read cannot be cut short: whoever waits gives up, and the goroutine that reads
// ends when the source lets it. Backend.Close waits for it.
type source struct {
	b     *Backend
	src   sandbox.SnapshotSource
	ready chan struct{} // closed when files and err are there
	files []*os.File    // as the sandbox reads them: the parts, and a pipe when the pages have yet to arrive
	err   error

	mu           sync.Mutex // guards what follows
	done, closed bool       // whoever comes second, read or close, closes the files
}

// maxWhole bounds the parts that are read before a restore begins, in bytes.
const maxWhole = 256 << 20

// openSource begins to read.
func (b *Backend) openSource(src sandbox.SnapshotSource) (*source, error) {
	s := &source{b: b, src: src, ready: make(chan struct{})}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil, sandbox.ErrClosed
	}
	b.wg.Go(s.read)
	return s, nil
}

// wait returns the files, which stay the source's.
func (s *source) wait(ctx context.Context) ([]*os.File, error) {
	select {
	case <-s.ready:
		return s.files, s.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// close gives the files back, at once or when the source lets go. The sandbox has its own by then, or needs none.
func (s *source) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed = true; s.done {
		closeAll(s.files)
	}
}

func (s *source) read() {
	var rest func()
	s.files, rest, s.err = s.open()
	s.mu.Lock()
	if s.done = true; s.closed {
		closeAll(s.files)
	}
	s.mu.Unlock()
	close(s.ready)
	if rest != nil {
		rest()
	}
}

// open opens all parts. Pages that come from a reader go through memory of ours that is filled, by rest, while the sandbox reads it; a pipe tells it how far.
func (s *source) open() (files []*os.File, rest func(), err error) {
	for _, name := range parts {
		p, err := s.src.Open(name)
		if err != nil {
			return files, nil, fmt.Errorf("%s: %w", name, err)
		}
		if p.File != nil {
			files = append(files, p.File)
		}
		if p.Size < 0 || (name != partPages && p.Size > maxWhole) {
			return files, nil, fmt.Errorf("%s: %d bytes", name, p.Size)
		}
		if p.File != nil {
			continue
		}
		f, err := memoryFile(name, p.Size)
		if err != nil {
			return files, nil, fmt.Errorf("%s: %w", name, err)
		}
		files = append(files, f)
		if name != partPages {
			if err := fill(f, p, func(int64) error { return nil }); err != nil {
				return files, nil, fmt.Errorf("%s: %w", name, err)
			}
			continue
		}
		own, err := dup(f)
		if err != nil {
			return files, nil, fmt.Errorf("%s: %w", name, err)
		}
		r, w, err := os.Pipe()
		if err != nil {
			own.Close()
			return files, nil, fmt.Errorf("%s: %w", name, err)
		}
		files = append(files, r)
		rest = func() { s.fillPages(own, w, p) }
	}
	return files, rest, nil
}

// fillPages ends early when nobody wants the pages any more; the sandbox sees by the pipe's end that some are missing.
func (s *source) fillPages(to, progress *os.File, p sandbox.SnapshotPart) {
	defer progress.Close()
	defer to.Close()
	err := fill(to, p, func(n int64) error {
		_, err := progress.Write(binary.BigEndian.AppendUint64(nil, uint64(n)))
		return err
	})
	if err != nil && !errors.Is(err, unix.EPIPE) { // EPIPE: the sandbox has ended
		s.b.log.Warn("snapshot source", "err", err)
	}
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
