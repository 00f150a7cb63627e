package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Numbers of include/uapi/linux/userfaultfd.h.
const (
	ioctlCopy  = 0xc028aa03
	ioctlZero  = 0xc020aa04
	ioctlWake  = 0x8010aa02
	eventFault = 0x12
	eventGone  = 0x15 // UFFD_EVENT_REMOVE
	eventUnmap = 0x16
	faultFlags = 0x6 // write-protected, minor: not registered for
	eventSize  = 32
)

// maxCopy is how much one call copies: it bounds the buffers of a server, of which there are two.
const maxCopy = 1 << 20

// errGone says that the memory is gone with its process.
var errGone = errors.New("the memory is gone")

// memory is that of one machine, seen through its userfaultfd.
type memory struct {
	f       *os.File // the userfaultfd, in the runtime's poller: no thread waits for it
	regions []region // by base
	source  Source
	trace   *Trace
	closing chan struct{}
	once    sync.Once

	// mu is held from reading an event until it is noted, and from looking at what was noted until the pages are copied: a page that
	// the machine gives back in between would get its old content again.
	mu      sync.Mutex
	removed bitmap
	seen    bitmap // asked for, or given in advance
}

func newMemory(fd int, regions []region, source Source, trace *Trace) *memory {
	n := pagesOf(source.Size())
	return &memory{f: os.NewFile(uintptr(fd), "userfaultfd"), regions: regions, source: source, trace: trace,
		closing: make(chan struct{}), removed: newBitmap(n), seen: newBitmap(n)}
}

func (m *memory) close() {
	m.once.Do(func() {
		close(m.closing)
		m.f.Close()
	})
}

// serve copies the working set and answers faults, both at once, until the memory is closed or gone. It does not wait for a
// read of the source that is under way then: it may take as long as it likes, and nothing comes of it.
func (m *memory) serve(set WorkingSet) error {
	ends := make(chan error, 2)
	go func() { ends <- m.prefetch(set) }()
	go func() { ends <- m.answer() }()
	for {
		select {
		case err := <-ends:
			if err != nil {
				m.close()
				return err
			}
		case <-m.closing:
			return errGone
		}
	}
}

// answer reads events and does what they ask for.
func (m *memory) answer() error {
	raw, err := m.f.SyscallConn()
	if err != nil {
		return err
	}
	var buf [64 * eventSize]byte
	page := make([]byte, Size)
	var waiting []int64 // pages of faults that could not be answered yet
	for {
		n := 0
		var readErr error
		err := raw.Read(func(fd uintptr) bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			n, readErr = unix.Read(int(fd), buf[:])
			if readErr == nil {
				waiting, readErr = m.noteLocked(buf[:max(n, 0)], waiting)
				return true
			}
			return len(waiting) > 0 || !errors.Is(readErr, unix.EAGAIN)
		})
		if err != nil {
			return errGone // closed
		}
		if readErr != nil && !errors.Is(readErr, unix.EAGAIN) && !errors.Is(readErr, unix.EINTR) {
			return fmt.Errorf("page server: %w", readErr)
		}
		left := waiting[:0]
		for _, p := range waiting {
			done, err := m.fault(p, page)
			if err != nil {
				return err
			}
			if !done {
				left = append(left, p)
			}
		}
		if waiting = left; len(waiting) > 0 { // something is being unmapped: its event is about to come
			m.pause()
		}
	}
}

// pause waits until the kernel may have got further.
func (m *memory) pause() {
	select {
	case <-m.closing:
	case <-time.After(100 * time.Microsecond):
	}
}

