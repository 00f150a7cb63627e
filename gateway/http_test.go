package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"thaw/function"
	"thaw/invoke"
	"thaw/pool"
)

// echo answers with its event, as an inferred answer.
func echo(_ context.Context, event []byte, _ function.StreamSink) (string, error) {
	return string(event), nil
}

type seen struct {
	Version, RouteKey, RawPath, RawQueryString, Resource, Path, HTTPMethod, Body string
	IsBase64Encoded                                                              bool
	Headers, QueryStringParameters, PathParameters, StageVariables               map[string]string
	RequestContext                                                               struct {
		Stage, DomainName, DomainPrefix, AccountID, Path, ResourcePath string
		Authorizer                                                     map[string]any
		Identity                                                       map[string]any
		HTTP                                                           struct{ Path string }
	}
}

func (w *world) event(status int, line string, more ...string) (e seen) {
	w.Helper()
	got := w.want(status, "*", line, more...)
	if err := json.Unmarshal([]byte(got.body), &e); err != nil {
		w.Fatalf("%s: %v: %s", line, err, got.body)
	}
	return e
}

// S-106: a stage is found by host, by path and by a custom domain, with its name in the path or as $default.
func TestPlaces(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) { o.Own = []string{"thaw.example.test"} })
	w.function("f", echo)
	a := w.api(HTTP, DefaultStage, func(a *API, _ *Definition) {
		a.Stages["prod"] = &Stage{Name: "prod", Deployment: "d", Variables: map[string]string{"v": "1"}}
	}, "ANY /{proxy+}", "GET /")
	domain := func(d *Domain) {
		if err := w.Records.Shared.Put(t.Context(), "domain/"+d.Name, &Account{Domain: d}); err != nil {
			t.Fatal(err)
		}
	}
	domain(&Domain{Name: "api.example.test", Mappings: map[string]Mapping{"1": {Path: "v1", API: a.ID, Stage: "prod"}, "2": {Path: "v1/deep", API: a.ID, Stage: DefaultStage},
		"3": {Path: "gone", API: "none", Stage: "prod"}}})
	for _, name := range []string{"127.0.0.1", "localhost", "thaw.example.test"} { // a domain does not take the server's own names away
		domain(&Domain{Name: name, Mappings: map[string]Mapping{"1": {API: a.ID, Stage: DefaultStage}}})
	}
	domain(&Domain{Name: "all.example.test", Mappings: map[string]Mapping{"1": {API: a.ID, Stage: DefaultStage}}})
	for _, c := range []struct {
		line, host, stage, raw, parameter, domain string
	}{
		{"GET /a/b?x=1", apiHost, DefaultStage, "/a/b", "a/b", apiHost},
		{"GET /prod/a", apiHost, "prod", "/prod/a", "a", apiHost},
		{"GET /prod", apiHost, "prod", "/prod", "", apiHost},
		{"GET /production", apiHost, DefaultStage, "/production", "production", apiHost},
		{"GET /a", strings.ToUpper(apiHost) + ":8080", DefaultStage, "/a", "a", apiHost},
		{"GET /execute-api/a1b2c3/prod/a", "127.0.0.1", "prod", "/prod/a", "a", apiHost},
		{"GET /execute-api/a1b2c3/a", "127.0.0.1", DefaultStage, "/a", "a", apiHost},
		{"GET /execute-api/a1b2c3/$default/a", "127.0.0.1", DefaultStage, "/a", "a", apiHost},
		{"GET /v1/a", "api.example.test", "prod", "/v1/a", "a", "api.example.test"},
		{"GET /v1/deep/a", "api.example.test", DefaultStage, "/v1/deep/a", "a", "api.example.test"},
		{"GET /v1/deeper", "api.example.test:80", "prod", "/v1/deeper", "deeper", "api.example.test"},
		{"GET /prod/a", "all.example.test", DefaultStage, "/prod/a", "prod/a", "all.example.test"},
	} {
		e := w.event(200, c.line, "Host: "+c.host)
		if e.RequestContext.Stage != c.stage || e.RawPath != c.raw || e.RequestContext.HTTP.Path != c.raw || e.PathParameters["proxy"] != c.parameter ||
			e.RequestContext.DomainName != c.domain || e.RequestContext.DomainPrefix != strings.Split(c.domain, ".")[0] || e.RequestContext.AccountID != account {
			t.Errorf("%s at %s: %+v", c.line, c.host, e)
		}
		if (c.stage == "prod") != (e.StageVariables["v"] == "1") {
			t.Errorf("%s: stage variables %v", c.line, e.StageVariables)
		}
	}
	if h := w.want(200, "*", "GET /execute-api/a1b2c3/a", "Host: 127.0.0.1").header; !strings.HasPrefix(h.Get("Content-Security-Policy"), "sandbox ") {
		t.Errorf("a page in the path form has the server's origin: %v", h)
	}
	w.want(403, `{"message":"Forbidden"}`, "GET /", "Host: none.execute-api.eu-west-1.localhost")
	w.want(403, `{"message":"Forbidden"}`, "GET /", "Host: a1b2c3.execute-api.us-east-1.localhost")
	w.want(403, `{"message":"Forbidden"}`, "GET /x", "Host: api.example.test")
	w.want(403, `{"message":"Forbidden"}`, "GET /gone/x", "Host: api.example.test")
	for host, want := range map[string]bool{apiHost: true, "none." + apiHost: false, "x.execute-api.eu-west-1.localhost": false, "api.example.test": true, "example.test": false} {
		if w.HasHost(host) != want {
			t.Errorf("HasHost(%s) is %v", host, !want)
		}
	}
	for _, c := range []struct {
		host, authorization string
		want                bool
	}{{"127.0.0.1:9600", "", false}, {"[::1]:9600", "", false}, {"localhost", "", false}, {"thaw.example.test", "", false}, {"api.example.test", "Bearer t", true},
		{"api.example.test", "AWS4-HMAC-SHA256 Credential=A/20261127/eu-west-1/lambda/aws4_request", false},
		{"api.example.test", "AWS4-HMAC-SHA256 Credential=A/20261127/eu-west-1/execute-api/aws4_request", true},
		{apiHost, "AWS4-HMAC-SHA256 Credential=A/20261127/eu-west-1/lambda/aws4_request", true}, {"x." + apiHost, "", false}} {
		r := httptest.NewRequest(http.MethodGet, "/v1/a", nil)
		r.Host = c.host
		r.Header.Set("Authorization", c.authorization)
		if w.Serves(r) != c.want {
			t.Errorf("%s %s: served: %v", c.host, c.authorization, !c.want)
		}
	}
	disabled := *a
	disabled.Disabled = true
	w.put(&disabled)
	w.want(403, `{"message":"Forbidden"}`, "GET /a")
	w.want(200, "*", "GET /v1/a", "Host: api.example.test")
}

