package firecracker

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"sync"

	"thaw/sandbox/firecracker/pages"
	"thaw/sandbox/firecracker/vmm"
)

// lateMemory is the memory of a snapshot that is not here as a file: a machine that runs already reads what it touches.
// A block is compared with what was saved when something of it is first read.
type lateMemory struct {
	r    io.ReaderAt
	want sums

	life   sync.Mutex // guards closed, and what is added to reads
	closed bool
	reads  sync.WaitGroup // of r that are under way

	mu   sync.Mutex // held while a block is compared
	good []bool     // blocks that were found whole
}

var _ vmm.Pages = (*lateMemory)(nil)

func newLateMemory(r io.ReaderAt, want sums) *lateMemory {
	return &lateMemory{r: r, want: want, good: make([]bool, len(want.Blocks))}
}

// Size implements vmm.Pages.
func (l *lateMemory) Size() int64 { return l.want.Size }

// close refuses what is not under way. Reads that are may hang: wait waits for them.
func (l *lateMemory) close() {
	l.life.Lock()
	defer l.life.Unlock()
	l.closed = true
}

func (l *lateMemory) wait() { l.reads.Wait() }

func (l *lateMemory) begin() bool {
	l.life.Lock()
	defer l.life.Unlock()
	if !l.closed {
		l.reads.Add(1)
	}
	return !l.closed
}

// ReadAt implements io.ReaderAt.
func (l *lateMemory) ReadAt(p []byte, off int64) (n int, err error) {
	if !l.begin() {
		return 0, os.ErrClosed
	}
	defer l.reads.Done()
	for n < len(p) && off < l.want.Size {
		block := off / sumBlock
		rest := min(int64(len(p)-n), (block+1)*sumBlock-off, l.want.Size-off)
		if err := l.readIn(block, p[n:n+int(rest)], off); err != nil {
			return n, err
		}
		n, off = n+int(rest), off+rest
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// blockBufs are buffers for a block, as *[]byte.
var blockBufs = sync.Pool{New: func() any { b := make([]byte, sumBlock); return &b }}

// readIn reads what lies within one block.
func (l *lateMemory) readIn(block int64, p []byte, off int64) error {
	if block >= int64(len(l.want.Blocks)) {
		return errDamaged
	}
	l.mu.Lock()
	if l.good[block] {
		l.mu.Unlock()
		return whole(l.r.ReadAt(p, off))(len(p))
	}
	defer l.mu.Unlock()
	pooled := blockBufs.Get().(*[]byte)
	defer blockBufs.Put(pooled)
	start := block * sumBlock
	b := (*pooled)[:min(sumBlock, l.want.Size-start)]
	if err := whole(l.r.ReadAt(b, start))(len(b)); err != nil {
		return err
	}
	if crc32.Checksum(b, castagnoli) != l.want.Blocks[block] {
		return fmt.Errorf("memory: %w: at %d MiB", errDamaged, start>>20)
	}
	l.good[block] = true
	copy(p, b[off-start:])
	return nil
}

// whole is the error of a read that gave less than was wanted.
func whole(n int, err error) func(want int) error {
	return func(want int) error {
		if n == want {
			return nil
		}
		if err == nil || errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("memory: %w", err)
	}
}

// late is what is noted of a machine whose memory is served.
type late struct {
	memory   *lateMemory
	snapshot string // the manifest's sum
	known    int64  // pages of the working set that it was given
	trace    *pages.Trace
	kept     bool
}

// serveLate has a machine's memory served, and notes what it asks for.
func (s *Sandbox) serveLate(saved *vmm.Saved) {
	memory, id := s.restoring.late, s.restoring.manifest.sum
	saved.Pages, saved.WorkingSet, saved.Trace = memory, s.b.sets.Get(id, memory.Size()), new(pages.Trace)
	s.late = &late{memory: memory, snapshot: id, known: saved.WorkingSet.Pages(), trace: saved.Trace}
}

// keepWorkingSet keeps what the machine has asked for since its restore, once: up to its first freeze, which comes after
// its first invoke, or its end. The next machine is given that. One that asked for little more than it was given teaches nothing.
func (s *Sandbox) keepWorkingSet() {
	s.mu.Lock()
	l := s.late
	first := l != nil && !l.kept
	if first {
		l.kept = true
	}
	s.mu.Unlock()
	if !first || l.trace.Counts().Faults*10 <= l.known {
		return
	}
	if err := s.b.sets.Put(l.snapshot, l.trace.WorkingSet()); err != nil {
		s.b.log.Warn("what a machine needs after its restore is not kept: the next ones are slower", "sandbox", s.id, "err", err)
	}
}