// noteLocked takes events apart: faults become pages that wait, pages given back are noted.
func (m *memory) noteLocked(events []byte, waiting []int64) ([]int64, error) {
	if len(events)%eventSize != 0 {
		return waiting, errors.New("half an event")
	}
	for ; len(events) > 0; events = events[eventSize:] {
		a, b := binary.NativeEndian.Uint64(events[8:]), binary.NativeEndian.Uint64(events[16:])
		switch events[0] {
		case eventFault:
			p, ok := m.pageOf(b)
			if !ok || a&faultFlags != 0 {
				return waiting, refuse("a fault at address %#x, with flags %#x", b, a)
			}
			waiting = append(waiting, p)
		case eventGone, eventUnmap:
			m.removeLocked(a, b)
		default:
			return waiting, refuse("event %#x", events[0])
		}
	}
	return waiting, nil
}

// removeLocked notes that pages from address start to end were given back.
func (m *memory) removeLocked(start, end uint64) {
	var n int64
	for _, r := range m.regions {
		lo, hi := max(start, r.Base), min(end, r.Base+r.Size)
		for at := lo; at < hi; at += Size {
			if m.removed.set(int64((at - r.Base + r.Offset) / Size)) {
				n++
			}
		}
	}
	m.trace.add(Counts{Removed: n})
}

func (m *memory) pageOf(address uint64) (int64, bool) {
	for _, r := range m.regions {
		if address >= r.Base && address-r.Base < r.Size {
			return int64((address - r.Base + r.Offset) / Size), true
		}
	}
	return 0, false
}

// addressOf is the inverse, and says how many pages the region has from there.
func (m *memory) addressOf(page int64) (address uint64, rest int64, ok bool) {
	at := uint64(page) * Size
	for _, r := range m.regions {
		if at >= r.Offset && at-r.Offset < r.Size {
			return r.Base + (at - r.Offset), int64((r.Size - (at - r.Offset)) / Size), true
		}
	}
	return 0, 0, false
}

// fault answers one; false: not now.
func (m *memory) fault(page int64, buf []byte) (done bool, err error) {
	if err := m.read(buf, page); err != nil {
		return false, err
	}
	m.mu.Lock()
	first := m.seen.set(page)
	zero := m.removed.has(page) || isZero(buf)
	address, _, _ := m.addressOf(page)
	n, calls, err := m.put(address, buf, zero)
	if n == 0 && err == nil {
		if first {
			m.seen.clear(page)
		}
		m.mu.Unlock()
		m.trace.add(Counts{Calls: calls})
		return false, nil
	}
	m.mu.Unlock()
	if err != nil {
		return false, err
	}
	c := Counts{Faults: 1, Calls: calls}
	switch {
	case zero:
		c.Zeros = 1
	case first: // or it was put there meanwhile
		c.Copied = Size
	}
	if first {
		m.trace.add(c, page)
	} else {
		m.trace.add(c)
	}
	return true, nil
}

// prefetch copies a working set, run after run.
func (m *memory) prefetch(set WorkingSet) error {
	if len(set) == 0 {
		return nil
	}
	buf := make([]byte, maxCopy)
	for _, r := range set {
		for r.Count > 0 {
			address, rest, ok := m.addressOf(r.Page)
			if !ok { // of another memory: it costs faults, nothing else
				break
			}
			n := min(r.Count, rest, maxCopy/Size)
			if err := m.read(buf[:n*Size], r.Page); err != nil {
				return err
			}
			if err := m.give(r.Page, address, buf[:n*Size]); err != nil {
				return err
			}
			r.Page, r.Count = r.Page+n, r.Count-n
		}
	}
	return nil
}

// give puts pages that nobody has asked for: those of zeros and the others apart, each part by one call. What is there stays.
func (m *memory) give(page int64, address uint64, b []byte) error {
	for len(b) > 0 {
		zero := isZero(b[:Size])
		n := 1
		for n*Size < len(b) && isZero(b[n*Size:(n+1)*Size]) == zero {
			n++
		}
		if err := m.giveAlike(page, address, b[:n*Size], zero); err != nil {
			return err
		}
		page, address, b = page+int64(n), address+uint64(n*Size), b[n*Size:]
	}
	return nil
}

