package websocket

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	ws "github.com/gorilla/websocket"

	"thaw/gateway"
	"thaw/trace"
	"thaw/trigger"
)

// forbidden is the answer to a request for what is not there.
func forbidden() *Refusal {
	return &Refusal{http.StatusForbidden, "ForbiddenException", "Forbidden"}
}

// upgrader writes the answers to handshakes. A connection keeps no buffer for writing, and of the buffers of net/http none.
var upgrader = ws.Upgrader{ReadBufferSize: readBuffer, WriteBufferSize: 4 << 10, WriteBufferPool: &sync.Pool{}, HandshakeTimeout: 10 * time.Second,
	CheckOrigin: func(*http.Request) bool { return true }, // pages of any origin may, as at AWS; $connect sees Origin
	Error:       func(http.ResponseWriter, *http.Request, int, error) {}}

// handshake answers a request for a connection, and serves that.
func (s *Server) handshake(w http.ResponseWriter, r *http.Request, p *gateway.Place) {
	request := newID()
	w.Header()["X-Amzn-Requestid"] = []string{request}
	if why := notWebSocket(r); why != nil {
		if why.Status == http.StatusUpgradeRequired {
			w.Header()["Upgrade"], w.Header()["Connection"] = []string{"websocket"}, []string{"Upgrade"}
		}
		refuse(w, why, "", request)
		return
	}
	if p.Stage == nil || strings.Trim(p.Path, "/") != "" {
		refuse(w, forbidden(), "", request)
		return
	}
	c := &connection{s: s, id: newID(), at: stageKey{p.API.ID, p.Stage.Name}, domain: p.Domain, userAgent: r.UserAgent(), connected: time.Now()}
	c.sourceIP = gateway.SourceIP(r)
	c.touch()
	if why := s.admit(c, p); why != nil {
		refuse(w, why, c.id, request)
		return
	}
	owned := true
	defer func() {
		if owned { // also where something has panicked
			c.happen(Refused)
			s.forget(c)
		}
	}()
	answer, why := c.connect(r, p, request)
	switch {
	case why != nil:
		refuse(w, why, c.id, request)
		return
	case answer != nil && (answer.Status < 200 || answer.Status > 299):
		passOn(w, answer)
		return
	}
	if err := c.upgrade(w, r, answer); err != nil {
		c.happen(AnswerLost)
	}
	owned = false
	s.work.Go(c.live) // not this goroutine: what it holds of the request would stay as long as the connection
}

// live is the rest of a connection's life, by its owner.
func (c *connection) live() {
	defer c.s.forget(c)
	if c.ws != nil {
		c.read()
		c.timer.Stop()
	}
	c.mu.Lock()
	untold, how := c.untold, c.ending
	c.mu.Unlock()
	if untold {
		c.s.ends <- struct{}{}
		c.disconnect(how)
		<-c.s.ends
	}
}

// notWebSocket says why a request is no handshake; nil: it is one.
func notWebSocket(r *http.Request) *Refusal {
	switch {
	case !ws.IsWebSocketUpgrade(r):
		return &Refusal{http.StatusUpgradeRequired, "UpgradeRequiredException", "Upgrade Required"}
	case r.Method != http.MethodGet, r.ProtoMajor != 1:
		return &Refusal{http.StatusBadRequest, "BadRequestException", "Bad Request"}
	case !slices.Contains(r.Header["Sec-Websocket-Version"], "13"):
		return &Refusal{http.StatusBadRequest, "BadRequestException", "Unsupported WebSocket version: 13 is wanted"}
	}
	if key, err := base64.StdEncoding.DecodeString(r.Header.Get("Sec-Websocket-Key")); err != nil || len(key) != 16 {
		return &Refusal{http.StatusBadRequest, "BadRequestException", "Sec-WebSocket-Key must be 16 bytes in base64"}
	}
	return nil
}

