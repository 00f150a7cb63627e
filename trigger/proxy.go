package trigger

import (
	"encoding/base64"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"thaw/internal/plainjson"
)

// The event of payload format 1.0. Absent maps are null. The order of the members is that of AWS's samples.
type (
	proxyEvent struct {
		Version         *string             `json:"version,omitempty"` // of HTTP APIs
		Resource        string              `json:"resource"`
		Path            string              `json:"path"`
		Method          string              `json:"httpMethod"`
		Headers         map[string]string   `json:"headers"`
		MultiHeaders    map[string][]string `json:"multiValueHeaders"`
		Query           map[string]string   `json:"queryStringParameters"`
		MultiQuery      map[string][]string `json:"multiValueQueryStringParameters"`
		PathParameters  map[string]string   `json:"pathParameters"`
		StageVariables  map[string]string   `json:"stageVariables"`
		Context         proxyContext        `json:"requestContext"`
		Body            *string             `json:"body"`
		IsBase64Encoded bool                `json:"isBase64Encoded"`
	}
	proxyContext struct {
		ResourceID   string        `json:"resourceId"`
		Authorizer   any           `json:"authorizer,omitempty"`
		ResourcePath string        `json:"resourcePath"`
		Operation    string        `json:"operationName,omitempty"`
		Method       string        `json:"httpMethod"`
		ExtendedID   string        `json:"extendedRequestId"`
		Time         string        `json:"requestTime"`
		Path         string        `json:"path"`
		AccountID    string        `json:"accountId"`
		Protocol     string        `json:"protocol"`
		Stage        string        `json:"stage"`
		DomainPrefix string        `json:"domainPrefix"`
		TimeEpoch    int64         `json:"requestTimeEpoch"` // ms
		RequestID    string        `json:"requestId"`
		Identity     ProxyIdentity `json:"identity"`
		DomainName   string        `json:"domainName"`
		APIID        string        `json:"apiId"`
	}
	// ProxyIdentity is who sent a request, in format 1.0. Cognito has nothing here.
	ProxyIdentity struct {
		Pool           *string     `json:"cognitoIdentityPoolId"`
		AccountID      *string     `json:"accountId"`
		Identity       *string     `json:"cognitoIdentityId"`
		Caller         *string     `json:"caller"`
		SourceIP       string      `json:"sourceIp"`
		PrincipalOrgID *string     `json:"principalOrgId"`
		AccessKey      *string     `json:"accessKey"`
		AuthType       *string     `json:"cognitoAuthenticationType"`
		AuthProvider   *string     `json:"cognitoAuthenticationProvider"`
		UserARN        *string     `json:"userArn"`
		UserAgent      *string     `json:"userAgent"`
		User           *string     `json:"user"`
		APIKey         string      `json:"apiKey,omitempty"`
		APIKeyID       string      `json:"apiKeyId,omitempty"`
		ClientCert     *ClientCert `json:"clientCert,omitempty"`
	}
)

// ProxyEvent is the request of an API in payload format 1.0. r.Route is set.
// Source: API Gateway Developer Guide, "Input format of a Lambda function for proxy integration"; event-sources.md, 12.
func (r *Request) ProxyEvent() ([]byte, error) {
	e := r.proxy()
	if !r.Route.REST {
		version := "1.0"
		e.Version = &version
	}
	e.Body, e.IsBase64Encoded = r.proxyBody()
	return plainjson.Marshal(e)
}

