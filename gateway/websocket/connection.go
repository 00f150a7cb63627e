package websocket

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	ws "github.com/gorilla/websocket"

	"thaw/trigger"
)

const (
	// maxQueue bounds what waits for a client that does not read, in bytes.
	maxQueue = 1 << 20
	// queueCost is what a queued message costs beside its bytes.
	queueCost = 64
	// maxRunning bounds the functions that run for messages of one connection. Its next message is read when one has ended.
	maxRunning = 32
	// readBuffer is all that an idle connection keeps for reading: the head of a frame and a control frame fit.
	readBuffer = 256
)

// connection is one client. Everything before mu is set before others see it.
type connection struct {
	s         *Server
	id        string
	at        stageKey
	domain    string
	sourceIP  string
	userAgent string
	connected time.Time
	// judged is what the authorizer of the handshake has said; nil: nothing.
	judged  json.RawMessage
	active  atomic.Int64  // Unix milliseconds of what came or went last
	running chan struct{} // of the reader: a place for each function that runs; nil: none has yet

	mu      sync.Mutex
	state   State
	ending  Ending
	ws      *ws.Conn // nil while Opening
	timer   *time.Timer
	queue   []outgoing
	queued  int64
	writing bool // a goroutine writes the queue
	untold  bool // $disconnect is to be told
}

// outgoing is a message or control frame that waits to be written.
type outgoing struct {
	kind int // of ws
	data []byte
}

func (c *connection) touch() { c.active.Store(time.Now().UnixMilli()) }

// happen moves the connection's life, and does what follows but for the parts of its owner.
func (c *connection) happen(e Event) { c.end(e, endings[e]) }

func (c *connection) end(e Event, how Ending) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.state
	next, actions := Next(was, e)
	c.state = next
	if was <= Connected && next > Connected {
		c.ending = how
	}
	for _, a := range actions {
		switch a {
		case SendClose:
			c.queue = append(c.queue, outgoing{ws.CloseMessage, ws.FormatCloseMessage(how.Status, how.Reason)})
			c.writeLocked()
			c.ws.SetReadDeadline(time.Now().Add(c.s.o.Grace)) //nolint:errcheck // then the transport is gone, and the reader knows
		case HangUp:
			c.ws.Close() //nolint:errcheck // it is gone
		case TellFunction: // by the owner, who sees the transport end
			c.untold = true
		}
	}
}

// errFull says that too much waits for a client.
var errFull = errors.New("the client does not read what it is sent")

// errGone says that a connection is no more.
var errGone = errors.New("the connection is gone")

// send puts a message into the queue. errFull, errGone.
func (c *connection) send(kind int, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.state != Connected:
		return errGone
	case c.queued > 0 && c.queued+int64(len(data)) > maxQueue:
		return errFull
	}
	c.queue = append(c.queue, outgoing{kind, data})
	c.queued += int64(len(data)) + queueCost
	c.writeLocked()
	return nil
}

// tell sends a text of ours, as far as there is room.
func (c *connection) tell(message, request string) {
	c.send(ws.TextMessage, trigger.SocketError(message, c.id, request)) //nolint:errcheck // nobody else to tell
}

// writeLocked has the queue written.
func (c *connection) writeLocked() {
	if c.writing || len(c.queue) == 0 {
		return
	}
	c.writing = true
	c.s.work.Go(c.write)
}

// write writes the queue, one after the other, until it is empty.
func (c *connection) write() {
	for {
		c.mu.Lock()
		if len(c.queue) == 0 || c.state == Gone {
			c.queue, c.queued, c.writing = nil, 0, false
			c.mu.Unlock()
			return
		}
		next := c.queue[0]
		c.queue = c.queue[1:]
		conn := c.ws
		c.mu.Unlock()
		if err := c.writeOne(conn, next); err != nil && !errors.Is(err, ws.ErrCloseSent) {
			if t, ok := err.(net.Error); ok && t.Timeout() { //nolint:errorlint // the library returns what the transport gave
				c.happen(ReceiverStalled)
			} else {
				c.happen(ClientLost)
			}
			continue
		}
		c.touch()
		if next.kind != ws.CloseMessage {
			c.mu.Lock()
			c.queued -= int64(len(next.data)) + queueCost
			c.mu.Unlock()
		}
	}
}