// S-106: answers of functions of an HTTP API, in both formats, and what is said when they are none.
func TestHTTPAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api(HTTP, DefaultStage, func(_ *API, d *Definition) { d.Integrations["GET /old"].PayloadVersion = "1.0" }, "GET /new", "GET /old", "HEAD /new")
	const failed, busy = `{"message":"Internal Server Error"}`, `{"message":"Service Unavailable"}`
	for _, c := range []struct {
		name, payload string
		err           error
		path          string
		status        int
		body, log     string
	}{
		{"inferred", `{"a": 1}`, nil, "/new", 200, `{"a":1}`, ""},
		{"text", `"hello"`, nil, "/new", 200, "hello", ""},
		{"said", `{"statusCode":201,"headers":{"X-A":"b"},"cookies":["a=1","b=2"],"body":"x"}`, nil, "/new", 201, "x", ""},
		{"base64", `{"statusCode":200,"isBase64Encoded":true,"body":"AP8="}`, nil, "/new", 200, "\x00\xff", ""},
		{"nonsense", `{"statusCode":"many"}`, nil, "/new", 500, failed, "its statusCode is no number"},
		{"injection", `{"statusCode":200,"headers":{"X":"a\r\nSet-Cookie: s=1"}}`, nil, "/new", 500, failed, "control character"},
		{"bad base64", `{"statusCode":200,"isBase64Encoded":true,"body":"%%"}`, nil, "/new", 500, failed, "no base64"},
		{"no JSON", `<html>`, nil, "/new", 500, failed, "it is no JSON"},
		{"format 1.0", `{"statusCode":200,"multiValueHeaders":{"X-A":["b"]},"body":"x"}`, nil, "/old", 200, "x", ""},
		{"format 1.0 infers nothing", `{"a":1}`, nil, "/old", 500, failed, "it has no statusCode"},
		{"a function error", `error:{"errorMessage":"secret"}`, nil, "/new", 500, failed, "failed; its log says why"},
		{"throttled", "", &pool.ThrottledError{}, "/new", 503, busy, "was throttled"},
		{"stopping", "", invoke.ErrStopping, "/new", 503, busy, "stopping"},
		{"ours", "", errors.New("disk"), "/new", 500, failed, "disk"},
	} {
		w.function("f", func(context.Context, []byte, function.StreamSink) (string, error) { return c.payload, c.err })
		got := w.want(c.status, c.body, "GET "+c.path)
		if got.header.Get("Apigw-Requestid") == "" {
			t.Errorf("%s: %v", c.name, got.header)
		}
		if !strings.Contains(w.log.String(), c.log) || strings.Contains(w.log.String(), "secret") {
			t.Errorf("%s: log %s", c.name, w.log)
		}
	}
	w.function("f", answering(`{"statusCode":200,"headers":{"X-A":"b","Apigw-Requestid":"forged"},"cookies":["a=1","b=2"],"body":"x"}`))
	got := w.want(200, "x", "GET /new")
	if all := w.Serving(); len(all) != 1 || all[0].Function != arnOf("f") || all[0].Events < 15 || all[0].Trouble != "disk" && !strings.Contains(all[0].Trouble, "disk") ||
		strings.Join(all[0].Routes, "|") != "GET /new|GET /old|HEAD /new" {
		t.Errorf("serving %+v", all)
	}
	if cookies := got.header["Set-Cookie"]; len(cookies) != 2 || got.header.Get("X-A") != "b" || got.header.Get("Apigw-Requestid") == "forged" || got.header.Get("Content-Length") != "1" {
		t.Errorf("%v", got.header)
	}
	w.want(200, "", "HEAD /new")
	w.want(404, `{"message":"Not Found"}`, "GET /none")
	w.want(404, `{"message":"Not Found"}`, "POST /new")
	w.function("f", nil)
	w.want(500, failed, "GET /new")
	if !strings.Contains(w.log.String(), "is not there") {
		t.Error(w.log.String())
	}
}