// connect asks authorizer and $connect. The answer is the function's; nil: there is no such route.
func (c *connection) connect(r *http.Request, p *gateway.Place, request string) (*trigger.Response, *Refusal) {
	d := deployed(p.API, p.Stage)
	if d == nil {
		return nil, forbidden()
	}
	route := routeOf(d, "$connect")
	if route == nil {
		return nil, nil
	}
	h := handshakeOf(r, c)
	e := c.event(p.Stage, request, route.Key)
	refused := func(why *Refusal, err error) (*trigger.Response, *Refusal) {
		line := &run{place: p, route: route, c: c, event: e, kind: "CONNECT", status: why.Status, err: err, told: why.Message}
		c.s.o.APIs.LogSocket(p, line.variable)
		return nil, why
	}
	if !c.s.o.APIs.AllowSocket(p, route.Key) {
		return refused(&Refusal{http.StatusTooManyRequests, "TooManyRequestsException", "Too Many Requests"}, errThrottled)
	}
	said, err := c.s.o.APIs.JudgeSocket(r, p, route, func(methodARN string) ([]byte, error) { return e.Authorizer(methodARN, h) })
	if err != nil {
		return refused(c.notJudged(err), err)
	}
	if said != nil {
		if c.judged, err = json.Marshal(said); err != nil {
			return nil, internal()
		}
		e.Judged = c.judged
	}
	payload, err := e.Connect(h)
	if err != nil {
		return nil, internal()
	}
	// A client that goes away meanwhile ends nothing: the function may have noted the connection, and is told of its end.
	got, err := c.s.run(context.WithoutCancel(r.Context()), &run{place: p, definition: d, route: route, event: e,
		kind: "CONNECT", payload: payload, traceID: h.TraceID, c: c})
	switch {
	case err != nil:
		return nil, internal()
	case got == nil: // the integration answers nothing of its own
		return &trigger.Response{Status: http.StatusOK}, nil
	}
	return got.Response, nil
}

// notJudged is the answer to a handshake that the authorizer, or what stands before it, refuses.
func (c *connection) notJudged(err error) *Refusal {
	var why *gateway.Refusal
	if !errors.As(err, &why) {
		return internal()
	}
	status, code, message := why.Answer()
	if status >= http.StatusInternalServerError {
		c.s.o.Log.Warn("WebSocket API", "api", c.at.api, "stage", c.at.stage, "connection", c.id, "error", err)
	}
	return &Refusal{status, code, message}
}

// handshakeOf is the request as functions see it.
func handshakeOf(r *http.Request, c *connection) *trigger.Request {
	h := &trigger.Request{Query: r.URL.RawQuery, Scheme: "http", SourceIP: c.sourceIP, Host: r.Host, Header: r.Header}
	if r.TLS != nil {
		h.Scheme = "https"
	}
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		_, h.Port, _ = net.SplitHostPort(a.String()) //nolint:errcheck // then it is empty
	}
	h.TraceID, _ = trace.FromHTTP(r.Header.Get("X-Amzn-Trace-Id"), r.Header.Get("Traceparent"), r.Header["Tracestate"])
	if trace.ParseHeader(h.TraceID).Root == "" {
		h.TraceID = trace.Header{Root: trace.NewRoot()}.String()
	}
	return h
}

// errThrottled says that more came than a stage lets through.
var errThrottled = errors.New("more came than the stage's bound lets through")

func internal() *Refusal {
	return &Refusal{http.StatusBadGateway, "InternalServerErrorException", "Internal server error"}
}

// upgrade answers the handshake, and opens the connection.
func (c *connection) upgrade(w http.ResponseWriter, r *http.Request, answer *trigger.Response) error {
	var header http.Header
	if answer != nil {
		header = http.Header{}
		for name, values := range answer.Header {
			name = textproto.CanonicalMIMEHeaderKey(name)
			if name != "Content-Type" && name != "Sec-Websocket-Extensions" && name != "Sec-Websocket-Accept" {
				header[name] = values
			}
		}
	}
	conn, err := upgrader.Upgrade(&hijacker{ResponseWriter: w}, r, header)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.ws = conn
	c.timer = time.AfterFunc(min(c.s.o.Idle, c.s.o.Life), c.watch)
	c.mu.Unlock()
	c.happen(Accepted)
	c.s.mu.Lock()
	stopping := c.s.stopping
	c.s.mu.Unlock()
	if stopping { // since the connection was admitted
		c.happen(ServerStops)
	}
	return nil
}

// hijacker hands out a transport whose frames are looked at.
type hijacker struct{ http.ResponseWriter }

// Hijack implements http.Hijacker.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if rw.Reader.Buffered() > 0 {
		conn.Close()
		return nil, nil, errors.New("the client has sent frames before its handshake was answered")
	}
	return &framed{Conn: conn}, rw, nil
}

// passOn answers with what $connect has, which is no acceptance.
func passOn(w http.ResponseWriter, answer *trigger.Response) {
	h := w.Header()
	for name, values := range answer.Header {
		h[http.CanonicalHeaderKey(name)] = values
	}
	h["Content-Length"] = []string{strconv.Itoa(len(answer.Body))}
	w.WriteHeader(answer.Status)
	w.Write(answer.Body) //nolint:errcheck // nobody to tell
}

// refuse answers with an error of ours.
func refuse(w http.ResponseWriter, why *Refusal, connection, request string) {
	h := w.Header()
	h["X-Amzn-Errortype"], h["Content-Type"] = []string{why.Code}, []string{"application/json"}
	body := trigger.SocketError(why.Message, connection, request)
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(why.Status)
	w.Write(body) //nolint:errcheck // nobody to tell
}
