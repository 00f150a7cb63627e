package scheduler

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"thaw/agenda"
	"thaw/courier"
	"thaw/internal/plainjson"
	"thaw/internal/shape"
	"thaw/push"
)

// Options of a Server; all are required but Now and May.
type Options struct {
	AccountID string // 12 digits
	Records   push.Documents
	Functions courier.Functions
	Box       courier.Box
	// May says whether a role lets schedules do something; nil: everything.
	May func(role, action, resource string) bool
	// Put puts an event into a bus of this server, and returns when what it is for is on disk.
	Put    func(ctx context.Context, e *BusEvent) error
	Agenda *agenda.Agenda
	Log    *slog.Logger
	Now    func() time.Time
}

// BusEvent is an event for a bus.
type BusEvent struct {
	Bus                        string // ARN
	Source, DetailType, Detail string
	Resources                  []string
	Time                       time.Time
}

// ErrNoBus is what Put says of a bus that is not there.
var ErrNoBus = errors.New("the event bus does not exist on this server")

// Server answers requests; it is an api.Service.
type Server struct {
	o        Options
	records  *push.Table[Record]
	courier  *courier.Courier
	changing sync.Mutex // of one change at a time
}

// Open reads the schedules. They are in the agenda then.
func Open(ctx context.Context, o Options) (*Server, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	records, err := push.OpenTable[Record](ctx, o.Records)
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, records: records, courier: &courier.Courier{Functions: o.Functions, Box: o.Box, Log: o.Log, Now: o.Now}}
	for _, r := range records.All() {
		if r.Schedule != nil {
			s.plan(r.Schedule, o.Agenda.Load)
		}
	}
	return s, nil
}

// Name is the service's in signatures.
func (*Server) Name() string { return "scheduler" }

// Target is empty: the signature tells what requests are for.
func (*Server) Target() string { return "" }

// call is one request.
type call struct {
	s      *Server
	r      *http.Request
	query  url.Values
	region string
	name   string // in the path: of a schedule or a group, or an ARN
	body   []byte
}

func (c *call) ctx() context.Context { return c.r.Context() }

// operation is what a method at a path is.
type operation struct {
	name  string
	serve func(*call) (any, error)
}

var operations = map[string]operation{
	"POST schedules/":         {"CreateSchedule", createSchedule},
	"PUT schedules/":          {"UpdateSchedule", updateSchedule},
	"GET schedules/":          {"GetSchedule", getSchedule},
	"DELETE schedules/":       {"DeleteSchedule", deleteSchedule},
	"GET schedules":           {"ListSchedules", listSchedules},
	"POST schedule-groups/":   {"CreateScheduleGroup", createGroup},
	"GET schedule-groups/":    {"GetScheduleGroup", getGroup},
	"DELETE schedule-groups/": {"DeleteScheduleGroup", deleteGroup},
	"GET schedule-groups":     {"ListScheduleGroups", listGroups},
	"POST tags/":              {"TagResource", tagResource},
	"DELETE tags/":            {"UntagResource", untagResource},
	"GET tags/":               {"ListTagsForResource", listTags},
}

// route finds the operation of a request, and the name in its path.
func route(r *http.Request) (o operation, name string, ok bool) {
	first, rest, named := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	method := r.Method + " " + first
	if named && rest != "" {
		method += "/"
	}
	name, err := url.PathUnescape(rest)
	o, ok = operations[method]
	return o, name, ok && err == nil
}

// Serve answers a request.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, _, region string, body []byte) {
	o, name, ok := route(r)
	if !ok {
		s.Refuse(w, "UnknownOperationException", "There is no operation of EventBridge Scheduler at this path.")
		return
	}
	answer, err := o.serve(&call{s: s, r: r, query: r.URL.Query(), region: region, name: name, body: body})
	if err == nil {
		s.write(w, http.StatusOK, answer)
		return
	}
	var f *failure
	if !errors.As(err, &f) {
		s.o.Log.Error("request failed", "request_id", w.Header().Get("X-Amzn-Requestid"), "operation", o.name, "error", err)
		f = fail("InternalServerException", "The server's log has the reason under this request ID.")
	}
	s.Refuse(w, f.code, f.message)
}

// failure is an answer other than success.
type failure struct{ code, message string }

func (f *failure) Error() string { return f.code + ": " + f.message }

func fail(code, format string, v ...any) *failure { return &failure{code, fmt.Sprintf(format, v...)} }

func invalid(format string, v ...any) error { return fail("ValidationException", format, v...) }

func violated(v shape.Violations) error {
	if s := v.String(); s != "" {
		return invalid("%s", s)
	}
	return nil
}

var statuses = map[string]int{
	"ServiceQuotaExceededException": http.StatusPaymentRequired,
	"ConflictException":             http.StatusConflict,
	"ResourceNotFoundException":     http.StatusNotFound,
	"UnknownOperationException":     http.StatusNotFound,
	"InternalServerException":       http.StatusInternalServerError,
	"AccessDeniedException":         http.StatusForbidden,
	"ThrottlingException":           http.StatusTooManyRequests,
}

// Refuse answers with an error, in the form of REST with JSON.
func (s *Server) Refuse(w http.ResponseWriter, code, message string) {
	status := statuses[code]
	if status == 0 {
		status = http.StatusBadRequest
	}
	w.Header()["X-Amzn-Errortype"] = []string{code}
	s.write(w, status, struct{ Message string }{message})
}

func (s *Server) write(w http.ResponseWriter, status int, answer any) {
	body := []byte("{}")
	if answer != nil {
		body = plainjson.Value(answer)
	}
	h := w.Header()
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // nobody to tell
}

// decode reads the request. An empty body means {}; unknown members are ignored.
func decode[T any](c *call) (in T, err error) {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return in, nil
	}
	if err = json.Unmarshal(c.body, &in); err != nil {
		err = fail("ValidationException", "The request body is not what the operation takes: %v", err)
	}
	return in, err
}

// parameter is an optional part of the query.
func (c *call) parameter(name string) *string {
	if !c.query.Has(name) {
		return nil
	}
	s := c.query.Get(name)
	return &s
}
