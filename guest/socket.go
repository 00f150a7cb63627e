package guest

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"

	"thaw/guest/telemetry"
)

// socket is a stream socket that never blocks, read and written without telling Go's scheduler. os.File announces every system call to it,
// and a program that was idle before wakes its monitor thread then: five system calls and a change of threads more for each message, which inside gVisor
// is a tenth of a warm invoke. Waiting is left to the poller as ever.
type socket struct {
	f   *os.File
	raw syscall.RawConn
}

// newSocket takes a descriptor that does not block.
func newSocket(fd int, name string) (*socket, error) {
	f := os.NewFile(uintptr(fd), name)
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	return &socket{f, raw}, nil
}

// Read is io.Reader.
func (s *socket) Read(b []byte) (n int, err error) {
	if len(b) == 0 {
		return 0, nil
	}
	closed := s.raw.Read(func(fd uintptr) bool {
		n, err = rawIO(syscall.SYS_READ, fd, b)
		return err != syscall.EAGAIN
	})
	switch {
	case closed != nil:
		return 0, closed
	case err == nil && n == 0:
		return 0, io.EOF
	}
	return n, err
}

// Write is io.Writer: it writes all of b.
func (s *socket) Write(b []byte) (n int, err error) {
	closed := s.raw.Write(func(fd uintptr) bool {
		for n < len(b) {
			var k int
			if k, err = rawIO(syscall.SYS_WRITE, fd, b[n:]); err != nil {
				return err != syscall.EAGAIN
			}
			n += k
		}
		return true
	})
	if closed != nil {
		err = closed
	}
	return n, err
}

func (s *socket) Close() error { return s.f.Close() }

// SetDeadline bounds reads and writes; zero: it does not.
func (s *socket) SetDeadline(t time.Time) error { return s.f.SetDeadline(t) }

// dialLoopback connects to a port of the sandbox's own loopback.
func dialLoopback(port int) (telemetry.Conn, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	addr := &syscall.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}
	err = syscall.Connect(fd, addr)
	if err != nil && err != syscall.EINPROGRESS && err != syscall.EINTR {
		syscall.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	s, err := newSocket(fd, "subscriber")
	if err != nil {
		return nil, err
	}
	const patience = time.Second
	s.SetDeadline(time.Now().Add(patience))
	waited := s.raw.Write(func(fd uintptr) bool {
		var code int
		if code, err = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_ERROR); err == nil && code != 0 {
			err = syscall.Errno(code)
		}
		if err != nil {
			return true
		}
		_, e := syscall.Getpeername(int(fd))
		return e == nil
	})
	if err = errors.Join(waited, err); err != nil {
		s.Close()
		return nil, fmt.Errorf("connect to port %d: %w", port, err)
	}
	s.SetDeadline(time.Time{})
	return s, nil
}

// SyscallConn is syscall.Conn.
func (s *socket) SyscallConn() (syscall.RawConn, error) { return s.raw, nil }

// rawIO does one read or write, of at least one byte.
func rawIO(call, fd uintptr, b []byte) (int, error) {
	for {
		n, _, e := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch e {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, e
		}
	}
}

// socketPair makes a connected pair: our end, and the one for the runtime. The buffers hold bodies of usual size, so that they pass in few steps.
func socketPair() (*socket, *os.File, error) {
	p, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs := os.NewFile(uintptr(p[1]), "runtime's end")
	for _, fd := range p {
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, 1<<20) // best effort: the host bounds it
	}
	err = syscall.SetNonblock(p[0], true) // theirs is the client's affair
	if err != nil {
		syscall.Close(p[0])
		theirs.Close()
		return nil, nil, err
	}
	ours, err := newSocket(p[0], "call")
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}
