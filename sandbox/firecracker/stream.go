package firecracker

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"thaw/guest/control"
)

// stream is a connection of which the first byte has been read: the guest has said something, and its Hello is the
// owner's. It is read by one goroutine at a time.
type stream struct {
	net.Conn
	first []byte // not given out yet; at most one
}

// Read implements net.Conn.
func (c *stream) Read(p []byte) (int, error) {
	if len(c.first) == 0 || len(p) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.first)
	c.first = c.first[n:]
	return n, nil
}

// openStream connects to the port of guest/wire.
func (s *Sandbox) openStream(ctx context.Context) error {
	conn, err := s.machine.Dial(ctx, control.StreamPort)
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	s.conn = &stream{Conn: conn}
	return nil
}

// awaitHello returns when the guest has said something.
func (s *Sandbox) awaitHello(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var one [1]byte
	if _, err := io.ReadFull(s.conn.Conn, one[:]); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("guest went before it said anything: %w; its machine said: %s", err, s.console.tail())
	}
	s.conn.first = one[:]
	if !stop() {
		return context.Cause(ctx)
	}
	return nil
}
