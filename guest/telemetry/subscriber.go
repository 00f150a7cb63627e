package telemetry

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"thaw/guest/platform"
)

const (
	// sendLimit is how long a subscriber has to take a batch, while a phase runs.
	sendLimit = 2 * time.Second
	// The time between attempts of a delivery that fails.
	firstRetry = 100 * time.Millisecond
	lastRetry  = 3 * time.Second
	// tooSlow is why records are dropped.
	tooSlow = "Consumer seems to have fallen behind as it has not acknowledged receipt of logs."
	// maxAnswer bounds what is read of a subscriber's answer.
	maxAnswer = 64 << 10
)

// subscriber is one subscription. Everything but run's own is guarded by the hub's mu.
type subscriber struct {
	h    *Hub
	name string
	w    *wish // replaced as a whole
	wake chan struct{}

	queue   [][]byte
	size    int       // bytes in queue
	since   time.Time // when the first of the queue came
	dropped platform.LogsDropped
	conn    Conn // in use; nil: none
	sending bool // a batch is on its way
	held    bool // a batch is due, and no phase runs
}

func (s *subscriber) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// putLocked renders news for the subscriber. What has no room is counted.
func (s *subscriber) putLocked(n news) {
	if !s.w.types[n.kind] {
		return
	}
	if n.kind != Platform {
		if !s.roomLocked(len(n.text)) { // what is dropped is not worth being rendered
			return
		}
		s.recordLocked(platform.Line(s.w.schema, n.at, n.kind, n.text, s.h.o.LogsJSON))
		return
	}
	for _, r := range platform.Records(s.w.schema, n.at, n.event) {
		s.recordLocked(r)
	}
}

// roomLocked says whether a record of that size has room, and counts it as dropped when it has not.
func (s *subscriber) roomLocked(n int) bool {
	if s.size+n <= 2*s.w.maxBytes && len(s.queue) < 2*s.w.maxItems || len(s.queue) == 0 {
		return true
	}
	s.dropped.Records++
	s.dropped.Bytes += int64(n)
	return false
}

func (s *subscriber) recordLocked(r []byte) {
	if !s.roomLocked(len(r)) {
		return
	}
	if s.dropped.Records > 0 {
		d := s.dropped
		d.Reason = tooSlow
		s.dropped = platform.LogsDropped{}
		for _, told := range platform.Records(s.w.schema, time.Now(), d) {
			s.queue, s.size = append(s.queue, told), s.size+len(told)
		}
	}
	if len(s.queue) == 0 {
		s.since = time.Now()
	}
	s.queue, s.size = append(s.queue, r), s.size+len(r)
	if len(s.queue) == 1 || s.fullLocked() || s.h.hurry {
		s.nudge()
	}
}

func (s *subscriber) fullLocked() bool { return len(s.queue) >= s.w.maxItems || s.size >= s.w.maxBytes }

// phaseLocked: a phase has begun or ended. Every invocation comes here twice, mostly for nothing.
func (s *subscriber) phaseLocked() {
	if s.sending {
		s.limitLocked()
	}
	if s.held && s.h.running {
		s.held = false
		s.nudge()
	}
}

// limitLocked gives what is on its way its time, or all time while no phase runs.
func (s *subscriber) limitLocked() {
	if s.conn == nil {
		return
	}
	var limit time.Time
	if s.h.running {
		limit = time.Now().Add(sendLimit)
	}
	s.conn.SetDeadline(limit) //nolint:errcheck // a connection that is closed needs none
}

// run delivers until the hub is closed.
func (s *subscriber) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	pause := time.Duration(0)
	for {
		batch, w, wait, closed := s.next()
		switch {
		case closed:
			s.hangUp()
			return
		case batch == nil:
			timer.Reset(wait)
			select {
			case <-s.wake:
			case <-timer.C:
			}
			continue
		}
		if err := s.send(w, batch); err == nil {
			s.took(len(batch))
			pause = 0
			continue
		}
		s.hangUp()
		pause = min(max(2*pause, firstRetry), lastRetry)
		timer.Reset(pause)
		for waiting := true; waiting; { // new records are no reason to try sooner
			select {
			case <-s.wake:
				waiting = !s.urgent()
			case <-timer.C:
				waiting = false
			}
		}
	}
}