// writeOne writes a message, in frames that are no longer than maxFrame.
func (c *connection) writeOne(conn *ws.Conn, m outgoing) error {
	until := time.Now().Add(c.s.o.Stall)
	if m.kind != ws.TextMessage && m.kind != ws.BinaryMessage {
		return conn.WriteControl(m.kind, m.data, until)
	}
	conn.SetWriteDeadline(until) //nolint:errcheck // never fails: documented
	if len(m.data) <= maxFrame {
		return conn.WriteMessage(m.kind, m.data)
	}
	w, err := conn.NextWriter(m.kind)
	if err != nil {
		return err
	}
	for rest := m.data; len(rest) > 0; {
		n := min(len(rest), maxFrame)
		if _, err := w.Write(rest[:n]); err != nil { // so much in one Write is one frame
			return err
		}
		rest = rest[n:]
	}
	return w.Close()
}

// read is the life of an open connection: it returns when the transport has ended. The caller owns the connection.
func (c *connection) read() {
	c.ws.SetReadLimit(maxMessage)
	c.ws.SetPingHandler(func(data string) error {
		c.touch()
		if err := c.send(ws.PongMessage, []byte(data)); errors.Is(err, errFull) {
			c.happen(ReceiverStalled)
		}
		return nil
	})
	c.ws.SetPongHandler(func(string) error { c.touch(); return nil })
	c.ws.SetCloseHandler(func(status int, reason string) error {
		c.ws.WriteControl(ws.CloseMessage, ws.FormatCloseMessage(status, ""), time.Now().Add(time.Second)) //nolint:errcheck // it goes either way
		c.end(ClientClosed, closedBy(status, reason))
		return nil
	})
	for {
		kind, from, err := c.ws.NextReader()
		var data []byte
		if err == nil {
			data, err = io.ReadAll(from)
		}
		if err != nil {
			if c.failed(err) {
				continue
			}
			return
		}
		c.touch()
		if !c.open() { // what comes behind our close frame nobody reads
			continue
		}
		if kind == ws.TextMessage && !utf8.Valid(data) {
			c.end(NotText, Ending{ws.CloseInvalidFramePayloadData, "Invalid UTF-8"})
			continue
		}
		if kind == ws.BinaryMessage && c.s.o.TextAlone {
			c.happen(NotText)
			continue
		}
		if c.running == nil {
			c.running = make(chan struct{}, maxRunning)
		}
		c.running <- struct{}{}
		c.s.work.Go(func() {
			defer func() { <-c.running }()
			c.message(data, kind == ws.BinaryMessage)
		})
	}
}

func (c *connection) open() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == Connected
}

// failed says what an error of reading means, and whether reading goes on.
func (c *connection) failed(err error) (goOn bool) {
	closed := &ws.CloseError{}
	var timeout net.Error
	switch {
	case errors.Is(err, errFrame), errors.Is(err, ws.ErrReadLimit):
		c.happen(TooBig)
		c.drain()
	case errors.As(err, &closed) && closed.Code == ws.CloseAbnormalClosure: // of the library: the stream ended
		c.happen(ClientLost)
	case errors.As(err, &closed): // the handler has seen it
		c.end(ClientClosed, closedBy(closed.Code, closed.Text))
	case errors.As(err, &timeout) && timeout.Timeout():
		c.happen(GraceOver)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		c.happen(ClientLost)
	case errors.As(err, new(net.Error)):
		c.happen(ClientLost)
	default:
		c.happen(BadFrames)
		c.drain()
	}
	return false
}

// drain swallows for a while what comes on a stream that cannot be read any more, so that the client sees our close frame:
// closed with bytes unread, the transport would be reset.
func (c *connection) drain() {
	c.ws.SetReadDeadline(time.Now().Add(c.s.o.Grace / 5)) //nolint:errcheck // then the transport is gone
	io.Copy(io.Discard, c.transport())                    //nolint:errcheck // whatever it was
	c.happen(GraceOver)
}

func (c *connection) transport() net.Conn {
	if f, ok := c.ws.NetConn().(*framed); ok {
		return f.Conn
	}
	return c.ws.NetConn()
}

// closedBy is an end that the client wants.
func closedBy(status int, reason string) Ending {
	if status == ws.CloseNoStatusReceived && reason == "" {
		reason = "Client-side close frame status not set" // recorded
	}
	return Ending{status, reason}
}

// watch ends a connection that is idle or old. It runs by the connection's timer.
func (c *connection) watch() {
	now := time.Now()
	left := c.connected.Add(c.s.o.Life).Sub(now)
	if left <= 0 {
		c.happen(LifeOver)
		return
	}
	idle := time.UnixMilli(c.active.Load()).Add(c.s.o.Idle).Sub(now)
	if idle <= 0 {
		c.happen(IdleExpired)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state == Connected {
		c.timer.Reset(min(left, idle))
	}
}
