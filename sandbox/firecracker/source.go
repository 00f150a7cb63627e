package firecracker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"thaw/sandbox"
)

// source is a snapshot source that is being read for one restore. A read cannot be cut short: whoever waits gives up,
// and the goroutine that reads ends when the source lets it. Backend.Close waits for it.
type source struct {
	b     *Backend
	src   sandbox.SnapshotSource
	ready chan struct{} // closed when what follows is there
	got   saved
	err   error

	mu           sync.Mutex // guards what follows
	done, closed bool       // whoever comes second, read or close, closes the files
}

// saved is a snapshot as it was read, and found whole.
type saved struct {
	manifest           *manifest
	state, memory, tmp *os.File
	late               *lateMemory // instead of memory
}

// Bounds of the parts that are read before a restore begins, in bytes.
const (
	maxManifest = 64 << 20
	maxState    = 256 << 20
)

// openSource begins to read.
func (b *Backend) openSource(src sandbox.SnapshotSource) (*source, error) {
	s := &source{b: b, src: src, ready: make(chan struct{})}
	b.work.mu.Lock()
	defer b.work.mu.Unlock()
	if b.work.closed {
		return nil, sandbox.ErrClosed
	}
	b.wg.Go(s.read)
	return s, nil
}

// wait returns what was read, whose files stay the source's.
func (s *source) wait(ctx context.Context) (saved, error) {
	select {
	case <-s.ready:
		return s.got, s.err
	case <-ctx.Done():
		return saved{}, &stageError{sandbox.StageSource, context.Cause(ctx)}
	}
}

// close gives the files back, at once or when the source lets go. The machine has its own by then, or needs none.
func (s *source) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed = true; s.done {
		s.got.close()
	}
}

func (s *source) read() {
	s.err = s.open()
	s.mu.Lock()
	if s.done = true; s.closed {
		s.got.close()
	}
	s.mu.Unlock()
	close(s.ready)
}

func (s *saved) close() {
	for _, f := range []*os.File{s.state, s.memory, s.tmp} {
		if f != nil {
			f.Close()
		}
	}
}

// open opens all parts, and looks whether they are whole.
func (s *source) open() (err error) {
	if s.got.manifest, err = s.manifest(); err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		to   **os.File
		max  int64
	}{{partState, &s.got.state, maxState}, {partTmp, &s.got.tmp, 1 << 62}, {partMemory, &s.got.memory, 1 << 62}} {
		if err := s.part(part.name, part.to, part.max); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// manifest reads that part.
func (s *source) manifest() (*manifest, error) {
	p, err := s.src.Open(partManifest)
	if p.File != nil {
		defer p.File.Close()
	}
	if err == nil && (p.Size < 0 || p.Size > maxManifest) {
		err = fmt.Errorf("%d bytes", p.Size)
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.NewSectionReader(reader(p), 0, p.Size))
	}
	if err != nil {
		return nil, &stageError{sandbox.StageSource, fmt.Errorf("%s: %w", partManifest, err)}
	}
	m, err := decodeManifest(text)
	if err != nil {
		return nil, &stageError{sandbox.StageHeader, fmt.Errorf("%s: %w", partManifest, err)}
	}
	if m.Made != s.b.made { // before anything that only it knows how to read
		return nil, m.fit(&manifest{Made: s.b.made})
	}
	return m, nil
}

func reader(p sandbox.SnapshotPart) io.ReaderAt {
	if p.File != nil {
		return p.File
	}
	return p.Reader
}

// part opens a part as a file: the source's, or one of ours with what the source's reader gives.
func (s *source) part(name string, to **os.File, most int64) error {
	p, err := s.src.Open(name)
	*to = p.File
	want := s.got.manifest.Parts[name]
	if err == nil && (p.Size < 0 || p.Size > most) {
		err = fmt.Errorf("%d bytes", p.Size)
	}
	if err != nil {
		return &stageError{sandbox.StageSource, err}
	}
	if p.Size != want.Size {
		return &stageError{sandbox.StageLoad, fmt.Errorf("%w: it has %d bytes, %d were saved", errDamaged, p.Size, want.Size)}
	}
	if name == partMemory && p.File == nil && s.b.sets != nil {
		s.got.late = newLateMemory(p.Reader, want)
		return nil
	}
	if p.File != nil {
		err = s.b.verified.check(p.File, want)
	} else {
		if *to, err = s.b.scratch(); err == nil {
			err = fill(*to, p)
		}
		if err != nil {
			return &stageError{sandbox.StageSource, err}
		}
		err = want.check(*to)
	}
	if err != nil {
		return &stageError{sandbox.StageLoad, err}
	}
	return nil
}

// scratch makes a file without a name.
func (b *Backend) scratch() (*os.File, error) {
	f, err := os.CreateTemp(filepath.Join(b.opt.Dir, scratchDir), "")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// holeStep is the size of the zeros that are left out of a file of ours, in bytes.
const holeStep = 64 << 10

// fill copies a part into an empty file from beginning to end, and leaves holes where it is empty.
func fill(f *os.File, p sandbox.SnapshotPart) error {
	buf, zeros := make([]byte, sumBlock), make([]byte, holeStep)
	for off := int64(0); off < p.Size; {
		n, err := p.Reader.ReadAt(buf[:min(sumBlock, p.Size-off)], off)
		if n == 0 && err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		for at := 0; at < n; at += holeStep {
			piece := buf[at:min(at+holeStep, n)]
			if string(piece) == string(zeros[:len(piece)]) {
				continue
			}
			if _, err := f.WriteAt(piece, off+int64(at)); err != nil {
				return err
			}
		}
		off += int64(n)
	}
	return f.Truncate(p.Size)
}
