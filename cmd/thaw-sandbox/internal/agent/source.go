package agent

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/fd"

	"thaw/cmd/thaw-sandbox/internal/agent/calls"
	"thaw/cmd/thaw-sandbox/internal/statefile"
	"thaw/sandbox/gvisor/launch"
)

const (
	markGive  = "given"
	markGo    = "go"
	markBound = "files bound"
	markState = "state read"
	markPages = "pages loaded"
	markDone  = "running"
)

// mark records a point of a restore. The lock is held.
func (s *source) mark(name string) {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts)
	now := time.Now()
	if name == markGive {
		s.begin, s.cpu0 = now, ts.Nano()
	}
	s.marks = append(s.marks, launch.Mark{Name: name, Wall: now.Sub(s.begin).Seconds(), CPU: float64(ts.Nano()-s.cpu0) / 1e9})
}

// source is a snapshot as it is served to gVisor.
type source struct {
	trimOnce sync.Once
	mu       sync.Mutex // guards what follows
	news     sync.Cond
	head     []byte // set by Arm
	parked   bool
	given    bool
	going    bool
	bound    bool // the function's files are there
	drained  bool // the state was read to its end
	err      error

	reserve reserve

	made   *statefile.Made
	state  []byte // without its header
	meta   []byte
	pages  []byte // mapped
	ready  int64  // bytes of pages that are there
	copied int64
	blocks []byte // 0, blockTaken or blockChecked

	begin time.Time
	cpu0  int64
	marks []launch.Mark
}

func (s *source) init() { s.news.L = &s.mu }

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(err)
}

func (s *source) failLocked(err error) {
	if s.err == nil {
		s.err = err
	}
	s.news.Broadcast()
}

func (s *source) give(args *calls.GiveArgs) (*statefile.Made, error) {
	want := 3
	if args.Progress {
		want++
	}
	if len(args.Files) != want {
		return nil, fmt.Errorf("%d descriptors", len(args.Files))
	}
	s.mu.Lock()
	twice := s.given
	s.given = true
	if !twice {
		s.mark(markGive)
	}
	s.mu.Unlock()
	if twice {
		return nil, fmt.Errorf("a snapshot was given before")
	}
	state, err := readAll(args.Files[0])
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	made, body, err := statefile.Split(state)
	if err != nil {
		return nil, err
	}
	if err := made.Fits(args.Key); err != nil {
		return nil, err
	}
	meta, err := readAll(args.Files[1])
	if err != nil {
		return nil, fmt.Errorf("pages_meta: %w", err)
	}
	if err := made.Check(body, meta); err != nil {
		return nil, err
	}
	var pages []byte
	if made.PagesSize > 0 {
		var st unix.Stat_t
		if err := unix.Fstat(int(args.Files[2].Fd()), &st); err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
		if st.Size != made.PagesSize {
			return nil, fmt.Errorf("%w: pages of %d bytes where %d were saved", statefile.ErrDamaged, st.Size, made.PagesSize)
		}
		if pages, err = unix.Mmap(int(args.Files[2].Fd()), 0, int(made.PagesSize), unix.PROT_READ, unix.MAP_SHARED); err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
	}
	if len(body) > largeState {
		paceCollector()
	}
	s.reserve.fit(readRanges(args.Layout)) // before anything is written to it
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made, s.state, s.meta, s.pages = made, body, meta, pages
	s.blocks = make([]byte, len(made.PagesSums))
	s.ready = made.PagesSize
	if args.Progress {
		s.ready = 0
		fd, err := args.ReleaseFD(3)
		if err != nil {
			return nil, err
		}
		go s.follow(fd)
	}
	s.news.Broadcast()
	return made, nil
}

func readAll(f *os.File) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Size > statefile.MaxPart {
		return nil, fmt.Errorf("%w: %d bytes", statefile.ErrDamaged, st.Size)
	}
	b := make([]byte, st.Size)
	for n := 0; n < len(b); {
		m, err := unix.Pread(int(f.Fd()), b[n:], int64(n))
		if err != nil && err != unix.EINTR {
			return nil, err
		}
		if m == 0 && err == nil {
			return nil, fmt.Errorf("%w: it ended early", statefile.ErrDamaged)
		}
		n += max(m, 0)
	}
	return b, nil
}

// awaitPages returns a range of the pages once it has arrived and was found undamaged.
func (s *source) awaitPages(off, n int64) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.err == nil && (s.made == nil || s.ready < min(s.made.BlockEnd(off+n), s.made.PagesSize)) {
		s.news.Wait()
	}
	if s.err != nil {
		return nil, s.err
	}
	if off < 0 || off+n > s.made.PagesSize {
		return nil, fmt.Errorf("%w: page at %d of %d", statefile.ErrDamaged, off, s.made.PagesSize)
	}
	for b := off / statefile.SumBlock; b*statefile.SumBlock < off+n; {
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
			err = fmt.Errorf("%w: pages cut short", statefile.ErrDamaged)
		}
	}()
	if int(b) >= len(sums) || statefile.Sum(pages[b*statefile.SumBlock:min((b+1)*statefile.SumBlock, int64(len(pages)))]) != sums[b] {
		return fmt.Errorf("%w: pages at %d are not what was saved", statefile.ErrDamaged, b*statefile.SumBlock)
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
