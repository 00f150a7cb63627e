// Package runtimeapi is the HTTP address that a sandbox's processes talk to: the Runtime API (2018-06-01) with its
// SnapStart calls and the credentials endpoint (2021-04-23), and the Extensions API (2020-01-01).
//
// Who may call what, and when a phase is over, is decided by guest/readiness; this package speaks HTTP with the participants.
//
// # Why an HTTP server of its own
//
// Every invocation makes two or three HTTP exchanges here, inside a sandbox whose kernel may be a program (gVisor), where a wake-up costs several
// times what it costs natively, and there is one such server per sandbox, so its memory counts. What this one does for that: a request is
// one read, an answer is one write (head and body together up to renderLimit), on the goroutine that has the news. A next call parks without a
// goroutine waiting for its event: whoever brings the event writes it to the parked connection, whose goroutine is meanwhile reading what comes
// next, and so also notices a poller that goes away. An idle connection costs one page. The guest needs neither net nor net/http.
//
// BenchmarkExchange (next and response with a small event, client included) stands beside BenchmarkExchangeNetHTTP, the same with the least handler
// that net/http allows. Best of eight on two busy cores with one processor, as in the guest: 86 against 128 µs; 4.7 against 7.0 KB allocated. The number
// of system calls natively is the same; the difference is goroutine switches, header maps and copying. With more processors
// the two are as fast natively, and every switch is a futex call more, which is why the guest has one.
//
// # Owners
//
// An API is one generation of processes. Serve runs on the connection's own goroutine. mu guards the state; a conn's wmu is
// held while something is written to it and is taken after mu, never the other way round. Nothing is sent to the Host under mu.
package runtimeapi

import (
	"sync"
	"time"

	"thaw/guest/readiness"
	"thaw/guest/telemetry"
	"thaw/guest/wire"
)

// Host is the other side of the wall, as the API sees it.
type Host interface {
	// Send passes a message on; it may block. An error means that the host is gone.
	Send(kind wire.Kind, head any, body []byte) error
	// Queue passes a small message on together with what is sent next, or at Flush.
	Queue(kind wire.Kind, head any, body []byte) error
	Flush() error
	// SendReady passes Ready on, behind all output that the runtime's processes have written so far. SendRuntimeDone does the
	// same with RuntimeDone.
	SendReady(wire.Ready) error
	SendRuntimeDone(wire.RuntimeDone) error
	// AllRegistered: no external extension is waited for any longer, the runtime may be started.
	AllRegistered()
	// Condemned: the extension has said that it failed. Its exit is expected.
	Condemned(name string)
}

// Options are what an API is made of.
type Options struct {
	Generation  uint64
	SnapStart   bool   // restore/next, restore/error and the credentials endpoint exist
	Token       string // that the credentials endpoint asks for
	Host        Host
	Credentials wire.Credentials
	Function    wire.Function // what extensions are told about it
	// NoExtensions takes the Extensions API away. Source: spec 3.1, the file that disables extensions.
	NoExtensions bool
	Telemetry    *telemetry.Hub // nil: there is none
}

// invocation is the one that is current or waits to be.
type invocation struct {
	wire.Invoke
	event []byte
}

// API serves one generation of a sandbox's processes.
type API struct {
	generation uint64
	snapStart  bool
	token      string
	host       Host

	function wire.Function
	noExts   bool
	hub      *telemetry.Hub

	mu       sync.Mutex
	changed  sync.Cond // credit, credentials or closed changed
	crew     readiness.Crew
	exts     []*extension // of crew.Members, from 1 on
	over     wire.Ready   // what is told when everybody is parked
	doneAt   time.Time    // when the runtime was
	current  *invocation  // handed out; kept until the runtime calls next again
	waiting  *invocation  // arrived while nobody was parked
	parked   []*conn      // in a next call, oldest first
	restorer *conn        // parked in restore/next
	conns    map[*conn]struct{}
	release  string // the runtime's User-Agent
	gotAgent bool
	told     bool  // the first Ready went out
	credit   int64 // bytes of the current streamed response that the host will take
	creds    wire.Credentials
	blocked  bool // credentials are being swapped
	closed   bool

	done    chan struct{} // closed by Close
	exiting chan struct{} // closed by Exiting
}

// New makes the API of one generation. It starts nothing.
func New(o Options) *API {
	a := &API{generation: o.Generation, snapStart: o.SnapStart, token: o.Token, host: o.Host, creds: o.Credentials, conns: map[*conn]struct{}{}, done: make(chan struct{}),
		exiting: make(chan struct{}), crew: readiness.NewCrew(), exts: []*extension{nil}, function: o.Function, noExts: o.NoExtensions, hub: o.Telemetry}
	a.changed.L = &a.mu
	return a
}

// State is where the runtime stands.
func (a *API) State() readiness.State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stateLocked()
}

func (a *API) stateLocked() readiness.State { return a.crew.Members[0].State }

