package gateway

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"thaw/trace"
	"thaw/trigger"
)

// call is one request on its way through an HTTP or a REST API.
type call struct {
	s     *Server
	w     http.ResponseWriter
	r     *http.Request
	place *Place
	stage *stage
	began time.Time

	id, extendedID string
	traceID        string // header
	traceState     string
	found          *found
	body           []byte
	who            Identity
	key            *APIKey // that it came with; nil: none, or none is needed
	overridden     Override
	counted        countKey // of the function that was asked; zero: none was
	outcome
}

// outcome is what became of a request, for the access log.
type outcome struct {
	status, length          int
	errorType, errorMessage string // of a refusal: its type, and why for the log
	shownError              string // what the sender was told
	integrationStatus       int    // of the backend; 0: it was not asked
	integrationID           string
	integrationTime         time.Duration
	integrationError        string
	authorizerTime          time.Duration
	authorizerStatus        int
	authorizerError         string
	integrationBegan        bool
}

func (c *call) isREST() bool { return c.place.API.Kind == REST }

// serve takes the order of AWS: the route, CORS, its bound, who sent it, its key, its form, the backend.
func (c *call) serve() {
	c.identify()
	if c.stage.log != nil {
		defer c.logAccess()
	}
	if len(c.stage.of.Logs) > 0 && c.isREST() {
		defer c.logExecution()
	}
	if c.preflight() {
		return
	}
	if c.found = c.stage.router.find(c.r.Method, c.place.Path); c.found == nil {
		c.refuse(&Refusal{Kind: ResourceNotFound, Why: "no route matches " + c.r.Method})
		return
	}
	release, err := c.pass()
	if release != nil {
		defer release()
	}
	if err == nil {
		err = c.integrate()
	}
	if err == nil {
		return
	}
	if c.r.Context().Err() != nil { // nobody is there to be told; the function goes on
		c.status, c.errorMessage = statusLeft, "the sender went away"
		return
	}
	var refusal *Refusal
	if !errors.As(err, &refusal) {
		refusal = &Refusal{Kind: APIConfiguration, Why: err.Error()}
	}
	if sayings[refusal.Kind].status >= http.StatusInternalServerError {
		c.warn(refusal.Why)
		if c.counted != (countKey{}) {
			c.s.counts.failed(c.counted, c.s.Now(), refusal.Why)
		}
	} else {
		c.s.Log.Debug("gateway", "api", c.place.API.ID, "route", c.routeKey(), "request_id", c.id, "refused", refusal.Kind, "why", refusal.Why)
	}
	c.refuse(refusal)
}

// statusLeft is what the access log says of a request whose sender has gone before it was answered.
const statusLeft = 499

// warn says in the server's log why a request failed for a reason that is the owner's.
func (c *call) warn(why string) {
	c.s.Log.Warn("gateway", "api", c.place.API.ID, "stage", c.place.Stage.Name, "route", c.routeKey(), "request_id", c.id, "error", why)
}

func (c *call) routeKey() string {
	if c.found == nil {
		return ""
	}
	return c.found.Key
}

// pass is what a request must pass before its backend is asked. release, when set, is called at the end.
func (c *call) pass() (release func(), err error) {
	defer func() { // a fault of ours must not keep the room of the body
		if fault := recover(); fault != nil {
			if release != nil {
				release()
			}
			panic(fault)
		}
	}()
	f := c.found
	if f.broken != nil {
		return nil, f.broken
	}
	if f.bucket != nil && !f.bucket.Allow() {
		return nil, &Refusal{Kind: Throttled, Why: "the route's bound: " + strconv.FormatFloat(f.bucket.of.Rate, 'g', -1, 64) + " requests per second"}
	}
	signed := f.Authorization == authIAM
	if signed { // the body is part of what was signed
		if release, err = c.readBody(); err != nil {
			return release, err
		}
	}
	if err := c.authorize(); err != nil {
		return release, err
	}
	if !signed {
		if release, err = c.readBody(); err != nil {
			return release, err
		}
	}
	if err := c.checkKey(); err != nil {
		return release, err
	}
	return release, c.found.checks.hold(c)
}

// maxBody is how large a request may be. Source: Amazon API Gateway quotas, "Payload size".
const maxBody = 10 << 20

