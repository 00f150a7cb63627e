// Package door is how strangers come to an HTTP server of ours: connections that are bounded, that end when their peer
// stalls or falls silent, and requests of which is known whether a web page or another user of this host sent them.
//
// Every public listener is served by Serve: the Lambda API now, the console and function URLs when they come. It gives
// each connection
//
//   - a bound on how many there are: beyond it the connection that was idle for longest is closed, and when none is idle the newest is refused;
//   - a deadline for the head of a request, one for the next request (idle), and, for a body and an answer, deadlines that move with progress: a slow peer
//     is served, a stalled one is not. While a handler works and nothing is due from the peer no deadline runs, so an invoke may take its 15 minutes.
//
// A handler that serves requests without a signature asks a Guard first.
//
// A Server owns its listener, its connections and the goroutines that refuse; Shutdown and Close end them.
package door

import (
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// Options of a Server. The zero value of a duration means its default.
type Options struct {
	// MaxConnections is how many connections are open at a time, at least 1.
	MaxConnections int
	Head           time.Duration // for the head of a request, from its first byte or the connection's begin; 10 s
	// Idle is how long a connection may wait for its next request; 2 minutes: longer than the pools of AWS's clients
	// keep one, so that it is the client that closes, and no request meets a connection on its way out.
	Idle time.Duration
	// Stall is how long the peer may take for the next minProgress bytes of a body; 30 s.
	Stall time.Duration
	// WriteStall is how long the peer may not read while an answer waits for it; 2 minutes: streams are read at the
	// pace of their reader.
	WriteStall time.Duration
	// Busy is the body of the answer (503, application/json) to a connection that is one too many.
	Busy     []byte
	ErrorLog *log.Logger
	// TLS, when set, is what connections begin with; then there is HTTP/2, too.
	TLS *tls.Config
}

func (o Options) withDefaults() Options {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.Head, 10 * time.Second}, {&o.Idle, 2 * time.Minute}, {&o.Stall, 30 * time.Second}, {&o.WriteStall, 2 * time.Minute}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	o.MaxConnections = max(o.MaxConnections, 1)
	return o
}

// Server serves one listener.
type Server struct {
	http   http.Server
	conns  *connections
	served chan error
}

// Serve begins to serve l. The server owns l.
func Serve(l net.Listener, h http.Handler, o Options) *Server {
	o = o.withDefaults()
	s := &Server{conns: newConnections(l, o), served: make(chan error, 1)}
	s.http = http.Server{
		Handler:           patient(h, o.Stall, o.WriteStall),
		ReadHeaderTimeout: o.Head,
		IdleTimeout:       o.Idle,
		ErrorLog:          o.ErrorLog,
		ConnState:         s.conns.moved,
		ConnContext:       withPeer,
	}
	if o.TLS != nil {
		s.http.TLSConfig = o.TLS
		s.http.HTTP2 = &http.HTTP2Config{SendPingTimeout: o.Stall, PingTimeout: o.Stall} // else nobody notices a peer that is gone
		go func() { s.served <- s.http.ServeTLS(s.conns, "", "") }()
		return s
	}
	go func() { s.served <- s.http.Serve(s.conns) }()
	return s
}

// Shutdown takes no more connections and waits for the requests that run, until ctx ends; then it ends them and says so.
func (s *Server) Shutdown(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, s.http.Close())
	}
	return errors.Join(err, s.wait())
}

// Close ends everything at once.
func (s *Server) Close() error {
	return errors.Join(s.http.Close(), s.wait())
}

func (s *Server) wait() error {
	s.conns.Close() //nolint:errcheck // http.Server has closed it; this waits
	s.conns.refusing.Wait()
	err := <-s.served
	s.served <- err // whoever asks again
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// connections is the listener as the HTTP server sees it: what it accepts is counted.
type connections struct {
	net.Listener
	o        Options
	refusing sync.WaitGroup
	slots    chan struct{} // of refusals in words

	mu sync.Mutex // guards what follows
	// quiet are the connections without a request: new or idle ones, and since when. The rest are in the middle of a request.
	quiet map[net.Conn]time.Time
	open  map[net.Conn]bool
}

// maxRefusing connections are refused in words at a time; what comes beyond them is closed without.
const maxRefusing = 32

func newConnections(l net.Listener, o Options) *connections {
	return &connections{Listener: l, o: o, slots: make(chan struct{}, maxRefusing), quiet: map[net.Conn]time.Time{}, open: map[net.Conn]bool{}}
}

// Accept implements net.Listener.
func (c *connections) Accept() (net.Conn, error) {
	for {
		raw, err := c.Listener.Accept()
		if err != nil {
			return nil, err
		}
		conn := &patientConn{Conn: raw, stall: c.o.WriteStall}
		if c.admit(conn) {
			return conn, nil
		}
		c.refuse(raw)
	}
}

// admit makes room for a connection by closing the one that was without a request for longest.
func (c *connections) admit(conn net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.open) >= c.o.MaxConnections {
		var oldest net.Conn
		for q, since := range c.quiet {
			if oldest == nil || since.Before(c.quiet[oldest]) {
				oldest = q
			}
		}
		if oldest == nil {
			return false
		}
		c.forgetLocked(oldest)
		oldest.Close()
	}
	c.open[conn] = true
	c.quiet[conn] = time.Now()
	return true
}

func (c *connections) forgetLocked(conn net.Conn) {
	delete(c.open, conn)
	delete(c.quiet, conn)
}

// moved is told of every move of a connection.
func (c *connections) moved(conn net.Conn, to http.ConnState) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open[conn] { // it was closed to make room
		return
	}
	switch to {
	case http.StateActive:
		delete(c.quiet, conn)
	case http.StateIdle:
		c.quiet[conn] = time.Now()
	case http.StateClosed, http.StateHijacked:
		c.forgetLocked(conn)
	}
}

// refuse answers a connection that is one too many, without reading its request.
func (c *connections) refuse(raw net.Conn) {
	if c.o.TLS != nil { // words would be no TLS
		raw.Close()
		return
	}
	select {
	case c.slots <- struct{}{}:
	default:
		raw.Close()
		return
	}
	c.refusing.Add(1)
	go func() {
		defer c.refusing.Done()
		defer func() { <-c.slots }()
		defer raw.Close()
		raw.SetDeadline(time.Now().Add(refusalTime)) //nolint:errcheck // then it is closed without words
		if _, err := raw.Write(busyAnswer(c.o.Busy)); err != nil {
			return
		}
		drain(raw) // closed with bytes unread, the connection would be reset and the answer lost
	}()
}
