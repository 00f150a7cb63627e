package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/fd"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sentry/state/checkpointfiles"
	"gvisor.dev/gvisor/pkg/sentry/state/stateio"
)

// files implements stateipc.AsyncFileServerImpl: what gVisor's restore opens.
type files struct{ src *source }

// Destroy implements stateipc.AsyncFileServerImpl.
func (*files) Destroy() {}

// OpenWrite implements stateipc.AsyncFileServerImpl.
func (*files) OpenWrite(path string) (stateio.AsyncWriter, error) {
	return nil, fmt.Errorf("%s: read-only", path)
}

// OpenRead implements stateipc.AsyncFileServerImpl.
func (f *files) OpenRead(path string) (stateio.AsyncReader, error) {
	switch path {
	case checkpointfiles.StateFileName:
		return &stream{src: f.src, isState: true}, nil
	case checkpointfiles.PagesMetadataFileName:
		return &stream{src: f.src}, nil
	case checkpointfiles.PagesFileName:
		return &pages{src: f.src}, nil
	}
	return nil, fmt.Errorf("%s: %w", path, unix.ENOENT)
}

// A read that gVisor has asked for.
type read struct {
	id  int
	off int64
	dst []byte
}

// stream serves the state, or the pages' metadata, from memory. Reads past what may be seen wait.
type stream struct {
	stateio.NoRegisterClientFD
	src     *source
	isState bool
	queue   []read
}

// headSize is the size of a read of a stream, and what the head of the state is padded to: so it is one read of its own.
const headSize = 16 << 10

func (s *stream) Close() error         { return nil }
func (s *stream) MaxReadBytes() uint64 { return headSize }
func (s *stream) MaxRanges() int       { return 1 }
func (s *stream) MaxParallel() int     { return 32 }

// AddRead implements stateio.AsyncReader.
func (s *stream) AddRead(id int, off int64, _ stateio.DestinationFile, _ memmap.FileRange, dst []byte) {
	s.queue = append(s.queue, read{id, off, dst})
}

// AddReadv implements stateio.AsyncReader. It is not called: MaxRanges is 1.
func (s *stream) AddReadv(id int, off int64, _ uint64, _ stateio.DestinationFile, _ []memmap.FileRange, dst []unix.Iovec) {
	s.AddRead(id, off, nil, memmap.FileRange{}, stateio.SliceFromIovec(dst[0]))
}

// Wait implements stateio.AsyncReader.
func (s *stream) Wait(cs []stateio.Completion, atLeast int) ([]stateio.Completion, error) {
	src := s.src
	src.mu.Lock()
	defer src.mu.Unlock()
	done := 0
	for {
		rest := s.queue[:0]
		for _, r := range s.queue {
			c, ok := s.tryLocked(r)
			if !ok {
				rest = append(rest, r)
				continue
			}
			cs = append(cs, c)
			done++
		}
		s.queue = rest
		if done >= atLeast {
			return cs, nil
		}
		if s.isState && !src.parked {
			src.parked = true
			src.news.Broadcast()
		}
		src.news.Wait()
	}
}

func (s *stream) tryLocked(r read) (stateio.Completion, bool) {
	src := s.src
	c := stateio.Completion{ID: r.id}
	if src.err != nil {
		c.Err = unix.EIO
		return c, true
	}
	data, off := src.meta, r.off
	switch {
	case s.isState && off < headSize:
		src.reserve.make() // gVisor has made its memory file by now, and may still look into /proc
		data = src.head
	case s.isState && !src.going, src.made == nil:
		return c, false
	case s.isState:
		data, off = src.state, off-headSize
		if !src.bound && off+int64(len(r.dst)) >= int64(len(data)) {
			return c, false
		}
	}
	if off < int64(len(data)) {
		c.N = uint64(copy(r.dst, data[off:]))
	}
	if c.N < uint64(len(r.dst)) {
		c.Err = io.EOF
		if s.isState && !src.drained {
			src.drained = true
			src.mark(markState)
		}
	}
	return c, true
}

// pages serves the memory. Instead of copying into a mapping of the sandbox's memory file, which faults page by page and clears each page before it is
// overwritten, it writes the file.
type pages struct {
	src   *source
	mu    sync.Mutex // guards fds
	fds   []int      // memory files: the main one, and one for each file system that keeps its files in a file of the host
	queue []pageRead
}

type pageRead struct {
	id    int
	file  destination
	off   int64
	total uint64
	to    []memmap.FileRange
}

const (
	pageReadBytes    = 256 << 10
	pageReadParallel = 16
)

// Close implements stateio.AsyncReader.
func (p *pages) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, fd := range p.fds {
		unix.Close(fd)
	}
	p.fds = nil
	p.src.reserve.close()
	p.src.mu.Lock()
	defer p.src.mu.Unlock()
	if p.src.pages != nil {
		unix.Munmap(p.src.pages)
		p.src.pages = nil
	}
	return nil
}

func (p *pages) MaxReadBytes() uint64            { return pageReadBytes }
func (p *pages) MaxRanges() int                  { return pageReadBytes / 4096 }
func (p *pages) MaxParallel() int                { return pageReadParallel }
func (p *pages) NeedRegisterDestinationFD() bool { return true }