// maxHeaders bounds the lines of headers together in bytes. Source: the same, "Total combined size of request line and
// header values".
const maxHeaders = 10240

// Bounds of big bodies, which share room: nobody keeps it by sending slowly, and nobody waits for it for ever.
const (
	roomWait  = 10 * time.Second
	bodyGrace = 30 * time.Second
	bodyPace  = 32 << 10 // bytes that come in a second, behind the grace
)

// readBody reads the body of a request. What a big one holds of the room for all of them grows with what has come, and is
// given back by release.
func (c *call) readBody() (release func(), err error) {
	n := c.r.ContentLength
	if err := c.headersFit(); err != nil || n == 0 {
		return nil, err
	}
	if n > maxBody {
		return nil, tooLarge()
	}
	var b bytes.Buffer
	var room int64
	release = func() { c.s.bodies.Release(room) }
	size := n
	if n < 0 || n > smallBody/2 {
		size = smallBody / 2
	}
	began, part := time.Now(), make([]byte, size)
	for {
		k, err := c.r.Body.Read(part)
		if b.Write(part[:k]); b.Len() > maxBody {
			return release, tooLarge()
		}
		if more := int64(b.Len()) - room; b.Len() > smallBody && more > 0 {
			more = max(more, min(room, maxBody-room)) // as much again, so that it is asked for seldom
			if !c.s.takeRoom(c.r.Context(), more) {
				return release, &Refusal{Kind: Throttled, Why: "there is no room for another large body"}
			}
			room += more
		}
		switch {
		case err == io.EOF: //nolint:errorlint // as io.Reader says it
			if spare := room - int64(b.Len()); spare > 0 {
				c.s.bodies.Release(spare)
				room -= spare
			}
			c.body = b.Bytes()
			return release, nil
		case err != nil:
			return release, cutShort()
		case room > 0 && time.Since(began) > bodyGrace+time.Duration(b.Len())*time.Second/bodyPace:
			return release, &Refusal{Kind: BadBody, Message: "Request Timeout", Why: "the body comes too slowly"}
		}
	}
}

// takeRoom waits for a while.
func (s *Server) takeRoom(ctx context.Context, n int64) bool {
	ctx, cancel := context.WithTimeout(ctx, roomWait)
	defer cancel()
	return s.bodies.Acquire(ctx, n) == nil
}

func tooLarge() error { return &Refusal{Kind: TooLarge, Why: "the body has more than 10 MB"} }

func cutShort() error {
	return &Refusal{Kind: BadBody, Message: "Bad Request", Why: "the body did not come whole"}
}