// A function is found by URI in all its forms: ARN, invocation URI, stage variables in it, with a qualifier.
func TestFunctionURIs(t *testing.T) {
	t.Parallel()
	variables := map[string]string{"fn": "orders", "alias": "live"}
	for uri, want := range map[string]string{
		arnOf("orders"):           arnOf("orders"),
		arnOf("orders") + ":live": arnOf("orders") + ":live",
		"arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/" + arnOf("orders") + "/invocations":                                       arnOf("orders"),
		"arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/" + arnOf("${stageVariables.fn}") + ":${stageVariables.alias}/invocations": arnOf("orders") + ":live",
		"arn:aws:apigateway:eu-west-1:lambda:path/2021-11-15/functions/" + arnOf("orders") + "/response-streaming-invocations":                    arnOf("orders"),
		arnOf("${stageVariables.none}"): "", "https://example.test": "", "arn:aws:apigateway:eu-west-1:dynamodb:action/PutItem": "",
		"arn:aws:apigateway:eu-west-1:lambda:path/x": "", arnOf("${stageVariables.fn"): "",
	} {
		got, err := functionOf(uri, variables)
		if string(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s, %v", uri, got, err)
		}
	}
}

// A function that takes too long, and a sender that goes away.
func TestTimes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api(HTTP, DefaultStage, func(_ *API, d *Definition) { d.Integrations["GET /slow"].Timeout = 50 }, "GET /slow", "GET /left")
	ended := make(chan struct{})
	w.function("f", func(ctx context.Context, _ []byte, _ function.StreamSink) (string, error) {
		<-ctx.Done()
		ended <- struct{}{}
		return "", ctx.Err()
	})
	go func() { <-ended }()
	w.want(503, `{"message":"Service Unavailable"}`, "GET /slow")
	if !strings.Contains(w.log.String(), "took longer") {
		t.Error(w.log.String())
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"/left", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = apiHost
	go func() {
		for len(w.asked("f")) < 2 {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	if resp, err := http.DefaultTransport.RoundTrip(r); err == nil {
		resp.Body.Close()
		t.Error("an answer")
	}
	<-ended
	if strings.Contains(w.log.String(), "GET /left") {
		t.Errorf("a sender that went away is nobody's fault: %s", w.log)
	}
	c := &call{s: w.Server, place: &Place{API: &API{Kind: REST}}}
	for _, c2 := range []struct {
		most    time.Duration
		kind    Kind
		i       Integration
		seconds float64
	}{{0, REST, Integration{}, 29}, {0, HTTP, Integration{}, 30}, {0, REST, Integration{Timeout: 60000}, 29}, {time.Minute, REST, Integration{Timeout: 60000}, 60},
		{time.Minute, REST, Integration{Timeout: 90000}, 60}, {0, REST, Integration{Streams: true}, 900}, {0, HTTP, Integration{Timeout: 50}, 0.05},
		{time.Minute, HTTP, Integration{Timeout: 30000}, 60}, {10 * time.Second, HTTP, Integration{}, 10}, {30 * time.Second, REST, Integration{}, 29}, {10 * time.Second, REST, Integration{Timeout: 29000}, 10}} {
		w.MaxTimeout, c.place.API.Kind = c2.most, c2.kind
		if got := c.timeout(&c2.i); got.Seconds() != c2.seconds {
			t.Errorf("%+v: %v", c2, got)
		}
	}
}

// CORS of HTTP APIs: the API answers a browser's question, a route that takes OPTIONS answers it itself, and what a
// function says of it is dropped.
func TestCORS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.function("f", answering(`{"statusCode":200,"headers":{"Access-Control-Allow-Origin":"https://forged.example"},"body":"f"}`))
	w.api(HTTP, DefaultStage, func(_ *API, d *Definition) {
		d.CORS = &CORS{Origins: []string{"https://a.example"}, Methods: []string{"GET", "PUT"}, Headers: []string{"x-a"}, ExposeHeaders: []string{"x-b"}, MaxAge: 9, Credentials: true}
		d.Routes["ANY /{proxy+}"].Authorization = authIAM
	}, "ANY /{proxy+}", "OPTIONS /own")
	question := []string{"Origin: https://a.example", "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-a"}
	h := w.want(204, "", "OPTIONS /a", question...).header
	for name, value := range map[string]string{"Access-Control-Allow-Origin": "https://a.example", "Access-Control-Allow-Methods": "GET,PUT", "Access-Control-Allow-Headers": "x-a",
		"Access-Control-Max-Age": "9", "Access-Control-Allow-Credentials": "true"} {
		if h.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, h.Get(name), value)
		}
	}
	if h := w.want(204, "", "OPTIONS /a", "Origin: https://b.example", "Access-Control-Request-Method: PUT").header; h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("another page: %v", h)
	}
	if len(w.asked("f")) > 0 {
		t.Error("a question reached the function")
	}
	w.want(200, "f", "OPTIONS /own", question...)
	if h := w.want(403, `{"message":"Forbidden"}`, "GET /a", question[0]).header; h.Get("Access-Control-Allow-Origin") != "https://a.example" || h.Get("Access-Control-Expose-Headers") != "x-b" {
		t.Errorf("a refusal: %v", h)
	}
	if h := w.want(200, "f", "OPTIONS /own", "Origin: https://b.example").header; h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("the function opened itself: %v", h)
	}
}

