package trigger

import (
	"encoding/base64"
	"strconv"
	"strings"
	"unicode/utf8"

	"thaw/internal/plainjson"
)

// What a load balancer asks of functions, and what becomes of their answers. Sources: Application Load Balancer User
// Guide, "Use Lambda functions as targets of an Application Load Balancer", "Troubleshoot your Application Load Balancers".

// MaxBalancerBody is how large the body of a request, and the answer of a function, may be.
const MaxBalancerBody = 1 << 20

type (
	balancerEvent struct {
		Context         balancerContext     `json:"requestContext"`
		Method          string              `json:"httpMethod"`
		Path            string              `json:"path"`
		Query           map[string]string   `json:"queryStringParameters,omitzero"`
		MultiQuery      map[string][]string `json:"multiValueQueryStringParameters,omitzero"`
		Headers         map[string]string   `json:"headers,omitempty"`
		MultiHeaders    map[string][]string `json:"multiValueHeaders,omitempty"`
		Body            string              `json:"body"`
		IsBase64Encoded bool                `json:"isBase64Encoded"`
	}
	balancerContext struct {
		ELB struct {
			TargetGroup string `json:"targetGroupArn"`
		} `json:"elb"`
	}
)

// BalancerEvent is the request as a function behind a load balancer gets it, with the last value of each header and
// parameter, or with all of them. Parameters are as they were sent: functions decode them.
func (r *Request) BalancerEvent(targetGroup string, multi bool) ([]byte, error) {
	e := balancerEvent{Method: r.Method, Path: orRoot(r.Path)}
	e.Context.ELB.TargetGroup = targetGroup
	headers := map[string][]string{}
	for name, values := range r.MultiHeaders() {
		headers[strings.ToLower(name)] = values
	}
	if len(r.Body) > 0 {
		headers["content-length"] = []string{strconv.Itoa(len(r.Body))}
	}
	query := map[string][]string{}
	for kv := range strings.SplitSeq(r.Query, "&") {
		if k, v, _ := strings.Cut(kv, "="); kv != "" {
			query[k] = append(query[k], v)
		}
	}
	if multi {
		e.MultiHeaders, e.MultiQuery = headers, query
	} else {
		e.Headers, e.Query = Last(headers), Last(query)
	}
	e.Body = string(r.Body)
	if e.IsBase64Encoded = len(r.Body) > 0 && !balancerText(headers); e.IsBase64Encoded || !utf8.Valid(r.Body) {
		e.Body, e.IsBase64Encoded = base64.StdEncoding.EncodeToString(r.Body), true
	}
	return plainjson.Marshal(e)
}

// balancerText says whether a body is passed as text: by its type alone, and never when it is encoded.
func balancerText(headers map[string][]string) bool {
	if first(headers["content-encoding"]) != "" {
		return false
	}
	t, _, _ := strings.Cut(strings.ToLower(first(headers["content-type"])), ";")
	switch t = strings.TrimSpace(t); t {
	case "application/json", "application/javascript", "application/xml":
		return true
	}
	return strings.HasPrefix(t, "text/")
}

// BalancerCheck is the event by which a load balancer sees whether its function is well.
func BalancerCheck(targetGroup, path string, multi bool) ([]byte, error) {
	e := balancerEvent{Method: "GET", Path: orRoot(path)}
	e.Context.ELB.TargetGroup = targetGroup
	const agent = "ELB-HealthChecker/2.0"
	if multi {
		e.MultiHeaders, e.MultiQuery = map[string][]string{"user-agent": {agent}}, map[string][]string{}
	} else {
		e.Headers, e.Query = map[string]string{"user-agent": agent}, map[string]string{}
	}
	return plainjson.Marshal(e)
}

// ParseBalancer reads a function's answer, with one map of headers alone. ErrBadAnswer.
func ParseBalancer(payload []byte, multi bool) (*Response, error) {
	if len(payload) > MaxBalancerBody {
		return nil, bad("it has more than %d bytes", MaxBalancerBody)
	}
	form := Form{NeedsStatus: true, NoType: true, Single: SingleHeaders}
	if multi {
		form.Single = MultiValueHeaders
	}
	return ParseProxy(payload, form)
}

// balancerWords are the titles of a load balancer's own answers.
var balancerWords = map[int]string{400: "400 Bad Request", 413: "413 Request Entity Too Large", 502: "502 Bad Gateway",
	503: "503 Service Temporarily Unavailable", 504: "504 Gateway Time-out"}

// BalancerError is what a load balancer answers itself: a page, in the form of AWS's.
func BalancerError(status int) *Response {
	title := balancerWords[status]
	return &Response{Status: status, Header: map[string][]string{"content-type": {"text/html"}},
		Body: []byte("<html>\r\n<head><title>" + title + "</title></head>\r\n<body>\r\n<center><h1>" + title + "</h1></center>\r\n</body>\r\n</html>\r\n")}
}
