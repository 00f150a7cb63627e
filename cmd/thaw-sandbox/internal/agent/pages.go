package agent

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/memmap"
	"gvisor.dev/gvisor/pkg/sentry/state/stateio"
)

// pages serves the memory. Instead of copying into a mapping of the sandbox's memory file, which faults page by page
// and clears each page before it is overwritten, it writes the file.
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

// copiers is how many reads of pages are done at once. One alone takes longer than the kernel's state takes to load
// beside it, as soon as there are more than some 30 MB.
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