// Bounds of bodies and headers, and of the events that are made of them.
func TestBounds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.function("f", func(_ context.Context, event []byte, _ function.StreamSink) (string, error) {
		return fmt.Sprint(len(event)), nil
	})
	w.api(HTTP, DefaultStage, nil, "POST /")
	const large = `{"message":"Request Entity Too Large"}`
	w.want(200, "*", "POST /", "Content-Type: text/plain", "", strings.Repeat("a", 5<<20))
	w.want(413, large, "POST /", "Content-Type: text/plain", "", strings.Repeat("a", 6<<20))
	w.want(413, large, "POST /", "", strings.Repeat("a", 5<<20)) // base64 makes more of it
	w.want(413, large, "POST /", "", strings.Repeat("a", maxBody+1))
	w.want(200, "*", "POST /", "X-A: "+strings.Repeat("a", 9000))
	w.want(413, `{"message":"Request Header Fields Too Large"}`, "POST /", "X-A: "+strings.Repeat("a", maxHeaders))
	for _, n := range []int{1, smallBody, smallBody + 1, 1 << 20, maxBody + 1} { // of a length that is not said before
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/", struct{ io.Reader }{strings.NewReader(strings.Repeat("a", n))})
		if err != nil {
			t.Fatal(err)
		}
		r.Host = apiHost
		r.Header.Set("Content-Type", "text/plain")
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if want := map[bool]int{true: 200, false: 413}[n <= maxBody]; resp.StatusCode != want {
			t.Errorf("%d bytes in chunks: %s", n, resp.Status)
		}
	}
	if !w.bodies.TryAcquire(bodyRoom) {
		t.Error("room for bodies is not given back")
	}
}