// proxy is the event without its body.
func (r *Request) proxy() *proxyEvent {
	t := r.Route
	multi := r.MultiHeaders()
	query := MultiParameters(r.Query)
	return &proxyEvent{
		Resource: t.Resource, Path: orRoot(t.Path), Method: r.Method, Headers: Last(multi), MultiHeaders: multi, Query: Last(query), MultiQuery: query,
		PathParameters: t.Parameters, StageVariables: t.StageVariables,
		Context: proxyContext{ResourceID: t.ResourceID, Authorizer: t.Authorizer, ResourcePath: t.Resource,
			Operation: t.Operation, Method: r.Method, ExtendedID: t.ExtendedID,
			Time: r.Time.UTC().Format(timeForm), Path: orRoot(t.FullPath), AccountID: r.Account, Protocol: r.Protocol, Stage: t.Stage, DomainPrefix: t.Prefix,
			TimeEpoch: r.Time.UnixMilli(), RequestID: r.ID, Identity: r.identity(), DomainName: r.Domain, APIID: r.URLID},
	}
}

func orRoot(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// proxyBody: a REST API passes as text what it was not told is binary, and there bytes that are no text are lost, as at
// AWS.
func (r *Request) proxyBody() (*string, bool) {
	if !r.Route.REST {
		return r.body(!textual(first(r.Header["Content-Type"])))
	}
	switch {
	case len(r.Body) == 0:
		return nil, false
	case r.Route.Binary:
		text := base64.StdEncoding.EncodeToString(r.Body)
		return &text, true
	case utf8.Valid(r.Body):
		text := string(r.Body)
		return &text, false
	}
	text := strings.ToValidUTF8(string(r.Body), "\ufffd")
	return &text, false
}

func (r *Request) identity() ProxyIdentity {
	id := ProxyIdentity{SourceIP: r.SourceIP, APIKey: r.Route.APIKey, APIKeyID: r.Route.APIKeyID, ClientCert: r.Route.ClientCert}
	if agent := r.Header["User-Agent"]; len(agent) > 0 {
		id.UserAgent = &agent[0]
	}
	if c := r.Caller; c != nil {
		id.AccountID, id.Caller, id.AccessKey, id.UserARN, id.User = &c.Account, &c.UserID, &c.AccessKey, &c.ARN, &c.UserID
	}
	return id
}

// MultiHeaders are the headers as a function sees them in format 1.0: all values, and names in the form that HTTP/1.1
// usually has them in.
func (r *Request) MultiHeaders() map[string][]string {
	out := make(map[string][]string, len(r.Header)+6)
	for name, values := range r.Header {
		small := strings.ToLower(name)
		if small != "cookie" && slices.Contains(notPassed, small) || r.Caller != nil && slices.Contains(signed, small) {
			continue
		}
		out[http1Name(name)] = values
	}
	out["Host"] = []string{r.Host}
	if len(r.Body) > 0 && r.Route != nil && !r.Route.REST {
		out["Content-Length"] = []string{strconv.Itoa(len(r.Body))}
	}
	from := r.SourceIP
	if before := strings.Join(r.Header["X-Forwarded-For"], ", "); before != "" {
		from = before + ", " + from
	}
	out["X-Forwarded-For"], out["X-Forwarded-Port"], out["X-Forwarded-Proto"] = []string{from}, []string{r.Port}, []string{r.Scheme}
	out["X-Amzn-Trace-Id"] = []string{r.TraceID}
	return out
}

// http1Name is a header's name as it usually is written: the server below has lost how it was sent.
func http1Name(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

// MultiParameters are those of a query, decoded, in their order; nil when there are none.
func MultiParameters(query string) map[string][]string {
	var out map[string][]string
	for kv := range strings.SplitSeq(query, "&") {
		if kv == "" {
			continue
		}
		k, v, _ := strings.Cut(kv, "=")
		if out == nil {
			out = map[string][]string{}
		}
		k = unescaped(k)
		out[k] = append(out[k], unescaped(v))
	}
	return out
}

// Last has the last value of each; nil when there are none.
func Last(multi map[string][]string) map[string]string {
	if multi == nil {
		return nil
	}
	out := make(map[string]string, len(multi))
	for k, v := range multi {
		if len(v) > 0 {
			out[k] = v[len(v)-1]
		}
	}
	return out
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}
