package trigger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thaw/internal/golden"
)

// apiRequest is a request that has everything an API may know of one.
func apiRequest(rest bool) *Request {
	r := plainRequest()
	r.ID, r.Host, r.Domain, r.URLID = "id", "a1b2c3.execute-api.eu-west-1.amazonaws.com", "a1b2c3.execute-api.eu-west-1.amazonaws.com", "a1b2c3"
	r.Method, r.Path, r.Query, r.Body = "POST", "", "q=a&q=b&z=%26", []byte(`{"n":1}`)
	r.Header = map[string][]string{"Content-Type": {"application/json"}, "X-A": {"1", "2"}, "Cookie": {"c1=v1; c2=v2"}, "User-Agent": {"curl/8"}, "Authorization": {"Bearer t"}}
	r.Route = &Route{Key: "POST /orders/{id}", Stage: "prod", Prefix: "a1b2c3", Path: "/prod/orders/7", FullPath: "/prod/orders/7", Parameters: map[string]string{"id": "7"},
		StageVariables: map[string]string{"v": "1"}, REST: rest, Resource: "/orders/{id}", ResourceID: "abc123", ExtendedID: "TWegAcC4EowCHnA=",
		ClientCert: &ClientCert{PEM: "PEM", Subject: "CN=s", Issuer: "CN=i", Serial: "a1", Validity: Validity{"May 28 12:30:02 2019 GMT", "Aug  5 09:36:04 2021 GMT"}}}
	if rest {
		r.Route.Path, r.Route.Operation = "/orders/7", "GetOrder"
		r.Route.APIKey, r.Route.APIKeyID = "theApiKey", "theApiKeyId"
	}
	return &r
}

func jwt() any {
	return map[string]any{"jwt": map[string]any{"claims": map[string]string{"sub": "u1"}, "scopes": []string{"orders"}}}
}

var caller = &Caller{"AKIA", "123456789012", "arn:aws:iam::123456789012:user/u", "AIDA"}

// bare takes away what a request need not have.
func bare(r *Request) {
	r.Method, r.Query, r.Body, r.Header = "GET", "", nil, nil
	r.Route.Parameters, r.Route.StageVariables, r.Route.ClientCert = nil, nil, nil
	r.Route.APIKey, r.Route.APIKeyID, r.Route.Operation = "", "", ""
}

// S-105, S-106: requests of APIs and their events, in both formats, with everything and with nothing.
func TestAPIEvents(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	for _, c := range []struct {
		name string
		rest bool
		edit func(*Request)
		make func(*Request) ([]byte, error)
	}{
		{"HTTP API, 2.0", false, func(r *Request) { r.Route.Authorizer = jwt() }, (*Request).Event},
		{"HTTP API, 2.0, without anything", false, bare, (*Request).Event},
		{"HTTP API, 2.0, signed: the function learns who", false, func(r *Request) { r.Caller = caller }, (*Request).Event},
		{"HTTP API, 1.0", false, func(r *Request) { r.Route.Authorizer = map[string]any{"principalId": "p", "n": 1} }, (*Request).ProxyEvent},
		{"HTTP API, 1.0, a form is base64", false, func(r *Request) { r.Header["Content-Type"] = []string{"application/x-www-form-urlencoded"} }, (*Request).ProxyEvent},
		{"REST API", true, func(r *Request) { r.Route.Authorizer = map[string]any{"principalId": "p"} }, (*Request).ProxyEvent},
		{"REST API without anything: maps are null", true, bare, (*Request).ProxyEvent},
		{"REST API, binary", true, func(r *Request) { bare(r); r.Body, r.Route.Binary = []byte{0, 255}, true }, (*Request).ProxyEvent},
		{"REST API, not text, and not said to be binary", true, func(r *Request) { bare(r); r.Body = []byte{'a', 255} }, (*Request).ProxyEvent},
		{"REST API, signed", true, func(r *Request) { bare(r); r.Caller, r.Header = caller, map[string][]string{"Authorization": {"AWS4"}} }, (*Request).ProxyEvent},
		{"REST API, forwarded before", true, func(r *Request) {
			bare(r)
			r.Header = map[string][]string{"X-Forwarded-For": {"1.1.1.1"}, "Connection": {"close"}}
		}, (*Request).ProxyEvent},
		{"authorizer, 2.0", false, func(*Request) {}, func(r *Request) ([]byte, error) {
			return r.AuthorizerEvent("arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/POST/orders/7", []string{"t", "q"})
		}},
		{"authorizer, 1.0 of HTTP APIs", false, func(*Request) {}, func(r *Request) ([]byte, error) { return r.ProxyAuthorizerEvent("arn", []string{"t", "q"}) }},
		{"authorizer of REST APIs, without anything", true, bare, func(r *Request) ([]byte, error) { return r.ProxyAuthorizerEvent("arn", nil) }},
		{"TOKEN authorizer", true, bare, func(*Request) ([]byte, error) { return TokenEvent("allow", "arn") }},
	} {
		r := apiRequest(c.rest)
		c.edit(r)
		b, err := c.make(r)
		if err != nil {
			t.Fatal(err)
		}
		var pretty bytes.Buffer
		if err := json.Indent(&pretty, b, "", " "); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "# %s\n%s\n", c.name, pretty.String())
	}
	golden.Equal(t, "testdata/api_events.golden", out.String())
}