// A stage that changes while requests come is always one of the two, and its token buckets outlive the change.
func TestChangesUnderTraffic(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.function("one", answering(`"one"`))
	w.function("two", answering(`"two"`))
	to := func(name string) {
		w.api(HTTP, DefaultStage, func(a *API, d *Definition) {
			d.Integrations["GET /"].URI = arnOf(name)
			a.Stages[DefaultStage].Throttles = map[string]Throttle{"GET /bound": {Rate: 0.001, Burst: 3}}
		}, "GET /", "GET /bound")
	}
	to("one")
	var stop atomic.Bool
	bad := make(chan string, 4)
	for range 4 {
		go func() {
			for !stop.Load() {
				r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/", nil) //nolint:errcheck // it is one
				r.Host = apiHost
				resp, err := http.DefaultTransport.RoundTrip(r)
				if err != nil {
					bad <- err.Error()
					return
				}
				b := make([]byte, 16)
				n, _ := resp.Body.Read(b) //nolint:errcheck // what came counts
				resp.Body.Close()
				if got := string(b[:n]); got != "one" && got != "two" {
					bad <- got
					return
				}
			}
			bad <- ""
		}()
	}
	limited := 0
	for i := range 40 {
		to([]string{"two", "one"}[i%2])
		if i%4 == 0 && w.ask("GET /bound").status == 429 {
			limited++
		}
	}
	stop.Store(true)
	for range 4 {
		if why := <-bad; why != "" {
			t.Error(why)
		}
	}
	if limited != 7 {
		t.Errorf("%d of 10 requests were refused; the bound is 3", limited)
	}
	w.want(429, `{"message":"Too Many Requests"}`, "GET /bound")
}
