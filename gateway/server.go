package gateway

import (
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"thaw/access"
	"thaw/iam"
	"thaw/push"
)

// Lines is a log stream.
type Lines interface {
	Append(at time.Time, message string)
}

// Options of a Server. Members without a stated default are required.
type Options struct {
	Records   *Records
	Functions *push.Functions
	// Sender verifies a signature: api.Server.Sender.
	Sender func(r *http.Request, service string, body []byte) (*access.Caller, string, error)
	Log    *slog.Logger
	Now    func() time.Time // nil: time.Now
	// Domain is what the hosts of APIs end in; empty: localhost.
	Domain string
	// Own are names of the server itself, in small letters, under which no custom domain is served.
	Own []string
	// Host refuses requests under names that are not this server's, of the path form; nil: none.
	Host func(*http.Request) error
	// AccessLog opens a log stream; nil: there are no access logs.
	AccessLog func(group, stream string) Lines
	// Templates renders mapping templates; nil: a VTL of its own.
	Templates Templates
	// Sockets serves WebSocket APIs; nil: they are answered that they are not there.
	Sockets func(w http.ResponseWriter, r *http.Request, p *Place)
	// Local lets integrations with a URL, and issuers of tokens, be on this host and its link: who may make an API could
	// reach what only this host may.
	Local bool
	// Pools is a URL below which the keys of user pools are; empty: Cognito's.
	Pools string
	// MaxTimeout bounds the time of integrations; 0: 30 s of HTTP APIs, 29 s of REST APIs, as at AWS.
	MaxTimeout time.Duration
}

// Server serves APIs. It is an api.Front.
type Server struct {
	Options
	states  sync.Map            // of stages: stateKey -> *stage
	bodies  *semaphore.Weighted // bytes of big bodies
	issuers sync.Map            // URL -> *issuer
	client  *http.Client        // of integrations with a URL
	others  sync.Map            // of those with settings of their own for TLS: tlsSettings -> *http.Client
	usage   usage
	noted   sync.Map // keyNote -> IDs of the key and its plan
	logs    sync.Map // ARN of a group -> Lines
	started time.Time
	counts  counts
}

// bodyRoom bounds what the bodies of all requests hold together that are larger than smallBody.
const (
	bodyRoom  = 512 << 20
	smallBody = 64 << 10
)

// New returns a server ready to serve. It starts nothing.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Templates == nil {
		o.Templates = &VTL{}
	}
	o.Domain = strings.ToLower(o.Domain)
	s := &Server{Options: o, started: o.Now(), bodies: semaphore.NewWeighted(bodyRoom)}
	s.client = newClient(o.Local)
	return s
}

// Close ends idle connections to backends.
func (s *Server) Close() error {
	s.client.CloseIdleConnections()
	s.others.Range(func(_, v any) bool { v.(*http.Client).CloseIdleConnections(); return true })
	return nil
}

// pageSandbox is a policy for pages of the path form: they have an origin of their own, as those of function URLs.
const pageSandbox = "sandbox allow-scripts allow-forms allow-modals allow-popups allow-downloads"

// ServeHTTP implements api.Front.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t, _ := s.targetOf(r.Host, r.URL)
	if t.byPath {
		w.Header()["Content-Security-Policy"] = []string{pageSandbox}
		if s.Host != nil {
			if err := s.Host(r); err != nil {
				writeMessage(w, http.StatusForbidden, err.Error())
				return
			}
		}
	}
	p := s.Find(r)
	if p == nil || p.Stage == nil {
		// AWS says the same of an API and of a stage that are not there: its names cannot be tried out.
		h := w.Header()
		if p != nil && p.API.Kind == HTTP {
			writeMessage(w, http.StatusNotFound, "Not Found")
			return
		}
		h["X-Amzn-Errortype"] = []string{"ForbiddenException"}
		writeMessage(w, http.StatusForbidden, "Forbidden")
		return
	}
	if p.API.Kind == WebSocket {
		if s.Sockets == nil {
			writeMessage(w, http.StatusNotImplemented, "This server does not serve WebSocket APIs.")
			return
		}
		s.Sockets(w, r, p)
		return
	}
	st := s.stageOf(p)
	c := &call{s: s, w: w, r: r, place: p, stage: st, began: s.Now()}
	c.serve()
}

// SourceIP is the address of a request's peer.
func SourceIP(r *http.Request) string {
	host, _, _ := net.SplitHostPort(r.RemoteAddr) //nolint:errcheck // then it is empty
	return host
}

// ExecuteARN is the ARN of a part of an API: arn:aws:execute-api:REGION:ACCOUNT:API/STAGE/METHOD/PATH.
func (p *Place) ExecuteARN(rest string) string {
	return "arn:aws:execute-api:" + p.API.Region + ":" + p.API.Account + ":" + p.API.ID + "/" + p.Stage.Name + rest
}

// requestContext is what policies may ask of a request.
func requestContext(r *http.Request) iam.Context {
	in := iam.Context{}
	in.Set("aws:SourceIp", SourceIP(r))
	in.Set("aws:UserAgent", r.UserAgent())
	in.Set("aws:Referer", r.Referer())
	in.Set("aws:SecureTransport", map[bool]string{true: "true", false: "false"}[r.TLS != nil])
	return in
}