// pathsOf are the members of an event, but for those that its sender names.
func pathsOf(v any, at string, into map[string]bool) {
	m, ok := v.(map[string]any)
	if !ok {
		into[at] = true
		return
	}
	for k, v := range m {
		next := strings.TrimPrefix(at+"."+k, ".")
		switch {
		case slices.Contains([]string{"headers", "multiValueHeaders", "queryStringParameters", "multiValueQueryStringParameters", "pathParameters", "stageVariables",
			"requestContext.authorizer", "requestContext.authorizer.jwt.claims", "requestContext.authorizer.lambda", "requestContext.authorizer.iam.cognitoIdentity"}, next) &&
			next != "requestContext.authorizer":
			into[next] = true
		default:
			pathsOf(v, next, into)
		}
	}
}

// S-105, S-106: our events have the members of the samples that AWS publishes, and only a few that those leave out.
func TestEventsHaveTheMembersOfPublishedOnes(t *testing.T) {
	t.Parallel()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/aws/aws-lambda-go").Output()
	if err != nil {
		t.Skipf("the module with AWS's samples is not here: %v", err)
	}
	for name, c := range map[string]struct {
		rest    bool
		edit    func(*Request)
		make    func(*Request) ([]byte, error)
		missing string // in ours
		more    string // in ours
	}{
		"apigw-v2-request-no-authorizer":  {false, func(r *Request) { cert := r.Route.ClientCert; bare(r); r.Route.ClientCert = cert }, (*Request).Event, "", ""},
		"apigw-v2-request-jwt-authorizer": {false, func(r *Request) { r.Route.Authorizer = jwt() }, (*Request).Event, "", ""},
		"apigw-v2-request-lambda-authorizer": {false, func(r *Request) { r.Route.Authorizer = map[string]any{"lambda": map[string]any{"k": "v"}} },
			(*Request).Event, "", ""},
		"apigw-v2-request-iam": {false, func(r *Request) { r.Caller = caller }, (*Request).Event, "", ""},
		// The sample is from the time before multi values, or was shortened by hand.
		"apigw-request": {true, func(r *Request) {
			r.Route.Authorizer, r.Route.Operation = map[string]any{"principalId": "p", "clientId": 1, "clientName": "e"}, ""
		}, (*Request).ProxyEvent, "", "isBase64Encoded requestContext.identity.principalOrgId"},
		"apigw-restapi-openapi-request": {true, func(r *Request) {
			r.Route.Authorizer, r.Route.ClientCert = map[string]any{"principalId": "p", "clientId": 1, "clientName": "e"}, nil
		}, (*Request).ProxyEvent, "", "isBase64Encoded requestContext.identity.principalOrgId"},
		"apigw-v2-custom-authorizer-v2-request": {false, func(*Request) {}, func(r *Request) ([]byte, error) { return r.AuthorizerEvent("arn", []string{"a"}) }, "", ""},
		"apigw-custom-auth-request":             {true, func(*Request) {}, func(*Request) ([]byte, error) { return TokenEvent("allow", "arn") }, "", ""},
	} {
		sample, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "events", "testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		r := apiRequest(c.rest)
		c.edit(r)
		b, err := c.make(r)
		if err != nil {
			t.Fatal(err)
		}
		theirs, ours := map[string]bool{}, map[string]bool{}
		for text, into := range map[string]map[string]bool{string(sample): theirs, string(b): ours} {
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			pathsOf(v, "", into)
		}
		for _, p := range slices.Sorted(maps.Keys(theirs)) {
			if !ours[p] && !slices.Contains(strings.Fields(c.missing), p) {
				t.Errorf("%s: we have no %s", name, p)
			}
		}
		for _, p := range slices.Sorted(maps.Keys(ours)) {
			if !theirs[p] && !slices.Contains(strings.Fields(c.more), p) {
				t.Errorf("%s: only we have %s", name, p)
			}
		}
	}
}