func (m *memory) giveAlike(page int64, address uint64, b []byte, zero bool) error {
	for len(b) > 0 {
		m.mu.Lock()
		free := 0
		for free*Size < len(b) && !m.removed.has(page+int64(free)) {
			free++
		}
		done, calls, err := max(1, free), int64(0), error(nil) // the first one was given back: it stays so
		if free > 0 {
			done, calls, err = m.put(address, b[:free*Size], zero)
		}
		var asked []int64
		for i := range min(done, free) {
			if p := page + int64(i); m.seen.set(p) {
				asked = append(asked, p)
			}
		}
		m.mu.Unlock()
		if err != nil {
			return err
		}
		c, bytes := Counts{Calls: calls}, int64(len(asked))*Size
		if c.Prefetched = bytes; zero {
			c.Zeros = int64(len(asked))
		} else {
			c.Copied = bytes
		}
		m.trace.add(c, asked...)
		if done == 0 {
			m.pause()
			if isClosed(m.closing) {
				return errGone
			}
		}
		page, address, b = page+int64(done), address+uint64(done*Size), b[done*Size:]
	}
	return nil
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// read reads whole pages; behind the end there are zeros.
func (m *memory) read(b []byte, page int64) error {
	n, err := m.source.ReadAt(b, page*Size)
	if n == len(b) || errors.Is(err, io.EOF) && page*Size+int64(n) >= m.source.Size() {
		clear(b[n:])
		return nil
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("page server: page %d: %w", page, err)
}

// wake lets those go on who wait for a page that is there.
func wake(raw syscall.RawConn, address uint64) {
	a := [2]uint64{address, Size}                                                                              // struct uffdio_range
	raw.Control(func(fd uintptr) { unix.Syscall(unix.SYS_IOCTL, fd, ioctlWake, uintptr(unsafe.Pointer(&a))) }) //nolint:errcheck // the next call fails, too
}

// copyArgs is struct uffdio_copy; zeroArgs is struct uffdio_zeropage.
type copyArgs struct {
	dst, src, len, mode uint64
	copied              int64
}

type zeroArgs struct {
	start, len, mode uint64
	zeroed           int64
}

// put makes pages at an address be b, or zeros, and wakes who waits for them. It says how many are there now, those that were there
// before included; 0: none can be put before further events are read.
func (m *memory) put(address uint64, b []byte, zero bool) (pages int, calls int64, err error) {
	raw, err := m.f.SyscallConn()
	if err != nil {
		return 0, 0, errGone
	}
	for done := 0; done < len(b); {
		var n int64
		var errno unix.Errno
		err := raw.Control(func(fd uintptr) {
			if zero {
				a := zeroArgs{start: address + uint64(done), len: uint64(len(b) - done)}
				_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, ioctlZero, uintptr(unsafe.Pointer(&a)))
				n = a.zeroed
				return
			}
			a := copyArgs{dst: address + uint64(done), src: uint64(uintptr(unsafe.Pointer(&b[done]))), len: uint64(len(b) - done)}
			_, _, errno = unix.Syscall(unix.SYS_IOCTL, fd, ioctlCopy, uintptr(unsafe.Pointer(&a)))
			n = a.copied
			runtime.KeepAlive(b)
		})
		calls++
		if err != nil {
			return done / Size, calls, errGone
		}
		if errno == 0 {
			return len(b) / Size, calls, nil
		}
		if n > 0 { // some; the next page is the reason
			done += int(n)
			continue
		}
		switch errno {
		case unix.EEXIST:
			wake(raw, address+uint64(done))
			done += Size
		case unix.EAGAIN:
			return done / Size, calls, nil
		case unix.EINTR:
		case unix.ESRCH:
			return done / Size, calls, errGone
		case unix.ENOENT:
			return done / Size, calls, refuse("nothing is registered at address %#x", address+uint64(done))
		default:
			return done / Size, calls, fmt.Errorf("page server: page at %#x: %w", address+uint64(done), errno)
		}
	}
	return len(b) / Size, calls, nil
}