// urgent says whether there is no time for a pause. Once: a subscriber that refuses is not asked without end.
func (s *subscriber) urgent() bool {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	return s.h.closed
}

// next is the batch that is due, or how long there is none.
func (s *subscriber) next() (batch [][]byte, w *wish, wait time.Duration, closed bool) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	switch {
	case s.h.closed:
		return nil, nil, 0, true
	case len(s.queue) == 0:
		return nil, nil, time.Hour, false
	case !s.h.hurry && !s.fullLocked():
		if left := s.w.timeout - time.Since(s.since); left > 0 {
			return nil, nil, left, false
		}
	}
	if s.held = !s.h.running; s.held {
		return nil, nil, time.Hour, false
	}
	n, size := 0, 0
	for n < len(s.queue) && n < s.w.maxItems && (n == 0 || size+len(s.queue[n]) <= s.w.maxBytes) {
		size += len(s.queue[n])
		n++
	}
	return s.queue[:n:n], s.w, 0, false
}

// took lets go of what was delivered.
func (s *subscriber) took(n int) {
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	s.sending = false
	for _, r := range s.queue[:n] {
		s.size -= len(r)
	}
	s.queue = s.queue[n:]
	if len(s.queue) == 0 {
		s.queue = nil
	}
	s.since = time.Now()
}

// dial makes the connection, or keeps the one that is there.
func (s *subscriber) dial(port int) (Conn, error) {
	s.h.mu.Lock()
	c := s.conn
	s.h.mu.Unlock()
	if c == nil {
		var err error
		if c, err = s.h.o.Dial(port); err != nil {
			return nil, err
		}
	}
	s.h.mu.Lock()
	defer s.h.mu.Unlock()
	if s.h.closed {
		c.Close()
		return nil, errors.New("closed")
	}
	s.conn, s.sending = c, true
	s.limitLocked()
	return c, nil
}

func (s *subscriber) hangUp() {
	s.h.mu.Lock()
	c := s.conn
	s.conn, s.sending = nil, false
	s.h.mu.Unlock()
	if c != nil {
		c.Close()
	}
}

func (s *subscriber) send(w *wish, batch [][]byte) error {
	c, err := s.dial(w.port)
	if err != nil {
		return err
	}
	if w.tcp { // each record a line
		_, err := c.Write(append(bytes.Join(batch, []byte("\n")), '\n'))
		return err
	}
	defer s.hangUp()
	body := bytes.Join(batch, []byte(","))
	head := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s:%d\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n[",
		w.method, w.path, host, w.port, len(body)+2)
	b := append(append([]byte(head), body...), ']')
	if _, err := c.Write(b); err != nil {
		return err
	}
	return accepted(c)
}

// accepted reads the answer to its end, or as far as it says how long it is.
func accepted(c Conn) error {
	var got []byte
	buf := make([]byte, 4<<10)
	for !complete(got) && len(got) < maxAnswer {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			break
		}
	}
	line, _, _ := bytes.Cut(got, []byte("\r\n"))
	word := bytes.Fields(line)
	if len(word) < 2 {
		return errors.New("no answer")
	}
	if status, err := strconv.Atoi(string(word[1])); err != nil || status >= 400 {
		return fmt.Errorf("answer %s", word[1])
	}
	return nil
}

// complete says whether an answer is there whose head tells its length.
func complete(b []byte) bool {
	head, body, ok := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ok {
		return false
	}
	for _, line := range bytes.Split(head, []byte("\r\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("content-length")) {
			n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
			return err == nil && len(body) >= n
		}
	}
	return false
}
