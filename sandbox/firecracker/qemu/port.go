package qemu

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"thaw/guest/control"
)

// farewellLimit bounds the last word to a guest that may not read any more.
const farewellLimit = time.Second

// port is the host's end of a port of the guest, as long as the process runs. Conversations follow one another on it
// (see control.Line).
type port struct {
	conn *net.UnixConn
	line *control.Line
	busy chan struct{} // holds one value while somebody dials, or a conversation lasts
}

func newPort(c *net.UnixConn) *port {
	return &port{conn: c, line: control.NewLine(c), busy: make(chan struct{}, 1)}
}

func (p *port) close() { p.conn.Close() }

// Dial is vmm.Machine's.
func (m *machine) Dial(ctx context.Context, number uint32) (net.Conn, error) {
	m.mu.Lock()
	p, closed := m.ports[number], m.closed
	m.mu.Unlock()
	switch {
	case closed:
		return nil, errClosed
	case p == nil:
		return nil, fmt.Errorf("port %d: the machine has none, or was not started", number)
	}
	c, err := p.dial(ctx, number)
	if err == nil {
		return c, nil
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("port %d: %w", number, context.Cause(ctx))
	}
	if errors.Is(err, errBusy) {
		return nil, fmt.Errorf("port %d: %w", number, err)
	}
	select { // a port ends with the process
	case <-m.exited:
		return nil, fmt.Errorf("port %d: %w", number, m.why())
	case <-ctx.Done():
		return nil, fmt.Errorf("port %d: %w", number, context.Cause(ctx))
	}
}

var errBusy = errors.New("it has a connection already")

// past is a deadline that wakes whoever waits.
var past = time.Unix(1, 0)

func (p *port) dial(ctx context.Context, number uint32) (net.Conn, error) {
	select {
	case p.busy <- struct{}{}:
	default:
		return nil, errBusy
	}
	p.conn.SetDeadline(time.Time{})
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { p.conn.SetDeadline(past); close(woken) })
	talk, err := p.line.Greet(rand.Text())
	if !stop() {
		<-woken
	}
	if err == nil && ctx.Err() != nil {
		err = errors.Join(ctx.Err(), talk.Close())
	}
	p.conn.SetDeadline(time.Time{})
	if err != nil {
		<-p.busy
		return nil, err
	}
	return &conn{talk: talk, port: p, number: number}, nil
}

// conn is a conversation as a connection.
type conn struct {
	talk   *control.Conversation
	port   *port
	number uint32

	reading sync.Mutex // held while bytes are read
	mu      sync.Mutex
	closed  bool
}

func (c *conn) Read(b []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.isClosed() {
		return 0, net.ErrClosed
	}
	n, err := c.talk.Read(b)
	if err != nil && c.isClosed() {
		err = net.ErrClosed
	}
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	n, err := c.talk.Write(b)
	if err != nil && c.isClosed() {
		err = net.ErrClosed
	}
	return n, err
}

func (c *conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// Close wakes whoever reads or writes, says farewell, and leaves the port to the next.
func (c *conn) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return net.ErrClosed
	}
	c.closed = true
	c.port.conn.SetDeadline(past)
	c.mu.Unlock()
	c.reading.Lock()
	defer c.reading.Unlock()
	c.port.conn.SetWriteDeadline(time.Now().Add(farewellLimit))
	c.talk.Close() // the guest may be gone, or frozen: the next greeting says it, too
	<-c.port.busy
	return nil
}

func (c *conn) deadline(set func(time.Time) error, t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	return set(t)
}

func (c *conn) SetDeadline(t time.Time) error     { return c.deadline(c.port.conn.SetDeadline, t) }
func (c *conn) SetReadDeadline(t time.Time) error { return c.deadline(c.port.conn.SetReadDeadline, t) }
func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.deadline(c.port.conn.SetWriteDeadline, t)
}
func (c *conn) LocalAddr() net.Addr  { return addr("host") }
func (c *conn) RemoteAddr() net.Addr { return addr(control.PortName(c.number)) }

type addr string

func (a addr) Network() string { return "virtio-serial" }
func (a addr) String() string  { return string(a) }

// pair is a connection between this process and one that it starts.
func pair(name string) (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	mine := os.NewFile(uintptr(fds[0]), name)
	theirs = os.NewFile(uintptr(fds[1]), name)
	defer mine.Close() // FileConn duplicates
	c, err := net.FileConn(mine)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return c.(*net.UnixConn), theirs, nil
}
