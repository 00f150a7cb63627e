package runtimeapi

import (
	"errors"
	"io"
	"sync"
	"syscall"
	"unsafe"
)

// conn is one connection of a runtime.
type conn struct {
	s   Stream
	in  reader
	raw syscall.RawConn

	wmu  sync.Mutex // held while an answer is being written, by whichever goroutine has it
	held []byte     // an answer that goes out with the next one; guarded by wmu
	half bool       // the client closed its sending half; guarded by API.mu

	extension bool // an extension speaks here; guarded by API.mu

	// answered receives when the parked call was answered. The connection's goroutine waits for it before it deals with a
	// request that a client sent ahead.
	answered chan struct{}
	parked   bool // the connection's goroutine only
	queued   bool // so is this: a message to the host waits for the next one
}

// Serve answers the calls that come over one connection, in order, until it ends. It closes it.
// No deadline is ever set: a client may be frozen for days between two bytes.
func (a *API) Serve(s Stream) {
	raw, err := s.SyscallConn()
	if err != nil {
		s.Close()
		return
	}
	c := &conn{s: s, raw: raw, in: reader{r: s}, answered: make(chan struct{}, 1)}
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		s.Close()
		return
	}
	a.conns[c] = struct{}{}
	a.mu.Unlock()

	a.serve(c)
	if c.parked {
		a.halfClosed(c)
		a.awaitAnswer(c)
	}
	c.wmu.Lock()            // what is being written gets there
	c.writeLocked(nil, nil) //nolint:errcheck // nobody to tell
	s.Close()
	c.wmu.Unlock()
	a.mu.Lock()
	delete(a.conns, c)
	a.changed.Broadcast()
	a.mu.Unlock()
}

// serve reads requests. A parked call does not end it: it reads on, and so notices when the poller goes.
func (a *API) serve(c *conn) {
	for {
		q, err := c.in.request()
		if err != nil {
			a.flush(c) //nolint:errcheck // the host is gone, and its guest hears of it
			a.complain(c, err)
			return
		}
		if c.parked && !a.awaitAnswer(c) {
			return
		}
		queued := c.queued
		err = a.route(c, q)
		if queued {
			err = errors.Join(err, a.flush(c))
		}
		if err != nil || q.close && !c.parked {
			return
		}
		if q.close { // parked: the answer is the last thing on this connection
			a.awaitAnswer(c)
			return
		}
	}
}

// complain answers what is no request, where there is somebody to answer.
func (a *API) complain(c *conn, err error) {
	var r reply
	switch {
	case errors.Is(err, errHeadTooLarge):
		r = failure(431, errBadRequest, "request head is too large")
	case errors.Is(err, errNotImplemented):
		r = failure(501, errBadRequest, "transfer coding is not implemented")
	case errors.Is(err, errMalformed):
		r = failure(400, errBadRequest, "malformed request")
	default:
		return
	}
	if c.parked && !a.awaitAnswer(c) {
		return
	}
	r.last = true
	if c.write(r.render(false), nil) == nil {
		c.lingering()
	}
}

// lingering lets the peer read an answer before the connection is reset because of what it still sends.
func (c *conn) lingering() {
	c.raw.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_WR) })
	io.CopyN(io.Discard, c.s, 1<<20)
}

// halfClosed marks a parked connection whose client has closed its sending half. Netcat-like clients do that and read on;
// a client that is gone looks the same, so such a connection is served last, and dropped when another poller comes.
func (a *API) halfClosed(c *conn) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c.half = true
	a.changed.Broadcast()
}

// awaitAnswer waits until the parked call of c was answered; false: it never will be.
func (a *API) awaitAnswer(c *conn) bool {
	c.parked = false
	select {
	case <-c.answered:
		return true
	case <-a.done:
		return false
	}
}

// write sends an answer in one system call, or two when the body is large. It waits as long as the client takes.
func (c *conn) write(head, body []byte) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.writeLocked(head, body)
}

// hold keeps an answer back until the next one on this connection.
func (c *conn) hold(b []byte) {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.held = append(c.held, b...)
}

func (c *conn) takeHeldLocked(head []byte) []byte {
	if len(c.held) > 0 {
		head = append(c.held, head...)
		c.held = nil
	}
	return head
}

func (c *conn) writeLocked(head, body []byte) error {
	head = c.takeHeldLocked(head)
	if len(head) > 0 {
		if _, err := c.s.Write(head); err != nil {
			return err
		}
	}
	if len(body) > 0 {
		if _, err := c.s.Write(body); err != nil {
			return err
		}
	}
	return nil
}

// release answers a parked call without ever waiting: the caller has more to do than this client. What the socket does not
// take at once is left to a goroutine. A lost connection is no error: the event is there for the next call.
func (c *conn) release(head, body []byte) {
	c.wmu.Lock()
	if head = c.try(c.takeHeldLocked(head)); len(head) == 0 {
		body = c.try(body)
	}
	if len(head)+len(body) == 0 {
		c.wmu.Unlock()
		c.answered <- struct{}{}
		return
	}
	go func() {
		c.writeLocked(head, body)
		c.wmu.Unlock()
		c.answered <- struct{}{}
	}()
}

// try writes what the socket takes without waiting and returns the rest; nothing is left for a connection that is lost.
func (c *conn) try(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	err := c.raw.Write(func(fd uintptr) bool {
		for {
			// Raw: it does not block, and Go's scheduler need not hear of it (guest/socket.go says why).
			n, _, e := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
			switch e {
			case 0:
				b = b[n:]
			case syscall.EINTR:
				continue
			case syscall.EAGAIN:
			default:
				b = nil
			}
			return true
		}
	})
	if err != nil {
		return nil
	}
	return b
}
