package websocket

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"thaw/access"
	"thaw/gateway"
	"thaw/push"
)

// Options of a Server. Members without a stated default are required.
type Options struct {
	Records   *gateway.Records
	Functions *push.Functions
	APIs      *gateway.Server   // judges handshakes, and bounds and logs what comes
	Templates gateway.Templates // nil: integrations with templates are refused
	// Sender says who signed a request of the management API.
	Sender func(r *http.Request, service string, body []byte) (who *access.Caller, accessKey string, err error)
	Log    *slog.Logger

	Idle  time.Duration // how long nothing may come or go; 10 minutes
	Life  time.Duration // of a connection; 2 hours
	Grace time.Duration // for the client's close frame; 5 s
	Stall time.Duration // how long a client may not read while something waits for it; 2 minutes, as door has it for all
	Sweep time.Duration // between two looks for stages that are gone; 1 s
	// MaxConnections bounds the open connections; 0: there is no bound.
	MaxConnections int
	// TextAlone closes connections that send binary messages, as AWS does.
	TextAlone bool
}

// Refusal is an answer to a handshake that becomes no connection.
type Refusal struct {
	Status        int
	Code, Message string // of the header X-Amzn-Errortype, and the body
}

// Server serves WebSocket APIs. Open it, Close it.
type Server struct {
	o    Options
	work sync.WaitGroup // every goroutine
	stop chan struct{}
	ends chan struct{} // places among the $disconnect functions that run

	mu       sync.Mutex
	open     map[string]*connection // by ID, opening ones included
	stages   map[stageKey]*stage
	stopping bool
}

type stageKey struct{ api, stage string }

// stage is a stage that has connections, as it was when it was seen last: $disconnect is told, too, when it is gone.
type stage struct {
	api   *gateway.API
	stage *gateway.Stage
	of    map[string]*connection
}

// maxEnds bounds the $disconnect functions that run at a time: of ten thousand connections that end together not all
// functions begin together.
const maxEnds = 64

// Open returns a Server ready to serve.
func Open(o Options) *Server {
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{{&o.Idle, 10 * time.Minute}, {&o.Life, 2 * time.Hour}, {&o.Grace, 5 * time.Second}, {&o.Stall, 2 * time.Minute}, {&o.Sweep, time.Second}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	s := &Server{o: o, stop: make(chan struct{}), ends: make(chan struct{}, maxEnds), open: map[string]*connection{}, stages: map[stageKey]*stage{}}
	s.work.Go(s.sweep)
	return s
}

// Connections is how many there are.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Close ends every connection with 1001, and returns when their $disconnect functions have ended, or ctx has.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	was := s.stopping
	s.stopping = true
	all := make([]*connection, 0, len(s.open))
	for _, c := range s.open {
		all = append(all, c)
	}
	s.mu.Unlock()
	if !was {
		close(s.stop)
	}
	for _, c := range all {
		c.happen(ServerStops)
	}
	done := make(chan struct{})
	go func() { // ends with the work, which the pool bounds when ctx does not
		s.work.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("not all connections have ended")
	}
}

// sweep ends the connections of stages that are gone.
func (s *Server) sweep() {
	t := time.NewTicker(s.o.Sweep)
	defer t.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
		}
		var gone []*connection
		s.mu.Lock()
		for key, st := range s.stages {
			api := s.o.Records.APIs.Get(key.api)
			if api != nil && api.Stages[key.stage] != nil {
				st.api, st.stage = api, api.Stages[key.stage]
				continue
			}
			for _, c := range st.of {
				gone = append(gone, c)
			}
		}
		s.mu.Unlock()
		for _, c := range gone {
			c.happen(StageRemoved)
		}
	}
}

// admit takes a connection in. The answer says why it does not; nil: it does.
func (s *Server) admit(c *connection, p *gateway.Place) *Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopping:
		return &Refusal{http.StatusServiceUnavailable, "ServiceUnavailableException", "Service Unavailable"}
	case s.o.MaxConnections > 0 && len(s.open) >= s.o.MaxConnections:
		return &Refusal{http.StatusTooManyRequests, "LimitExceededException", "Too Many Connections"}
	}
	s.open[c.id] = c
	st := s.stages[c.at]
	if st == nil {
		st = &stage{of: map[string]*connection{}}
		s.stages[c.at] = st
	}
	st.api, st.stage = p.API, p.Stage
	st.of[c.id] = c
	s.work.Add(1) // it is done when the connection is gone
	return nil
}

// forget takes a connection out. It is called once, by its owner.
func (s *Server) forget(c *connection) {
	s.mu.Lock()
	delete(s.open, c.id)
	if st := s.stages[c.at]; st != nil {
		if delete(st.of, c.id); len(st.of) == 0 {
			delete(s.stages, c.at)
		}
	}
	s.mu.Unlock()
	s.work.Done()
}

// find is an open connection; nil: there is none.
func (s *Server) find(id string) *connection {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open[id]
}

// served is what is served at a stage now, or was when it was seen last; the definition is nil where nothing is deployed.
func (s *Server) served(c *connection) (*gateway.Place, *gateway.Definition) {
	p := &gateway.Place{Domain: c.domain}
	if p.API = s.o.Records.APIs.Get(c.at.api); p.API != nil {
		p.Stage = p.API.Stages[c.at.stage]
	}
	if p.Stage == nil {
		s.mu.Lock()
		if was := s.stages[c.at]; was != nil {
			p.API, p.Stage = was.api, was.stage
		}
		s.mu.Unlock()
	}
	if p.Stage == nil {
		return nil, nil
	}
	return p, deployed(p.API, p.Stage)
}

// ServePlace answers a request for a stage: a handshake, or a call of the management API.
func (s *Server) ServePlace(w http.ResponseWriter, r *http.Request, p *gateway.Place) {
	if path, ok := strings.CutPrefix(p.Path, managePath); ok && p.Stage != nil {
		s.manage(w, r, &stageKey{p.API.ID, p.Stage.Name}, path)
		return
	}
	s.handshake(w, r, p)
}

// newID is the ID of a connection, a message or a request, as AWS's look: 88 bits.
func newID() string {
	var b [11]byte
	rand.Read(b[:]) //nolint:errcheck // never fails: documented
	return base64.URLEncoding.EncodeToString(b[:])
}
