// Package trigger turns what push sources send into events, and what functions answer into what the sources expect. It
// is pure: no I/O, no clock, no HTTP server.
//
// An HTTP request becomes an event of payload format 2.0 (request.go) or 1.0 (proxy.go), for an authorizer too
// (authorizer.go), and an answer of a function an HTTP response (response.go, proxy_response.go), whole or by its prelude
// (prelude.go). Who may call is decided in front (cors.go says what a browser is told). Sources: Lambda Developer Guide,
// "Lambda function URLs"; API Gateway Developer Guide; docs/spec/control-plane.md, 13, and docs/spec/event-sources.md, 12
// to 15, which hold what was recorded from AWS.
package trigger

import (
	"encoding/base64"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"thaw/internal/plainjson"
)

// Request is an HTTP request for a function URL or an API.
type Request struct {
	ID       string // of the invocation
	Time     time.Time
	Method   string
	Path     string // as it was sent, still escaped; empty means /
	Query    string // as it was sent
	Protocol string // HTTP/1.1
	Scheme   string // http, https
	Port     string // that the server listens on
	SourceIP string
	Host     string              // as it was sent
	Header   map[string][]string // without Host
	Body     []byte
	TraceID  string // the trace header of the invocation

	URLID, Domain string  // of the URL or the API, Domain without a port
	Account       string  // owner
	Caller        *Caller // who signed; nil: anybody may call
	Route         *Route  // of an API; nil: the request is a function URL's
}

// Route is what an API knows of a request beside the request itself.
type Route struct {
	Key            string // GET /orders/{id}, $default; of REST APIs unused
	Stage          string
	Prefix         string            // first label of the domain
	Path           string            // as the function sees it, escaped: with the stage (2.0), without (1.0)
	FullPath       string            // of 1.0: as it was sent
	Parameters     map[string]string // of the path, decoded; nil: none
	StageVariables map[string]string // nil: none
	// Authorizer is what the authorizer said, as JSON encodes it: {"jwt":...}, {"lambda":...}; of 1.0 the context itself.
	// nil: nothing.
	Authorizer any
	ClientCert *ClientCert // nil: TLS gave none

	// Of format 1.0.
	REST                 bool // a REST API's; else an HTTP API's
	Resource, ResourceID string
	ExtendedID           string
	Operation            string // its name in an SDK; empty: none
	APIKey, APIKeyID     string
	Binary               bool // the body is base64, whatever it is; of REST APIs, others' bodies say it themselves
}

// ClientCert is the certificate that a client showed.
type ClientCert struct {
	PEM      string   `json:"clientCertPem"`
	Subject  string   `json:"subjectDN"`
	Issuer   string   `json:"issuerDN"`
	Serial   string   `json:"serialNumber"`
	Validity Validity `json:"validity"`
}

// Validity is the time of a certificate: Aug 5 00:28:21 2026 GMT.
type Validity struct {
	NotBefore string `json:"notBefore"`
	NotAfter  string `json:"notAfter"`
}

// CertTime is the form of Validity's times, in UTC.
const CertTime = "Jan _2 15:04:05 2006 GMT"

// Caller is who signed a request.
type Caller struct{ AccessKey, Account, ARN, UserID string }

// The event. The order of the members is that of AWS's samples.
type (
	event struct {
		Version         string            `json:"version"`
		RouteKey        string            `json:"routeKey"`
		RawPath         string            `json:"rawPath"`
		RawQueryString  string            `json:"rawQueryString"`
		Cookies         []string          `json:"cookies,omitempty"`
		Headers         map[string]string `json:"headers"`
		Query           map[string]string `json:"queryStringParameters,omitempty"`
		RequestContext  requestContext    `json:"requestContext"`
		Body            *string           `json:"body,omitempty"`
		PathParameters  map[string]string `json:"pathParameters,omitempty"`
		IsBase64Encoded bool              `json:"isBase64Encoded"`
		StageVariables  map[string]string `json:"stageVariables,omitempty"`
	}
	requestContext struct {
		AccountID    string          `json:"accountId"`
		APIID        string          `json:"apiId"`
		Auth         *authentication `json:"authentication,omitempty"`
		Authorizer   any             `json:"authorizer,omitempty"`
		DomainName   string          `json:"domainName"`
		DomainPrefix string          `json:"domainPrefix"`
		HTTP         httpContext     `json:"http"`
		RequestID    string          `json:"requestId"`
		RouteKey     string          `json:"routeKey"`
		Stage        string          `json:"stage"`
		Time         string          `json:"time"`
		TimeEpoch    int64           `json:"timeEpoch"` // ms
	}
	httpContext struct {
		Method    string `json:"method"`
		Path      string `json:"path"`
		Protocol  string `json:"protocol"`
		SourceIP  string `json:"sourceIp"`
		UserAgent string `json:"userAgent"`
	}
	authentication struct {
		ClientCert *ClientCert `json:"clientCert"`
	}
	authorizer struct {
		IAM iam `json:"iam"`
	}
	iam struct {
		AccessKey       string  `json:"accessKey"`
		AccountID       string  `json:"accountId"`
		CallerID        string  `json:"callerId"`
		CognitoIdentity *string `json:"cognitoIdentity"`
		PrincipalOrgID  *string `json:"principalOrgId"`
		UserARN         string  `json:"userArn"`
		UserID          string  `json:"userId"`
	}
)