func (c *call) headersFit() error {
	size := len(c.r.RequestURI)
	for name, values := range c.r.Header {
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
	if size > maxHeaders {
		return &Refusal{Kind: TooLarge, Message: "Request Header Fields Too Large", Why: "the headers have more than 10240 bytes"}
	}
	return nil
}

// swallow reads a body that is refused, up to a bound: its sender then sees our answer instead of a broken connection.
func (c *call) swallow() {
	io.CopyN(io.Discard, c.r.Body, 4*maxBody) //nolint:errcheck // whatever comes
}

// identify gives the request its names.
func (c *call) identify() {
	var b [11]byte
	rand.Read(b[:]) //nolint:errcheck // never fails: documented
	c.extendedID = base64.StdEncoding.EncodeToString(b[:])
	h := c.w.Header()
	if c.isREST() {
		c.id = uuid.NewString()
		h["X-Amzn-Requestid"], h["X-Amz-Apigw-Id"] = []string{c.id}, []string{c.extendedID}
	} else {
		c.id = c.extendedID
		h["Apigw-Requestid"] = []string{c.id}
	}
	c.traceID, c.traceState = trace.FromHTTP(c.r.Header.Get("X-Amzn-Trace-Id"), c.r.Header.Get("Traceparent"), c.r.Header["Tracestate"])
	if trace.ParseHeader(c.traceID).Root == "" {
		c.traceID = trace.Header{Root: trace.NewRoot()}.String()
	}
}

// oursInAnswers are headers that a backend does not write.
var oursInAnswers = map[string]bool{"X-Amzn-Requestid": true, "X-Amz-Apigw-Id": true, "Apigw-Requestid": true, "X-Amzn-Errortype": true}

// remapped are headers that a REST API passes on under another name.
// Source: API Gateway Developer Guide, "Amazon API Gateway important notes", "Header mapping".
var remapped = map[string]bool{"Authorization": true, "Content-Md5": true, "Date": true, "Expect": true, "Host": true, "Max-Forwards": true,
	"Proxy-Authenticate": true, "Server": true, "User-Agent": true, "Via": true, "Warning": true, "Www-Authenticate": true}

// answer writes a whole answer.
func (c *call) answer(status int, header map[string][]string, body []byte) {
	c.head(status, header, len(body))
	if c.r.Method == http.MethodHead {
		return
	}
	n, _ := c.w.Write(body) //nolint:errcheck // nobody to tell
	c.length = n
}

// head writes the head of an answer. length is that of its body; negative: not known.
func (c *call) head(status int, header map[string][]string, length int) {
	h := c.w.Header()
	for name, values := range header {
		name = http.CanonicalHeaderKey(name)
		switch {
		case oursInAnswers[name] || name == "X-Amzn-Trace-Id":
		case c.isREST() && remapped[name] && c.integrationBegan:
			h["X-Amzn-Remapped-"+name] = values
		case name == "Content-Security-Policy":
			h[name] = append(h[name], values...)
		default:
			h[name] = values
		}
	}
	c.allowPages()
	if length >= 0 && status != http.StatusNoContent && status != http.StatusNotModified {
		h["Content-Length"] = []string{strconv.Itoa(length)}
	}
	if h["Content-Type"] == nil {
		h["Content-Type"] = jsonType
	}
	c.status = status
	c.w.WriteHeader(status)
}

// request is the request as trigger wants it.
func (c *call) request() *trigger.Request {
	r := c.r
	out := &trigger.Request{ID: c.id, Time: c.began, Method: r.Method, Query: r.URL.RawQuery, Protocol: r.Proto,
		Scheme: "http", Host: c.host(), Header: r.Header,
		Body: c.body, TraceID: c.traceID, URLID: c.place.API.ID, Domain: c.place.Domain, Account: c.place.API.Account, SourceIP: SourceIP(r)}
	if r.TLS != nil {
		out.Scheme = "https"
	}
	if a, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		_, out.Port, _ = net.SplitHostPort(a.String()) //nolint:errcheck // then it is empty
	}
	if k := c.who.Caller; k != nil {
		out.Caller = &trigger.Caller{AccessKey: c.who.AccessKey, Account: k.Account, ARN: k.ARN, UserID: k.ID}
	}
	out.Route = c.routeOf()
	return out
}

// host is the name that the function sees: in the path form it is that of the API.
func (c *call) host() string {
	if c.place.ByPath {
		return c.place.Domain
	}
	return c.r.Host
}

func (c *call) routeOf() *trigger.Route {
	p, f := c.place, c.found
	t := &trigger.Route{Key: f.Key, Stage: p.Stage.Name, Prefix: p.Prefix, Path: p.Base + p.Path, FullPath: p.Base + p.Path, Parameters: f.params,
		StageVariables: p.Stage.Variables, ClientCert: ClientCert(c.r), REST: c.isREST(), Resource: f.path, ResourceID: f.Resource, ExtendedID: c.extendedID, Operation: f.Operation}
	if len(p.Stage.Variables) == 0 {
		t.StageVariables = nil
	}
	if c.isREST() {
		if t.Path = p.Path; p.Custom {
			t.Path = p.Base + p.Path
		}
		t.Binary = c.stage.binary.has(c.r.Header.Get("Content-Type"))
	} else if t.Resource = f.Key; f.Key != DefaultStage && f.path != "" {
		t.Resource = f.path
		t.ResourceID = f.ID
	}
	if c.key != nil {
		t.APIKey, t.APIKeyID = c.key.Value, c.key.ID
	}
	return t
}

// ClientCert is the certificate that a client showed, when TLS has verified it; nil: none.
func ClientCert(r *http.Request) *trigger.ClientCert {
	if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 {
		return nil
	}
	return certificate(r.TLS.VerifiedChains[0][0])
}
