package websocket

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	ws "github.com/gorilla/websocket"

	"thaw/gateway"
	"thaw/push"
	"thaw/trigger"
)

// maxTimeout is how long a function may take for a message, and what holds where its integration says nothing. Source: API
// Gateway Developer Guide, "Quotas for configuring and running a WebSocket API".
const maxTimeout = 29 * time.Second

// run is an integration that is to run for an event.
type run struct {
	place      *gateway.Place
	definition *gateway.Definition
	route      *gateway.Route
	c          *connection
	event      *trigger.SocketEvent
	kind       string // CONNECT, MESSAGE, DISCONNECT
	payload    []byte // the event as functions see it
	body       []byte // of the message; of other events nil
	messageID  string
	traceID    string

	status int // for the access log
	took   time.Duration
	err    error
	told   string // to the client, of err; empty: internalError
}

// result is what an integration answers: to a handshake an HTTP response, to a message what goes back to the client.
type result struct {
	*trigger.Response
	binary bool
}

// deployed is what a stage serves; nil: nothing.
func deployed(a *gateway.API, st *gateway.Stage) *gateway.Definition {
	if d := a.Deployments[st.Deployment]; d != nil {
		return &d.Definition
	}
	return nil
}

// event is an event of the connection.
func (c *connection) event(st *gateway.Stage, request, route string) *trigger.SocketEvent {
	return &trigger.SocketEvent{ID: request, Time: time.Now(), Route: route,
		Socket: trigger.Socket{ID: c.id, API: c.at.api, Stage: c.at.stage, Domain: c.domain,
			Connected: c.connected, SourceIP: c.sourceIP, UserAgent: c.userAgent, Judged: c.judged, Variables: st.Variables}}
}

const internalError = "Internal server error"

// message has the function of a message run, and sends back what it answers where the route wants that.
func (c *connection) message(body []byte, binary bool) {
	request, id := newID(), newID()
	p, d := c.s.served(c)
	if d == nil {
		c.tell("Forbidden", request)
		return
	}
	route := routeFor(d, &Selection{Body: body, Variables: p.Stage.Variables,
		Context: map[string]string{"connectionId": c.id, "apiId": c.at.api, "stage": c.at.stage, "domainName": c.domain}})
	if route == nil {
		c.tell("Forbidden", request)
		return
	}
	e := c.event(p.Stage, request, route.Key)
	if !c.s.o.APIs.AllowSocket(p, route.Key) {
		line := &run{place: p, route: route, c: c, event: e, kind: "MESSAGE", messageID: id, status: http.StatusTooManyRequests,
			err: errThrottled, told: "Too Many Requests"}
		c.s.o.APIs.LogSocket(p, line.variable)
		c.tell(line.told, request)
		return
	}
	payload, err := e.Message(id, body, binary)
	if err != nil {
		c.tell(internalError, request)
		return
	}
	got, err := c.s.run(context.Background(), &run{place: p, definition: d, route: route, c: c, event: e, kind: "MESSAGE",
		payload: payload, body: body, messageID: id})
	if err != nil {
		c.tell(internalError, request)
		return
	}
	if got == nil || len(got.Body) == 0 || len(route.Responses) == 0 && route.ResponseSelection == "" {
		return // one way
	}
	kind := ws.TextMessage
	if got.binary {
		kind = ws.BinaryMessage
	}
	if len(got.Body) > maxMessage || errors.Is(c.send(kind, got.Body), errFull) {
		c.tell(internalError, request)
	}
}

// disconnect tells $disconnect, where there is such a route. Nobody learns how that ends.
func (c *connection) disconnect(how Ending) {
	p, d := c.s.served(c)
	if d == nil {
		return
	}
	route := routeOf(d, "$disconnect")
	if route == nil {
		return
	}
	e := c.event(p.Stage, newID(), route.Key)
	payload, err := e.Disconnect(how.Status, how.Reason)
	if err != nil {
		return
	}
	c.s.run(context.Background(), &run{place: p, definition: d, route: route, c: c, event: e, kind: "DISCONNECT", payload: payload}) //nolint:errcheck // it was logged
}

