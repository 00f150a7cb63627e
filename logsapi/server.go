// Package logsapi is Amazon CloudWatch Logs laid over the log store: one file for each operation or pair of operations,
// in the protocol JSON 1.1. Whoever serves it has checked signatures, and gives it whole bodies (api.Service).
//
// Log groups belong to the server: every region shows the same ones, in ARNs of its own.
//
// Owner: a Server owns the goroutines of its queries; Close ends them and waits. Live tails belong to their requests,
// and end with Options.Stopping.
package logsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"thaw/internal/plainjson"
	"thaw/internal/shape"
	"thaw/logfeed"
	"thaw/logstore"
)

// Options of a Server; all are required but Now and Feed.
type Options struct {
	Logs      *logstore.Store
	AccountID string // 12 digits
	Log       *slog.Logger
	Stopping  <-chan struct{} // closed when the server ends: what would go on for hours ends
	Now       func() time.Time
	// Feed has the subscription filters; nil: there are none. It is set before the first request comes.
	Feed *logfeed.Feed
}

// Server answers requests; it is an api.Service.
type Server struct {
	o          Options
	operations map[string]func(*call) (any, error)
	queries    queries
}

// New makes a Server.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{o: o, operations: operations()}
	s.queries.open()
	return s
}

// Close ends what runs by itself.
func (s *Server) Close() { s.queries.close() }

// Subscribe has the server serve subscription filters. It is called before the first request comes.
func (s *Server) Subscribe(f *logfeed.Feed) { s.o.Feed = f }

// Name is the service's in signatures.
func (*Server) Name() string { return "logs" }

// Target is what X-Amz-Target of its requests begins with.
func (*Server) Target() string { return "Logs_20140328." }

// operations that there are. An answer of nil is an empty body; one that was written already is errAnswered.
func operations() map[string]func(*call) (any, error) {
	return map[string]func(*call) (any, error){
		"CreateLogGroup":              createLogGroup,
		"CreateLogStream":             createLogStream,
		"DeleteLogGroup":              deleteLogGroup,
		"DeleteLogStream":             deleteLogStream,
		"DeleteRetentionPolicy":       deleteRetentionPolicy,
		"DeleteSubscriptionFilter":    deleteSubscriptionFilter,
		"DescribeLogGroups":           describeLogGroups,
		"DescribeLogStreams":          describeLogStreams,
		"DescribeQueries":             describeQueries,
		"DescribeSubscriptionFilters": describeSubscriptionFilters,
		"FilterLogEvents":             filterLogEvents,
		"GetLogEvents":                getLogEvents,
		"GetQueryResults":             getQueryResults,
		"ListLogGroups":               listLogGroups,
		"ListTagsForResource":         listTagsForResource,
		"ListTagsLogGroup":            listTagsLogGroup,
		"PutLogEvents":                putLogEvents,
		"PutRetentionPolicy":          putRetentionPolicy,
		"PutSubscriptionFilter":       putSubscriptionFilter,
		"StartLiveTail":               startLiveTail,
		"StartQuery":                  startQuery,
		"StopQuery":                   stopQuery,
		"TagLogGroup":                 tagLogGroup,
		"TagResource":                 tagResource,
		"UntagLogGroup":               untagLogGroup,
		"UntagResource":               untagResource,
	}
}

// call is one request.
type call struct {
	s      *Server
	w      http.ResponseWriter
	r      *http.Request
	region string
	body   []byte
}

func (c *call) ctx() context.Context  { return c.r.Context() }
func (c *call) logs() *logstore.Store { return c.s.o.Logs }

// errAnswered says that an operation has written its answer itself.
var errAnswered = errors.New("answered")

var contentType = []string{"application/x-amz-json-1.1"}

// Serve answers a request.
func (s *Server) Serve(w http.ResponseWriter, r *http.Request, operation, region string, body []byte) {
	c := &call{s: s, w: w, r: r, region: region, body: body}
	serve := s.operations[operation]
	switch {
	case serve != nil:
	case strings.Contains(later, " "+operation+" "):
		s.Refuse(w, "NotImplementedException", operation+" is not implemented by this server yet.")
		return
	default:
		s.Refuse(w, "UnknownOperationException", "")
		return
	}
	answer, err := serve(c)
	var wrong *malformedQuery
	switch {
	case errors.Is(err, errAnswered):
	case errors.As(err, &wrong):
		s.write(w, http.StatusBadRequest, wrong.answer())
	case err != nil:
		e, ours := answerFor(err)
		if ours {
			s.o.Log.Error("request failed", "request_id", w.Header().Get("X-Amzn-Requestid"), "operation", operation, "error", err)
		}
		s.Refuse(w, e.Code, e.Message)
	default:
		s.write(w, http.StatusOK, answer)
	}
}

func (s *Server) write(w http.ResponseWriter, status int, answer any) {
	var body []byte
	if answer != nil {
		var err error
		if body, err = plainjson.Marshal(answer); err != nil {
			s.o.Log.Error("answer of the logs API", "error", err)
			status = http.StatusInternalServerError
		}
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

// ARNs of what there is.
func (c *call) groupARN(group string) string {
	return fmt.Sprintf("arn:aws:logs:%s:%s:log-group:%s", c.region, c.s.o.AccountID, group)
}

func (c *call) streamARN(group, stream string) string {
	return c.groupARN(group) + ":log-stream:" + stream
}