// Event is the request in payload format 2.0.
func (r *Request) Event() ([]byte, error) {
	e := r.event()
	e.Body, e.IsBase64Encoded = r.body(!textual(e.Headers["content-type"]))
	return plainjson.Marshal(e)
}

// event is the event without its body.
func (r *Request) event() *event {
	path := r.Path
	if r.Route != nil {
		path = r.Route.Path
	}
	if path == "" {
		path = "/"
	}
	headers, cookies := r.headers()
	e := &event{
		Version: "2.0", RouteKey: "$default", RawPath: path, RawQueryString: r.Query, Cookies: cookies, Headers: headers, Query: parameters(r.Query),
		RequestContext: requestContext{
			AccountID: "anonymous", APIID: r.URLID, DomainName: r.Domain, DomainPrefix: r.URLID,
			HTTP:      httpContext{r.Method, path, r.Protocol, r.SourceIP, headers["user-agent"]},
			RequestID: r.ID, RouteKey: "$default", Stage: "$default", Time: r.Time.UTC().Format(timeForm), TimeEpoch: r.Time.UnixMilli(),
		},
	}
	in := &e.RequestContext
	if t := r.Route; t != nil {
		e.RouteKey, e.PathParameters, e.StageVariables = t.Key, t.Parameters, t.StageVariables
		in.AccountID, in.RouteKey, in.Stage, in.DomainPrefix, in.Authorizer = r.Account, t.Key, t.Stage, t.Prefix, t.Authorizer
		if t.ClientCert != nil {
			in.Auth = &authentication{t.ClientCert}
		}
	}
	if c := r.Caller; c != nil {
		in.AccountID = r.Account
		in.Authorizer = &authorizer{iam{AccessKey: c.AccessKey, AccountID: c.Account, CallerID: c.UserID, UserARN: c.ARN, UserID: c.UserID}}
	}
	return e
}

// timeForm is that of the time in requestContext.
const timeForm = "02/Jan/2006:15:04:05 +0000"

// body is the body as an event has it, and whether that is base64: when it is binary, or no text.
func (r *Request) body(binary bool) (*string, bool) {
	if len(r.Body) == 0 {
		return nil, false
	}
	if binary || !utf8.Valid(r.Body) {
		text := base64.StdEncoding.EncodeToString(r.Body)
		return &text, true
	}
	text := string(r.Body)
	return &text, false
}

// notPassed are headers of one connection, and those that the front end writes itself.
var notPassed = []string{"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "cookie",
	"x-amzn-trace-id", "x-forwarded-port", "x-forwarded-proto", "x-amzn-tls-version", "x-amzn-tls-cipher-suite"}

// signed are headers that prove to the front end who calls. A function that had them could call again under that name.
var signed = []string{"authorization", "x-amz-security-token"}

// headers are the headers as a function sees them, and the cookies.
func (r *Request) headers() (headers map[string]string, cookies []string) {
	headers = make(map[string]string, len(r.Header)+6)
	for name, values := range r.Header {
		name = strings.ToLower(name)
		if slices.Contains(notPassed, name) || r.Caller != nil && slices.Contains(signed, name) {
			continue
		}
		headers[name] = strings.Join(values, ",")
	}
	for _, line := range r.Header["Cookie"] {
		for c := range strings.SplitSeq(line, ";") {
			if c = strings.TrimSpace(c); c != "" {
				cookies = append(cookies, c)
			}
		}
	}
	headers["host"] = r.Host
	if len(r.Body) > 0 {
		headers["content-length"] = strconv.Itoa(len(r.Body))
	}
	// The last address is that of the peer, which it cannot choose; what stands before it is what the peer said.
	if before := headers["x-forwarded-for"]; before != "" {
		headers["x-forwarded-for"] = before + "," + r.SourceIP
	} else {
		headers["x-forwarded-for"] = r.SourceIP
	}
	headers["x-forwarded-port"], headers["x-forwarded-proto"] = r.Port, r.Scheme
	headers["x-amzn-trace-id"] = r.TraceID
	return headers, cookies
}

// parameters are those of a query, decoded, each with all its values; nil when there are none.
func parameters(query string) map[string]string {
	var out map[string]string
	for kv := range strings.SplitSeq(query, "&") {
		if kv == "" {
			continue
		}
		k, v, _ := strings.Cut(kv, "=")
		k, v = unescaped(k), unescaped(v)
		if before, again := out[k]; again {
			v = before + "," + v
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k] = v
	}
	return out
}

func unescaped(s string) string {
	if u, err := url.QueryUnescape(s); err == nil {
		return u
	}
	return s
}

// textual says whether a body of a content type is passed as text.
func textual(contentType string) bool {
	t, _, _ := strings.Cut(strings.ToLower(contentType), ";")
	switch t = strings.TrimSpace(t); t {
	case "application/json", "application/xml", "application/javascript":
		return true
	}
	return strings.HasPrefix(t, "text/") || strings.HasSuffix(t, "+json") || strings.HasSuffix(t, "+xml")
}