// S-105: answers in format 1.0, as REST APIs, HTTP APIs and load balancers read them.
func TestProxyAnswers(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	forms := []struct {
		name string
		form Form
	}{{"REST", Form{OnlyKnown: true}}, {"HTTP", Form{NeedsStatus: true}}, {"text", Form{OnlyKnown: true, Text: true}}, {"multi", Form{Single: MultiValueHeaders, NoType: true}}}
	for _, payload := range []string{
		`{"statusCode":200,"body":"b"}`, `{"statusCode":"201","headers":{"X-A":"1"},"multiValueHeaders":{"X-A":["1","2"],"Set-Cookie":["a=1","b=2"]},"body":"b"}`,
		`{"body":"no status"}`, `{"statusCode":null,"body":"b"}`, `{"statusCode":200,"body":null,"headers":null,"multiValueHeaders":null}`,
		`{"statusCode":200,"isBase64Encoded":true,"body":"AP8="}`, `{"statusCode":200,"headers":{"X-B":true}}`, `{"statusCode":200,"headers":{"X-N":7}}`, `{"statusCode":200,"multiValueHeaders":{"X-N":[-7]}}`,
		// refused by some, or all
		`{"statusCode":200,"cookies":["a=1"]}`, `{"statusCode":200,"body":{"a":1}}`, `{"statusCode":200,"body":7}`, `"text"`, `7`, `null`, ``, `{`, `[]`,
		`{"statusCode":"x"}`, `{"statusCode":99}`, `{"statusCode":200,"headers":{"X":["a"]}}`, `{"statusCode":200,"headers":{"X":null}}`, `{"statusCode":200,"headers":[]}`,
		`{"statusCode":200,"multiValueHeaders":{"X":"a"}}`, `{"statusCode":200,"headers":{"X":"a\r\nSet-Cookie: s"}}`, `{"statusCode":200,"headers":{"X Y":"a"}}`,
		`{"statusCode":200,"multiValueHeaders":{"X":["a\nb"]}}`, `{"statusCode":200,"isBase64Encoded":true,"body":"%"}`, `{"errorMessage":"e","errorType":"t"}`,
		`{"statusCode":200,"headers":{"Content-Length":"1","Transfer-Encoding":"chunked","Connection":"close"},"body":"bb"}`,
	} {
		fmt.Fprintf(&out, "%s\n", payload)
		for _, f := range forms {
			r, err := ParseProxy([]byte(payload), f.form)
			if err != nil {
				fmt.Fprintf(&out, "  %s: %v\n", f.name, err)
			} else {
				fmt.Fprintf(&out, "  %s: %v\n", f.name, r)
			}
		}
	}
	golden.Equal(t, "testdata/proxy_answers.golden", out.String())
}

// No answer of a function makes more of an HTTP response than one.
func FuzzProxyAnswers(f *testing.F) {
	f.Add([]byte(`{"statusCode":200,"headers":{"A":"b"},"multiValueHeaders":{"A":["b"]},"body":"x"}`), true)
	f.Add([]byte(`{"statusCode":"418","isBase64Encoded":true,"body":"AP8="}`), false)
	f.Fuzz(func(t *testing.T, payload []byte, known bool) {
		r, err := ParseProxy(payload, Form{OnlyKnown: known})
		if err != nil {
			if strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("the error has an end of a line: %q", err)
			}
			return
		}
		if r.Status < 200 || r.Status > 599 {
			t.Errorf("status %d", r.Status)
		}
		for name, values := range r.Header {
			if !isToken(name) || slices.Contains(ours, name) {
				t.Errorf("header %q", name)
			}
			for _, v := range values {
				if strings.ContainsAny(v, "\r\n\x00") {
					t.Errorf("header %q: %q", name, v)
				}
			}
		}
	})
}
