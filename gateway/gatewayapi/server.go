// Package gatewayapi is the operations of API Gateway: apigatewayv2 (HTTP and WebSocket APIs) below /v2/, and apigateway
// (REST APIs) beside it. Both are REST-JSON, and their requests are signed for the same service. Whoever serves it has
// checked signatures, and gives it whole bodies (api.Service).
//
// An operation changes a record of the gateway (gateway.Records); what is served is the gateway's business. A change is
// made on a copy, and is on disk when the operation answers.
//
// Files: http_* are of apigatewayv2, rest_* of apigateway, the others of both.
//
// Source: API Gateway's service models (botocore 1.43.11: apigatewayv2 2018-11-29, apigateway 2015-07-09) and references.
package gatewayapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"thaw/gateway"
	"thaw/internal/plainjson"
)

// Options of a Server; all are required but Now.
type Options struct {
	Records   *gateway.Records
	AccountID string // 12 digits
	// Endpoint is the URL of an API without its stage: https://ID.execute-api.REGION.DOMAIN.
	Endpoint func(a *gateway.API) string
	// Used is how many requests keys have made in the current period of a plan's quota, by their IDs.
	Used func(p *gateway.Plan) map[string]int
	// Forget makes whoever serves a stage forget what its authorizers have said.
	Forget func(api, stage string)
	Log    *slog.Logger
	Now    func() time.Time
}

// Server answers requests; it is an api.Service.
type Server struct {
	o     Options
	table []*operation
}

// New makes a Server.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Server{o: o, table: prepare(operationsOfHTTP(), operationsOfREST(), refusals())}
}

// Name is the service's in signatures.
func (*Server) Name() string { return "apigateway" }

// Target is empty: the path says what a request is for.
func (*Server) Target() string { return "" }

// operation is one row of the API.
type operation struct {
	name, method, path string
	// query is a parameter that tells it from another of the same path: mode=import.
	query  string
	status int
	serve  func(*call) (any, error)

	segments []string
}

func prepare(tables ...[]*operation) (all []*operation) {
	for _, t := range tables {
		for _, o := range t {
			o.segments = strings.Split(strings.Trim(o.path, "/"), "/")
			all = append(all, o)
		}
	}
	return all
}

// call is one request.
type call struct {
	s      *Server
	w      http.ResponseWriter
	r      *http.Request
	op     *operation
	region string
	body   []byte
	vars   map[string]string // of the path
	query  url.Values
}

func (c *call) ctx() context.Context     { return c.r.Context() }
func (c *call) now() time.Time           { return c.s.o.Now().UTC().Truncate(time.Second) }
func (c *call) version2() bool           { return strings.HasPrefix(c.r.URL.Path, "/v2/") }
func (c *call) apis() *gateway.Records   { return c.s.o.Records }
func (c *call) flag(name string) bool    { return c.query.Get(name) == "true" }
func (c *call) ours(a *gateway.API) bool { return a != nil && a.Region == c.region }

// find is the operation of a request, with what its path says; nil: there is none. A label is one segment as it was sent,
// so it may have an escaped slash in it: ARNs and route keys have.
func (s *Server) find(r *http.Request) (*operation, map[string]string) {
	segments, query := segmentsOf(r), r.URL.Query()
	for _, o := range s.table {
		if o.method != r.Method {
			continue
		}
		if name, value, is := strings.Cut(o.query, "="); is && query.Get(name) != value {
			continue
		}
		if vars, ok := o.match(segments); ok {
			return o, vars
		}
	}
	return nil, nil
}

func (o *operation) match(segments []string) (map[string]string, bool) {
	greedy := strings.HasSuffix(o.path, "+}")
	if len(segments) < len(o.segments) || len(segments) > len(o.segments) && !greedy {
		return nil, false
	}
	vars := map[string]string{}
	for i, want := range o.segments {
		got := segments[i]
		if i == len(o.segments)-1 && greedy {
			got = strings.Join(segments[i:], "/")
		}
		text, err := url.PathUnescape(got)
		switch {
		case err != nil:
			return nil, false
		case strings.HasPrefix(want, "{") && got != "":
			vars[strings.Trim(want, "{+}")] = text
		case want != text:
			return nil, false
		}
	}
	return vars, true
}

// Serve answers a request.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, _, region string, body []byte) {
	o, vars := s.find(r)
	if o == nil {
		s.refuse(w, fail(http.StatusNotFound, "UnknownOperationException", "there is no operation %s %s of API Gateway", r.Method, r.URL.Path))
		return
	}
	c := &call{s: s, w: w, r: r, op: o, region: region, body: body, vars: vars, query: r.URL.Query()}
	answer, err := o.serve(c)
	if err != nil {
		e, ours := answerFor(err)
		if ours {
			s.o.Log.Error("request failed", "request_id", w.Header().Get("X-Amzn-Requestid"), "operation", o.name, "error", err)
		}
		s.refuse(w, e)
		return
	}
	status := o.status
	if status == 0 {
		status = http.StatusOK
	}
	if d, is := answer.(document); is {
		w.Header().Set("Content-Disposition", `attachment; filename="`+d.name+`"`)
		s.send(w, status, d.contentType, d.body)
		return
	}
	s.write(w, status, answer)
}

// document is an answer that is no JSON of the protocol: an export.
type document struct {
	name, contentType string
	body              []byte
}

func (s *Server) write(w http.ResponseWriter, status int, answer any) {
	var body []byte
	if answer != nil {
		var err error
		if body, err = plainjson.Marshal(answer); err != nil {
			s.o.Log.Error("answer of API Gateway", "error", err)
			status = http.StatusInternalServerError
		}
	}
	s.send(w, status, "application/json", body)
}

func (s *Server) send(w http.ResponseWriter, status int, contentType string, body []byte) {
	if status != http.StatusNoContent {
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	if status != http.StatusNoContent {
		w.Write(body) //nolint:errcheck // nobody to tell
	}
}

// read takes the members of a request's body into in, over what is there. Maps gain members, lists are replaced; unknown
// members are ignored.
func (c *call) read(in any) error {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return nil
	}
	err := json.Unmarshal(c.body, in)
	var typ *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &typ):
		return fail(http.StatusBadRequest, "SerializationException", "%s: a %s is not what belongs there", typ.Field, typ.Value)
	}
	return fail(http.StatusBadRequest, "SerializationException", "the body is no JSON: %v", err)
}

// over takes the members of a request's body into in, as read does, but for those whose pointers are given: they are
// replaced as a whole where the request has them.
func (c *call) over(in any, whole ...any) error {
	var were []reflect.Value
	for _, p := range whole {
		v := reflect.ValueOf(p).Elem()
		were = append(were, reflect.ValueOf(v.Interface()))
		v.SetZero()
	}
	err := c.read(in)
	for i, p := range whole {
		if v := reflect.ValueOf(p).Elem(); v.IsZero() {
			v.Set(were[i])
		}
	}
	return err
}