// run has an integration run. A nil result: it answers nothing. An error was logged, and the client is told no more than
// that there was one.
func (s *Server) run(ctx context.Context, r *run) (*result, error) {
	began := time.Now()
	got, err := s.integrate(ctx, r)
	r.took, r.err, r.status = time.Since(began), err, http.StatusOK
	switch {
	case err != nil: // nothing of the message or the answer is in it
		r.status = http.StatusInternalServerError
		s.o.Log.Warn("WebSocket API", "api", r.c.at.api, "stage", r.c.at.stage, "route", r.route.Key, "connection", r.c.id,
			"request_id", r.event.ID, "error", err)
	case got != nil:
		r.status = got.Status
	}
	s.o.APIs.LogSocket(r.place, r.variable)
	return got, err
}

func (s *Server) integrate(ctx context.Context, r *run) (*result, error) {
	in := r.definition.Integrations[strings.TrimPrefix(r.route.Integration, "integrations/")]
	if in == nil {
		return nil, errors.New("the route has no integration")
	}
	timeout := maxTimeout
	if in.Timeout > 0 {
		timeout = min(timeout, time.Duration(in.Timeout)*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	switch in.Type {
	case "AWS_PROXY":
		payload, err := s.invoke(ctx, r, in, r.payload)
		if err != nil {
			return nil, err
		}
		answer, binary, err := trigger.ParseSocket(payload)
		if err != nil {
			return nil, err
		}
		return &result{answer, binary}, nil
	case "AWS":
		return s.custom(ctx, r, in)
	case "MOCK":
		return s.mock(r, in)
	}
	return nil, fmt.Errorf("integrations of type %s are not served for WebSocket APIs; AWS_PROXY, AWS and MOCK are", in.Type)
}

// invoke has the integration's function run, and returns what it answered.
func (s *Server) invoke(ctx context.Context, r *run, in *gateway.Integration, payload []byte) ([]byte, error) {
	name, err := gateway.FunctionOf(in.URI, r.place.Stage.Variables)
	if err != nil {
		return nil, err
	}
	out, err := s.o.Functions.Invoke(ctx, &push.Delivery{Function: name, Service: "apigateway.amazonaws.com",
		Account: r.place.API.Account, Payload: payload,
		TraceID: r.traceID, Source: r.place.ExecuteARN("/" + r.route.Key)})
	switch {
	case err != nil:
		return nil, err
	case out.FunctionError != "" || out.StreamErrorType != "":
		return nil, fmt.Errorf("%s failed; its log says why", name)
	}
	return out.Payload, nil
}

// variable is a variable of the access log. Source: API Gateway Developer Guide, "Set up logging for WebSocket APIs".
func (r *run) variable(name string) (string, bool) {
	e := r.event
	switch name {
	case "requestId", "extendedRequestId":
		return e.ID, true
	case "connectionId":
		return r.c.id, true
	case "messageId":
		return r.messageID, r.messageID != ""
	case "eventType":
		return r.kind, true
	case "routeKey":
		return r.route.Key, true
	case "stage":
		return r.c.at.stage, true
	case "apiId":
		return r.c.at.api, true
	case "domainName":
		return r.c.domain, true
	case "messageDirection":
		return "IN", true
	case "requestTime":
		return e.Time.UTC().Format("02/Jan/2006:15:04:05 +0000"), true
	case "requestTimeEpoch":
		return strconv.FormatInt(e.Time.UnixMilli(), 10), true
	case "connectedAt":
		return strconv.FormatInt(r.c.connected.UnixMilli(), 10), true
	case "identity.sourceIp":
		return r.c.sourceIP, true
	case "identity.userAgent":
		return r.c.userAgent, r.c.userAgent != ""
	case "status", "integrationStatus":
		return strconv.Itoa(r.status), true
	case "integrationLatency", "integration.latency":
		return strconv.FormatInt(r.took.Milliseconds(), 10), true
	case "error.message", "integrationErrorMessage":
		if r.err == nil {
			return "", false
		}
		return cmp.Or(r.told, internalError), true
	case "error.messageString":
		return strconv.Quote(cmp.Or(r.told, internalError)), r.err != nil
	}
	return "", false
}
