package eventbridge

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"thaw/agenda"
	"thaw/courier"
	"thaw/eventpattern"
	"thaw/internal/plainjson"
	"thaw/internal/shape"
	"thaw/push"
)

// Options of a Server; all are required but Now.
type Options struct {
	AccountID string // 12 digits
	Records   push.Documents
	Functions courier.Functions
	Outbox    courier.Box
	Agenda    *agenda.Agenda
	Log       *slog.Logger
	Now       func() time.Time
}

// Server answers requests; it is an api.Service.
type Server struct {
	o       Options
	records *push.Table[Record]
	courier *courier.Courier

	changing sync.Mutex // of one change at a time
	mu       sync.RWMutex
	buses    map[busKey]*busRules // of buses that have rules
}

// busRules are the rules of a bus.
type busRules struct {
	names map[string]bool
	index eventpattern.Index[string] // of those that are enabled and have a pattern
}

// Open reads the buses and rules. Rules with schedules are in the agenda then.
func Open(ctx context.Context, o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	records, err := push.OpenTable[Record](ctx, o.Records)
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, records: records, buses: map[busKey]*busRules{},
		courier: &courier.Courier{Functions: o.Functions, Box: o.Outbox, Log: o.Log, Now: o.Now}}
	for _, r := range records.All() {
		if r.Rule != nil {
			s.know(r.Rule, o.Agenda.Load)
		}
	}
	return s, nil
}

// Name is the service's in signatures.
func (*Server) Name() string { return "events" }

// Target is what X-Amz-Target of its requests begins with.
func (*Server) Target() string { return "AWSEvents." }

// operations that there are. An answer of nil is an empty body.
var operations = map[string]func(*call) (any, error){
	"CreateEventBus":        createEventBus,
	"DeleteEventBus":        deleteEventBus,
	"DeleteRule":            deleteRule,
	"DescribeEventBus":      describeEventBus,
	"DescribeRule":          describeRule,
	"DisableRule":           disableRule,
	"EnableRule":            enableRule,
	"ListEventBuses":        listEventBuses,
	"ListRuleNamesByTarget": listRuleNamesByTarget,
	"ListRules":             listRules,
	"ListTagsForResource":   listTagsForResource,
	"ListTargetsByRule":     listTargetsByRule,
	"PutEvents":             putEvents,
	"PutPermission":         putPermission,
	"PutRule":               putRule,
	"PutTargets":            putTargets,
	"RemovePermission":      removePermission,
	"RemoveTargets":         removeTargets,
	"TagResource":           tagResource,
	"TestEventPattern":      testEventPattern,
	"UntagResource":         untagResource,
	"UpdateEventBus":        updateEventBus,
}

// call is one request.
type call struct {
	s      *Server
	r      *http.Request
	region string
	body   []byte
}

func (c *call) ctx() context.Context { return c.r.Context() }

// Serve answers a request.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, operation, region string, body []byte) {
	serve := operations[operation]
	switch {
	case serve != nil:
	case strings.Contains(absent, " "+operation+" "):
		s.Refuse(w, "NotImplementedException", operation+" is not implemented by this server: it has no archives, replays, API destinations, connections, global endpoints and partner sources.")
		return
	default:
		s.Refuse(w, "UnknownOperationException", "")
		return
	}
	answer, err := serve(&call{s: s, r: r, region: region, body: body})
	if err == nil {
		s.write(w, http.StatusOK, answer)
		return
	}
	var f *failure
	if !errors.As(err, &f) {
		s.o.Log.Error("request failed", "request_id", w.Header().Get("X-Amzn-Requestid"), "operation", operation, "error", err)
		f = fail("InternalException", "The server's log has the reason under this request ID.")
	}
	s.Refuse(w, f.code, f.message)
}

// Refuse answers with an error, in the form of JSON 1.1.
func (s *Server) Refuse(w http.ResponseWriter, code, message string) {
	status := http.StatusBadRequest
	switch code {
	case "InternalException":
		status = http.StatusInternalServerError
	case "NotImplementedException":
		status = http.StatusNotImplemented
	}
	s.write(w, status, struct {
		Type    string `json:"__type"`
		Message string `json:"message,omitempty"`
	}{code, message})
}

var contentType = []string{"application/x-amz-json-1.1"}

func (s *Server) write(w http.ResponseWriter, status int, answer any) {
	body := []byte("{}")
	if answer != nil {
		body = plainjson.Value(answer)
	}
	h := w.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // nobody to tell
}

// decode reads the request. An empty body means {}; unknown members are ignored.
func decode[T any](c *call) (in T, err error) {
	in, wrong := shape.Decode[T](c.body)
	if wrong != "" {
		err = fail("SerializationException", "%s", wrong)
	}
	return in, err
}
