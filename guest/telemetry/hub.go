// Package telemetry delivers what happens in an environment to the extensions that subscribed to it: the Telemetry API
// and the Logs API behind their registration calls. Source: Lambda Developer Guide, Telemetry API; spec 4.1 to 4.3.
//
// A Hub belongs to one generation of processes. Whoever has news gives it to the hub, which never waits: each subscriber has a
// bounded queue, and a goroutine that delivers from it. What a slow subscriber has no room for is dropped, and it is told so.
//
// Nothing is delivered while no phase runs (Pause): the environment may be frozen then, and a subscriber that is
// stopped must not look like one that does not answer.
package telemetry

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"thaw/guest/platform"
)

// Conn is a connection to a subscriber.
type Conn interface {
	io.ReadWriteCloser
	SetDeadline(time.Time) error
}

// Options are what a hub is made of.
type Options struct {
	Dial     func(port int) (Conn, error) // to the sandbox's own loopback
	LogsJSON bool                         // the function's log format is JSON
}

// Kinds of news, as subscribers name them.
const (
	Platform  = "platform"
	Function  = "function"
	Extension = "extension"
)

// news is one thing that happened, before it is rendered for anybody.
type news struct {
	at    time.Time
	kind  string
	event platform.Event // of Platform
	text  string         // of the others
}

// Hub is the post office of one generation.
type Hub struct {
	o   Options
	off atomic.Bool // Init is over and nobody subscribed

	mu        sync.Mutex
	open      bool // Init is not over: what happens is kept for those who subscribe later
	running   bool // a phase runs
	hurry     bool // everything goes out at once: the end is near
	closed    bool
	past      history
	subs      []*subscriber
	goroutine sync.WaitGroup
}

// New makes a hub whose Init runs.
func New(o Options) *Hub { return &Hub{o: o, open: true, running: true} }

// Event takes an event of the platform.
func (h *Hub) Event(at time.Time, e platform.Event) {
	if h.off.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.giveLocked(news{at: at, kind: Platform, event: e})
}

// Output takes what was written: complete lines, or one record.
func (h *Hub) Output(kind string, unixMicros int64, b []byte, whole bool) {
	if h.off.Load() {
		return
	}
	at := time.UnixMicro(unixMicros)
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(b) > 0 {
		n := bytes.IndexByte(b, '\n') + 1
		if n == 0 || whole {
			n = len(b)
		}
		h.giveLocked(news{at: at, kind: kind, text: string(b[:n])})
		b = b[n:]
	}
}

func (h *Hub) giveLocked(n news) {
	if h.open {
		h.past.add(n)
	}
	for _, s := range h.subs {
		s.putLocked(n)
	}
}

// Pause: no phase runs any more, and Init is over, which is when one could subscribe. What is on its way may take its time.
func (h *Hub) Pause() {
	if h.off.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open, h.past = false, history{}
	h.off.Store(len(h.subs) == 0)
	h.phaseLocked(false)
}

// Resume: a phase runs.
func (h *Hub) Resume() {
	if h.off.Load() {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.phaseLocked(true)
}

func (h *Hub) phaseLocked(running bool) {
	h.running = running
	for _, s := range h.subs {
		s.phaseLocked()
	}
}

// Flush sends what there is, and from now on everything at once; it waits until all is delivered, or at most so long.
func (h *Hub) Flush(limit time.Duration) {
	h.mu.Lock()
	h.running, h.hurry = true, true
	subs := h.subs
	for _, s := range subs {
		s.limitLocked()
		s.nudge()
	}
	h.mu.Unlock()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		busy := false
		h.mu.Lock()
		for _, s := range subs {
			busy = busy || len(s.queue) > 0
		}
		h.mu.Unlock()
		if !busy {
			return
		}
	}
}

// Off says that nobody listens, nor ever will.
func (h *Hub) Off() bool { return h.off.Load() }

// Close ends all deliveries and waits for that.
func (h *Hub) Close() {
	h.off.Store(true)
	h.mu.Lock()
	h.closed = true
	for _, s := range h.subs {
		if s.conn != nil {
			s.conn.Close()
		}
		s.nudge()
	}
	h.mu.Unlock()
	h.goroutine.Wait()
}
