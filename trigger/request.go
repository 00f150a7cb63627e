// Package trigger turns what push sources send into events, and what functions answer into what the sources expect. It
// is pure: no I/O, no clock, no HTTP server.
//
// An HTTP request becomes an event of payload format 2.0 (request.go) and an answer of a function an HTTP response
// (response.go), whole or by its prelude (prelude.go). Who may call is decided in front (cors.go says what a browser is
// told). Sources: Lambda Developer Guide, "Lambda function URLs"; docs/spec/control-plane.md, 13, and
// docs/spec/event-sources.md, 15, which hold what was recorded from AWS.
package trigger

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Request is an HTTP request for a function URL.
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

	URLID, Domain string  // of the URL, Domain without a port
	Account       string  // owner
	Caller        *Caller // who signed; nil: anybody may call
}

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
		IsBase64Encoded bool              `json:"isBase64Encoded"`
	}
	requestContext struct {
		AccountID    string      `json:"accountId"`
		APIID        string      `json:"apiId"`
		Authorizer   *authorizer `json:"authorizer,omitempty"`
		DomainName   string      `json:"domainName"`
		DomainPrefix string      `json:"domainPrefix"`
		HTTP         httpContext `json:"http"`
		RequestID    string      `json:"requestId"`
		RouteKey     string      `json:"routeKey"`
		Stage        string      `json:"stage"`
		Time         string      `json:"time"`
		TimeEpoch    int64       `json:"timeEpoch"` // ms
	}
	httpContext struct {
		Method    string `json:"method"`
		Path      string `json:"path"`
		Protocol  string `json:"protocol"`
		SourceIP  string `json:"sourceIp"`
		UserAgent string `json:"userAgent"`
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
	path := r.Path
	if path == "" {
		path = "/"
	}
	headers, cookies := r.headers()
	e := event{
		Version: "2.0", RouteKey: "$default", RawPath: path, RawQueryString: r.Query, Cookies: cookies, Headers: headers, Query: parameters(r.Query),
		RequestContext: requestContext{
			AccountID: "anonymous", APIID: r.URLID, DomainName: r.Domain, DomainPrefix: r.URLID,
			HTTP:      httpContext{r.Method, path, r.Protocol, r.SourceIP, headers["user-agent"]},
			RequestID: r.ID, RouteKey: "$default", Stage: "$default", Time: r.Time.UTC().Format("02/Jan/2006:15:04:05 +0000"), TimeEpoch: r.Time.UnixMilli(),
		},
	}
	if c := r.Caller; c != nil {
		e.RequestContext.AccountID = r.Account
		e.RequestContext.Authorizer = &authorizer{iam{AccessKey: c.AccessKey, AccountID: c.Account, CallerID: c.UserID, UserARN: c.ARN, UserID: c.UserID}}
	}
	if len(r.Body) > 0 {
		body := string(r.Body)
		if e.IsBase64Encoded = !textual(headers["content-type"]) || !utf8.Valid(r.Body); e.IsBase64Encoded {
			body = base64.StdEncoding.EncodeToString(r.Body)
		}
		e.Body = &body
	}
	return compact(e)
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

// compact is json.Marshal without the escapes for HTML.
func compact(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
