// Package xray sends segments to a daemon of X-Ray, or to a collector that speaks its protocol: each in a UDP datagram of
// its own. Nobody says whether one arrived.
//
// Source: X-Ray Developer Guide, Sending segment documents to the daemon.
package xray

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"thaw/trace"
)

// Sender is a trace.Sender.
type Sender struct{ conn net.Conn }

// Dial makes a sender; address is HOST:PORT. The daemon need not be there yet.
func Dial(address string) (*Sender, error) {
	conn, err := net.Dial("udp", address)
	if err != nil {
		return nil, fmt.Errorf("daemon of X-Ray: %w", err)
	}
	return &Sender{conn}, nil
}

// writeLimit bounds the wait for room in the socket's buffer.
const writeLimit = time.Second

// Send implements trace.Sender.
func (s *Sender) Send(ctx context.Context, batch []trace.Item) error {
	var errs []error
	for _, i := range batch {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b := i.Datagram
		if i.Segment != nil {
			var err error
			if b, err = i.Segment.Datagram(); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		s.conn.SetWriteDeadline(time.Now().Add(writeLimit)) //nolint:errcheck // the write says so
		if _, err := s.conn.Write(b); err != nil && len(errs) == 0 {
			errs = append(errs, err) // the others will say the same
		}
	}
	return errors.Join(errs...)
}

// Close implements trace.Sender.
func (s *Sender) Close(context.Context) error { return s.conn.Close() }