// destination is a memory file; the first is the main one.
type destination struct {
	fd   int
	main bool
}

// RegisterDestinationFD implements stateio.AsyncReader. It may be called while reads are under way.
func (p *pages) RegisterDestinationFD(fd int32, _ uint64, _ []stateio.ClientFileRangeSetting) (stateio.DestinationFile, error) {
	d, err := unix.Dup(int(fd))
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fds = append(p.fds, d)
	return destination{d, len(p.fds) == 1}, nil
}

// AddRead implements stateio.AsyncReader.
func (p *pages) AddRead(id int, off int64, df stateio.DestinationFile, to memmap.FileRange, _ []byte) {
	p.queue = append(p.queue, pageRead{id, df.(destination), off, to.Length(), []memmap.FileRange{to}})
}

// AddReadv implements stateio.AsyncReader.
func (p *pages) AddReadv(id int, off int64, total uint64, df stateio.DestinationFile, to []memmap.FileRange, _ []unix.Iovec) {
	p.queue = append(p.queue, pageRead{id, df.(destination), off, total, to})
}

// copiers is how many reads of pages are done at once. One alone takes longer than the kernel's state takes to load beside it, as soon as there are more
// than some 30 MB.
const copiers = 2

// Wait implements stateio.AsyncReader: it does all reads that were added.
func (p *pages) Wait(cs []stateio.Completion, _ int) ([]stateio.Completion, error) {
	done := make([]stateio.Completion, len(p.queue))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(copiers, len(p.queue)) {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(done)); i = next.Add(1) - 1 {
				n, err := p.copy(p.queue[i])
				done[i] = stateio.Completion{ID: p.queue[i].id, N: n, Err: err}
			}
		})
	}
	wg.Wait()
	p.queue = p.queue[:0]
	return append(cs, done...), nil
}

func (p *pages) copy(r pageRead) (n uint64, err error) {
	from, err := p.src.awaitPages(r.off, int64(r.total))
	if err != nil {
		p.src.fail(err)
		return 0, unix.EIO
	}
	for _, to := range r.to {
		if r.file.main {
			p.src.reserve.note(to)
			if p.src.reserve.copy(to, from) {
				n += to.Length()
				from = from[to.Length():]
				continue
			}
		}
		for to.Length() > 0 {
			m, err := unix.Pwrite(r.file.fd, from[:to.Length()], int64(to.Start))
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				p.src.fail(fmt.Errorf("memory: %w", err))
				return n, err
			}
			n += uint64(m)
			from = from[m:]
			to.Start += uint64(m)
		}
	}
	p.src.mu.Lock()
	defer p.src.mu.Unlock()
	if p.src.copied += int64(n); p.src.copied == p.src.made.PagesSize {
		p.src.mark(markPages)
	}
	return n, nil
}

// awaitPages returns a range of the pages once it has arrived and was found undamaged.
func (s *source) awaitPages(off, n int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && (s.made == nil || s.ready < min(s.made.blockEnd(off+n), s.made.PagesSize)) {
		s.news.Wait()
	}
	if s.err != nil {
		return nil, s.err
	}
	if off < 0 || off+n > s.made.PagesSize {
		return nil, fmt.Errorf("%w: page at %d of %d", errDamaged, off, s.made.PagesSize)
	}
	for b := off / sumBlock; b*sumBlock < off+n; {
		switch s.blocks[b] {
		case blockChecked:
			b++
		case blockTaken: // the other copier's read ends in it, too
			s.news.Wait()
		default:
			s.blocks[b] = blockTaken
			s.mu.Unlock()
			err := checkBlock(s.pages, s.made.PagesSums, b)
			s.mu.Lock()
			if err != nil {
				s.failLocked(err) // nobody waits for the block any longer
				return nil, err
			}
			s.blocks[b] = blockChecked
			s.news.Broadcast()
		}
		if s.err != nil {
			return nil, s.err
		}
	}
	return s.pages[off : off+n], nil
}

// What is known of a block of pages.
const (
	blockTaken = 1 + iota
	blockChecked
)

// checkBlock compares a block with its sum. The pages are a mapped file: one that is cut short under us faults.
func checkBlock(pages []byte, sums []uint32, b int64) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			err = fmt.Errorf("%w: pages cut short", errDamaged)
		}
	}()
	if int(b) >= len(sums) || sum(pages[b*sumBlock:min((b+1)*sumBlock, int64(len(pages)))]) != sums[b] {
		return fmt.Errorf("%w: pages at %d are not what was saved", errDamaged, b*sumBlock)
	}
	return nil
}

// follow reads how much of the pages has arrived. A pipe that ends early is a source that failed.
func (s *source) follow(f *fd.FD) {
	defer f.Close()
	var b [8]byte
	for {
		if _, err := io.ReadFull(f, b[:]); err != nil {
			s.mu.Lock()
			short := s.ready < s.made.PagesSize
			s.mu.Unlock()
			if short {
				s.fail(fmt.Errorf("pages: the source ended early"))
			}
			return
		}
		s.mu.Lock()
		s.ready = int64(binary.BigEndian.Uint64(b[:]))
		s.news.Broadcast()
		s.mu.Unlock()
	}
}
