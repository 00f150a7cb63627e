package guest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"thaw/guest/wire"
)

// segments is where the daemon of X-Ray is for the sandbox: a UDP address whose datagrams go to the server. It outlives
// generations, as the address of the API does. Where nobody wants them, what comes is left to the kernel, which throws it
// away when the buffer is full: no goroutine, no system call.
//
// What is sent while the budget is used up is dropped and counted. The budget is ours and not a window of the server's, so
// a function that floods costs the server no more than that.
type segments struct {
	box  *outbox
	f    *os.File
	raw  syscall.RawConn
	fd   int
	addr netip.AddrPort
	done sync.WaitGroup

	mu      sync.Mutex
	on      bool // they are wanted
	reading bool // there is a pump
	buf     []byte
	budget  wire.Budget
	dropped int64
}

// segmentBuffer is the socket's, in bytes.
const segmentBuffer = 1 << 20

// listenSegments takes host:port; an empty one is 127.0.0.1 and any free port.
func listenSegments(host string, box *outbox) (*segments, error) {
	if host == "" {
		host = "127.0.0.1:0"
	}
	addr, err := netip.ParseAddrPort(host)
	if err != nil || !addr.Addr().Is4() {
		return nil, fmt.Errorf("address of the X-Ray daemon %q: %w", host, errors.Join(err, syscall.EAFNOSUPPORT))
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket of the X-Ray daemon: %w", err)
	}
	s := &segments{box: box, f: os.NewFile(uintptr(fd), "segments"), fd: fd}
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_RCVBUF, segmentBuffer) // best effort: the kernel bounds it
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	var bound syscall.Sockaddr
	if err == nil {
		bound, err = syscall.Getsockname(fd)
	}
	if err == nil {
		s.raw, err = s.f.SyscallConn()
	}
	if err != nil {
		s.f.Close()
		return nil, fmt.Errorf("listen on %s for the X-Ray daemon: %w", host, err)
	}
	in4, _ := bound.(*syscall.SockaddrInet4)
	s.addr = netip.AddrPortFrom(addr.Addr(), uint16(in4.Port))
	return s, nil
}

// vars are the variables that lead there. Source: spec 6.1.
func (s *segments) vars() []string {
	return []string{"AWS_XRAY_DAEMON_ADDRESS=" + s.addr.String(), "_AWS_XRAY_DAEMON_ADDRESS=" + s.addr.Addr().String(),
		"_AWS_XRAY_DAEMON_PORT=" + strconv.Itoa(int(s.addr.Port()))}
}

// want says whether the server wants datagrams. What came before it did is forgotten.
func (s *segments) want(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if on && !s.on {
		s.buf = make([]byte, wire.MaxSegment)
		for range maxDrained {
			if _, err := rawIO(syscall.SYS_READ, uintptr(s.fd), s.buf); err != nil {
				break
			}
		}
		s.budget, s.dropped = wire.Budget{Burst: wire.SegmentBurst, Rate: wire.SegmentRate}, 0
	}
	s.on = on
	if on && !s.reading {
		s.reading = true
		s.done.Go(s.pump)
	}
}

// pump takes what comes while an invocation goes on.
func (s *segments) pump() {
	for {
		err := s.raw.Read(func(uintptr) bool { return s.take(maxDrained) })
		if err != nil {
			return
		}
	}
}

// maxDrained bounds how many datagrams are taken in one go.
const maxDrained = 1024

// drain takes what is there now, so that what the function sent before a call is with the server before the call's
// consequences. One system call finds out that there is nothing.
func (s *segments) drain() { s.take(maxDrained) }

// take takes at most that many datagrams; false: there was none.
func (s *segments) take(most int) (any bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.on {
		return false
	}
	for range most {
		n, err := rawIO(syscall.SYS_READ, uintptr(s.fd), s.buf)
		if err == syscall.EAGAIN {
			break
		}
		if err != nil { // of an earlier packet; the next reading is another one
			continue
		}
		any = true
		if n > 0 && s.budget.Afford(n, time.Now()) {
			s.box.queue(wire.KindSegment, wire.Segment{Dropped: s.dropped}, s.buf[:n]) //nolint:errcheck // the server is gone: Run notices
			s.dropped = 0
		} else if n > 0 {
			s.dropped++
		}
	}
	if any {
		if s.dropped > 0 {
			s.box.queue(wire.KindSegment, wire.Segment{Dropped: s.dropped}, nil) //nolint:errcheck // as above
			s.dropped = 0
		}
		s.box.flush() //nolint:errcheck // as above
	}
	return any
}

func (s *segments) close() {
	s.f.Close()
	s.done.Wait()
}
