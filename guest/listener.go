package guest

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"thaw/runtimeapi"
)

// listener is the address of the API. It outlives generations: the address stays, and a connection belongs to the generation
// that was current when it was accepted. It is made of bare system calls because the net package would be most of the guest's size.
type listener struct {
	f    *os.File
	raw  syscall.RawConn
	addr netip.AddrPort

	mu      sync.Mutex
	api     *runtimeapi.API // nil: between generations, connections are closed at once
	serving sync.WaitGroup
	done    chan struct{}
}

// listen takes host:port; an empty one is 127.0.0.1 and any free port.
func listen(host string) (*listener, error) {
	if host == "" {
		host = "127.0.0.1:0"
	}
	addr, err := netip.ParseAddrPort(host)
	if err != nil || !addr.Addr().Is4() {
		return nil, fmt.Errorf("address of the API %q: %w", host, errors.Join(err, syscall.EAFNOSUPPORT))
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket of the API: %w", err)
	}
	l := &listener{f: os.NewFile(uintptr(fd), "api"), done: make(chan struct{})}
	syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1)
	err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()})
	if err == nil {
		err = syscall.Listen(fd, 128)
	}
	var bound syscall.Sockaddr
	if err == nil {
		bound, err = syscall.Getsockname(fd)
	}
	if err == nil {
		l.raw, err = l.f.SyscallConn()
	}
	if err != nil {
		l.f.Close()
		return nil, fmt.Errorf("listen on %s for the API: %w", host, err)
	}
	in4, _ := bound.(*syscall.SockaddrInet4)
	l.addr = netip.AddrPortFrom(addr.Addr(), uint16(in4.Port))
	go l.accept()
	return l, nil
}

// accept hands each connection to the current generation. Taking it from the queue and finding out whose it is are one step
// under mu, so that a connection of an old generation cannot reach a new one.
func (l *listener) accept() {
	defer close(l.done)
	for {
		err := l.raw.Read(func(fd uintptr) bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.takeLocked(int(fd), l.api)
		})
		if err != nil {
			return
		}
	}
}

// takeLocked accepts one connection; false: none is there.
func (l *listener) takeLocked(fd int, api *runtimeapi.API) bool {
	nfd, _, err := syscall.Accept4(fd, syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK)
	if err != nil {
		return err != syscall.EAGAIN
	}
	if api == nil {
		syscall.Close(nfd)
		return true
	}
	syscall.SetsockoptInt(nfd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
	if conn, err := newSocket(nfd, "call"); err == nil {
		l.serve(conn, api)
	}
	return true
}

// serve answers the calls of one connection.
func (l *listener) serve(conn *socket, api *runtimeapi.API) {
	l.serving.Go(func() { api.Serve(conn) })
}

// begin makes a generation the one that connections belong to. What the one before left in the queue is thrown away.
func (l *listener) begin(api *runtimeapi.API) { l.change(api) }

// end is called when no process of the generation is left.
func (l *listener) end() {
	l.change(nil)
	l.serving.Wait()
}

func (l *listener) change(api *runtimeapi.API) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.raw.Control(func(fd uintptr) {
		for l.takeLocked(int(fd), nil) {
		}
	})
	l.api = api
}

func (l *listener) close() {
	l.f.Close()
	<-l.done
	l.serving.Wait()
}
