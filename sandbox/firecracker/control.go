package firecracker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"thaw/guest/control"
	"thaw/guest/wire"
	"thaw/sandbox/firecracker/vmm"
)

// controls is the host's end of the connection by which the guest is asked for what a container's runtime would do.
type controls struct {
	conn net.Conn
	w    *wire.Writer
	oom  func() // the limit was reached, and the kernel has killed

	mu      sync.Mutex        // guards what follows, and that frames are sent in the order of waiting
	waiting []chan wire.Frame // who has asked, in order; capacity 1 each, so that one who gave up holds up nobody
	err     error             // of the connection, when it has ended

	ended chan struct{} // closed when nobody reads any more
}

// dialControl connects to a guest that has booted.
func dialControl(ctx context.Context, m vmm.Machine, oom func()) (*controls, error) {
	conn, err := m.Dial(ctx, control.Port)
	if err != nil {
		return nil, fmt.Errorf("guest's control: %w", err)
	}
	c := &controls{conn: conn, w: wire.NewWriter(conn), oom: oom, ended: make(chan struct{})}
	go c.read()
	return c, nil
}

const (
	// firstPing bounds the wait for an answer on the first connection after a restore: with Firecracker it often answers
	// that it is there, and is reset then. It doubles each time.
	firstPing = 500 * time.Millisecond
	maxPing   = 10 * time.Second
)

// redialControl connects to a guest that has been restored: a connection counts when the guest has answered on it.
func redialControl(ctx context.Context, m vmm.Machine, oom func()) (*controls, error) {
	var last error
	for limit := firstPing; ; limit = min(2*limit, maxPing) {
		c, err := dialControl(ctx, m, oom)
		if err != nil {
			return nil, errors.Join(err, last)
		}
		once, cancel := context.WithTimeoutCause(ctx, limit, errors.New("it does not answer"))
		last = c.ask(once, control.KindPing, nil, nil)
		cancel()
		if last == nil {
			return c, nil
		}
		c.close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("guest after its restore: %w; before that: %w", context.Cause(ctx), last)
		}
	}
}

func (c *controls) read() {
	defer close(c.ended)
	r := wire.NewReader(c.conn)
	for {
		f, err := r.Next()
		if err == nil && f.Kind == control.KindOutOfMemory {
			c.oom()
			continue
		}
		c.mu.Lock()
		if err == nil && len(c.waiting) == 0 {
			err = fmt.Errorf("%w: kind %d, which nobody has asked for", wire.ErrFrame, f.Kind)
		}
		if err != nil {
			c.err = err
			for _, w := range c.waiting {
				close(w)
			}
			c.waiting = nil
			c.mu.Unlock()
			c.conn.Close()
			return
		}
		next := c.waiting[0]
		c.waiting = c.waiting[1:]
		c.mu.Unlock()
		next <- f
	}
}

// ask sends a request and waits for its answer. Who gives up may ask again: answers come in order.
func (c *controls) ask(ctx context.Context, kind wire.Kind, head, answer any) error {
	got, err := c.send(ctx, kind, head)
	if err != nil {
		return fmt.Errorf("request %d to the guest: %w", kind, err)
	}
	select {
	case f, ok := <-got:
		if !ok {
			c.mu.Lock()
			defer c.mu.Unlock()
			return fmt.Errorf("request %d to the guest: %w", kind, c.err)
		}
		return answered(f, kind, answer)
	case <-ctx.Done():
		return fmt.Errorf("request %d to the guest: %w", kind, context.Cause(ctx))
	}
}

func (c *controls) send(ctx context.Context, kind wire.Kind, head any) (<-chan wire.Frame, error) {
	// A guest that does not read cannot hold the lock for longer than its asker waits. The deadline goes with the call:
	// the machine may lie frozen for days before the next one.
	deadline, bounded := ctx.Deadline()
	got := make(chan wire.Frame, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	if bounded {
		c.conn.SetWriteDeadline(deadline)
		defer c.conn.SetWriteDeadline(time.Time{})
	}
	c.waiting = append(c.waiting, got)
	if err := c.w.Send(kind, head, nil); err != nil { // in the middle of a frame, perhaps: nothing can follow
		c.conn.Close()
		return nil, err
	}
	return got, nil
}

func answered(f wire.Frame, kind wire.Kind, answer any) error {
	switch f.Kind {
	case kind:
		if answer == nil {
			return nil
		}
		return f.Decode(answer)
	case control.KindFault:
		var fault control.Fault
		if err := f.Decode(&fault); err != nil {
			return err
		}
		return &faultError{kind, fault.Text}
	}
	return fmt.Errorf("%w: answer %d to request %d", wire.ErrFrame, f.Kind, kind)
}

// faultError is what the guest says it could not do.
type faultError struct {
	kind wire.Kind
	text string
}

func (e *faultError) Error() string { return fmt.Sprintf("guest: request %d: %s", e.kind, e.text) }

func (c *controls) close() {
	c.conn.Close()
	<-c.ended
}

// fresh is what no two machines may share.
func fresh() control.Fresh {
	entropy := make([]byte, 64)
	rand.Read(entropy)
	return control.Fresh{UnixNano: time.Now().UnixNano(), Entropy: entropy}
}