// Deliver hands an event to the extensions that want it and to the parked runtime, or keeps it for the next call. The
// event is not copied. It never waits for the runtime: what does not fit into the connection at once is written by a
// goroutine.
func (a *API) Deliver(i wire.Invoke, event []byte) {
	in := &invocation{i, event}
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return
	}
	invited := a.inviteLocked(readiness.Invoke)
	var c *conn
	if a.stateLocked() == readiness.Ready {
		c = a.unparkLocked()
	}
	if c == nil {
		a.waiting = in
		a.mu.Unlock()
		a.invite(invited, &i)
		return
	}
	a.crew.Step(0, readiness.Delivered)
	a.current = in
	head, rest := renderEvent(in)
	a.mu.Unlock()
	c.release(head, rest)
	a.invite(invited, &i) // no order is promised, and the caller waits for the runtime
}

func (a *API) invite(invited []*extension, i *wire.Invoke) {
	if len(invited) > 0 {
		a.hand(invited, eventID(i), invokeEvent(i))
	}
}

// unparkLocked takes a poller: the newest, because an older one may be a client that gave up waiting.
// Those whose client has closed its sending half come last.
func (a *API) unparkLocked() *conn {
	for _, half := range []bool{false, true} {
		for i := len(a.parked) - 1; i >= 0; i-- {
			if c := a.parked[i]; c.half == half {
				a.parked = append(a.parked[:i], a.parked[i+1:]...)
				return c
			}
		}
	}
	return nil
}

// Credit says that the host will take n bytes more of the streamed response of a request.
func (a *API) Credit(requestID string, n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.current != nil && a.current.RequestID == requestID {
		a.credit += n
		a.changed.Broadcast()
	}
}

// BlockCredentials holds calls of the credentials endpoint from now until Restored.
func (a *API) BlockCredentials() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.blocked = true
}

// SetCredentials changes what the credentials endpoint serves.
func (a *API) SetCredentials(c wire.Credentials) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.creds = c
}

// Restored puts new credentials in place and then answers a parked restore/next. A runtime that is parked in
// invocation/next hears nothing; the host is told that it is ready.
func (a *API) Restored(c wire.Credentials) error {
	a.mu.Lock()
	a.creds, a.blocked = c, false
	a.changed.Broadcast()
	told := make([]wire.Extension, 0, len(a.exts)-1)
	for who := 1; who < len(a.exts); who++ {
		told = append(told, a.extensionLocked(who))
	}
	a.mu.Unlock()
	for _, m := range told { // to this host they are new
		if err := a.send(wire.KindExtension, m, nil); err != nil {
			return err
		}
	}
	a.mu.Lock()
	if verdict, _ := a.crew.Step(0, readiness.Released); verdict == readiness.Answer {
		restorer := a.restorer
		a.restorer = nil
		a.mu.Unlock()
		if restorer != nil {
			restorer.release([]byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), nil)
		}
		return nil
	}
	ready := a.crew.Holds(readiness.AllParked)
	a.mu.Unlock()
	if ready {
		return a.host.SendReady(wire.Ready{Generation: a.generation, Next: wire.NextInvocation})
	}
	return nil
}

// Close ends all connections and waits of this generation. What a connection's goroutine does afterwards reaches nobody.
func (a *API) Close() {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return
	}
	a.closed = true
	close(a.done)
	for _, e := range a.exts[1:] {
		e.conn = nil
	}
	conns := make([]*conn, 0, len(a.conns))
	for c := range a.conns {
		conns = append(conns, c)
	}
	a.parked, a.restorer, a.current, a.waiting = nil, nil, nil, nil
	a.changed.Broadcast()
	a.mu.Unlock()
	for _, c := range conns {
		c.s.Close()
	}
}

// Exiting says that the runtime's process has ended, and that the host will be told so: a response that breaks off now
// is not told of. It is called once.
func (a *API) Exiting() { close(a.exiting) }

// Idle waits until the runtime's side has closed all connections, so that all that it sent was dealt with. It stops waiting when
// stop is closed, and says whether it saw the end.
func (a *API) Idle(stop <-chan struct{}) bool {
	gone := make(chan struct{})
	defer close(gone)
	go func() {
		select {
		case <-stop:
			a.mu.Lock()
			a.changed.Broadcast()
			a.mu.Unlock()
		case <-gone:
		}
	}()
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		open := 0
		for c := range a.conns {
			if !c.half && !c.extension {
				open++
			}
		}
		if open == 0 || a.closed {
			return true
		}
		select {
		case <-stop:
			return false
		default:
		}
		a.changed.Wait()
	}
}

// send passes a message of this generation on, unless the generation has ended.
func (a *API) send(kind wire.Kind, head any, body []byte) error {
	a.mu.Lock()
	closed := a.closed
	a.mu.Unlock()
	if closed {
		return nil
	}
	return a.host.Send(kind, head, body)
}

// sendWithNext is send, or Queue where the client's call of next has come along: then the host hears of both at once.
func (a *API) sendWithNext(c *conn, kind wire.Kind, head any, body []byte) error {
	if len(body) > renderLimit || !c.in.nextFollows() {
		return a.send(kind, head, body)
	}
	a.mu.Lock()
	closed := a.closed
	a.mu.Unlock()
	if closed {
		return nil
	}
	c.queued = true
	return a.host.Queue(kind, head, body)
}

// flush sends what sendWithNext has left, if the call of next has not sent it.
func (a *API) flush(c *conn) error {
	if !c.queued {
		return nil
	}
	c.queued = false
	return a.host.Flush()
}
