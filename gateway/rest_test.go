package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/semaphore"

	"thaw/access"
	"thaw/function"
	"thaw/internal/golden"
	"thaw/pool"
)

// S-105: answers of functions of a REST API, and AWS's words when they are none.
func TestRESTAnswers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api(REST, "prod", func(_ *API, d *Definition) {
		d.Routes["GET /none"].Integration = ""
		delete(d.Integrations, "GET /none")
	}, "GET /a", "GET /none")
	var out strings.Builder
	for _, c := range []struct {
		name, payload string
		err           error
	}{
		{"an answer", `{"statusCode":201,"headers":{"X-A":"1","Server":"mine","Content-Type":"text/html"},"multiValueHeaders":{"Set-Cookie":["a=1","b=2"]},"body":"<p>"}`, nil},
		{"without a status", `{"body":"b"}`, nil},
		{"text where no binary type is asked for", `{"statusCode":200,"isBase64Encoded":true,"body":"AP8="}`, nil},
		{"another member", `{"statusCode":200,"cookies":["a=1"]}`, nil},
		{"a body that is no string", `{"statusCode":200,"body":{"a":1}}`, nil},
		{"a string", `"hello"`, nil},
		{"header injection", `{"statusCode":200,"headers":{"X":"a\r\nb: c"}}`, nil},
		{"a function error", `error:{"errorMessage":"secret"}`, nil},
		{"throttled", "", &pool.ThrottledError{}},
		{"ours", "", errors.New("disk")},
	} {
		w.function("f", func(context.Context, []byte, function.StreamSink) (string, error) { return c.payload, c.err })
		got := w.ask("GET /prod/a")
		shown(&out, c.name, got)
	}
	shown(&out, "no route", w.ask("GET /prod/x"))
	shown(&out, "no method", w.ask("POST /prod/a"))
	shown(&out, "no stage", w.ask("GET /x"))
	shown(&out, "no integration", w.ask("GET /prod/none"))
	golden.Equal(t, "testdata/rest_answers.golden", out.String())
}

// shown writes an answer without what is another one each time.
func shown(out *strings.Builder, name string, got reply) {
	for _, volatile := range []string{"Date", "X-Amzn-Requestid", "X-Amz-Apigw-Id", "X-Amzn-Trace-Id"} {
		got.header.Del(volatile)
	}
	fmt.Fprintf(out, "# %s\n%d %q\n", name, got.status, got.body)
	for _, k := range slices.Sorted(maps.Keys(got.header)) {
		fmt.Fprintf(out, "%s: %q\n", k, got.header[k])
	}
}

// Binary data of a REST API, both ways: what is said to be binary, and what the sender names first.
func TestBinaryTypes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	types := func(list ...string) {
		w.api(REST, "prod", func(_ *API, d *Definition) { d.BinaryTypes = list }, "POST /a")
	}
	w.function("f", func(_ context.Context, event []byte, _ function.StreamSink) (string, error) {
		var e seen
		if err := json.Unmarshal(event, &e); err != nil {
			return "", err
		}
		b, err := json.Marshal(map[string]any{"body": e.Body, "isBase64Encoded": e.IsBase64Encoded, "headers": map[string]string{"X-B": fmt.Sprint(e.IsBase64Encoded)}})
		return string(b), err
	})
	const png = "\x89PNG\x00\xff"
	types("image/png")
	w.want(200, png, "POST /prod/a", "Content-Type: image/png", "Accept: image/png, */*", "", png)
	w.want(200, "iVBORwD/", "POST /prod/a", "Content-Type: image/png", "Accept: text/html, image/png", "", png)
	w.want(200, "text", "POST /prod/a", "Content-Type: text/plain", "", "text")
	types("*~1*")
	w.want(200, png, "POST /prod/a", "Content-Type: x/y", "", png)
	types("image/*")
	w.want(200, png, "POST /prod/a", "Content-Type: image/png; a=b", "Accept: image/webp", "", png)
}

// Integrations that are mapped: MOCK with automatic OPTIONS, functions, URLs; patterns, parameters, templates, content.
func TestMappedIntegrations(t *testing.T) {
	t.Parallel()
	var gotPath, gotBody, gotHeader string
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) //nolint:errcheck // a test
		gotPath, gotBody, gotHeader = r.URL.RequestURI(), string(b), r.Header.Get("X-Sent")+"|"+r.Header.Get("X-Not-Mapped")
		w.Header().Set("X-Back", "back")
		if r.URL.Query().Get("fail") != "" {
			w.WriteHeader(http.StatusTeapot)
		}
		fmt.Fprint(w, `{"n":{"m":5}}`)
	}))
	defer backend.Close()
	w := newWorld(t)
	w.api(REST, "prod", func(a *API, d *Definition) {
		a.Stages["prod"].Variables = map[string]string{"host": strings.TrimPrefix(backend.URL, "http://")}
		set := func(key string, i Integration) { d.Integrations[key] = &i }
		set("OPTIONS /cors", Integration{Type: "MOCK", Templates: map[string]string{"application/json": `{"statusCode": 200}`}, Responses: map[string]*Reshaping{"200": {
			Parameters: map[string]string{"method.response.header.Access-Control-Allow-Origin": "'*'", "method.response.header.X-Stage": "context.stage"}}}})
		set("GET /mock/{id}", Integration{Type: "MOCK", Templates: map[string]string{"application/json": `{"statusCode": $input.params('q')}`}, Responses: map[string]*Reshaping{
			"200": {Templates: map[string]string{"application/json": `{"id":"$input.params('id')"}`, "text/plain": "id $input.params('id')"}}, "404": {Pattern: "4\\d\\d"},
			"500": {Pattern: "500", Templates: map[string]string{"application/json": "#foreach("}}, "501": {Pattern: "501", Templates: map[string]string{"application/json": "#set($context.responseOverride.status = 299)#set($context.responseOverride.header.X-Own = 'o')x"}}}})
		set("POST /fn", Integration{Type: "AWS", URI: arnOf("f"), Passthrough: "NEVER", Templates: map[string]string{"application/json": `{"in":$input.body,"at":"$context.stage"}`},
			Responses: map[string]*Reshaping{"200": {Parameters: map[string]string{"method.response.header.X-N": "integration.response.body.n"}}, "400": {Pattern: "bad .*"}}})
		set("POST /event", Integration{Type: "AWS", URI: arnOf("f"), Parameters: map[string]string{"integration.request.header.X-Amz-Invocation-Type": "'Event'"},
			Responses: map[string]*Reshaping{"202": {Templates: map[string]string{"application/json": "taken"}}}})
		set("POST /url/{id}", Integration{Type: "HTTP", Method: "PUT", URI: "http://${stageVariables.host}/in/{to}", Templates: map[string]string{"application/json": "<$input.body>"},
			Parameters: map[string]string{"integration.request.path.to": "method.request.path.id", "integration.request.querystring.fail": "method.request.querystring.fail",
				"integration.request.header.X-Sent": "method.request.body.h"},
			Responses: map[string]*Reshaping{"200": {Parameters: map[string]string{"method.response.header.X-From": "integration.response.header.X-Back"},
				Templates: map[string]string{"application/json": "got $input.body"}}, "503": {Pattern: "418"}}})
		set("GET /bin", Integration{Type: "MOCK", Templates: map[string]string{"application/json": `{"statusCode":200}`},
			Responses: map[string]*Reshaping{"200": {Content: "CONVERT_TO_BINARY", Templates: map[string]string{"image/png": "AP8="}}}})
	}, "OPTIONS /cors", "GET /mock/{id}", "POST /fn", "POST /event", "POST /url/{id}", "GET /bin")
	h := w.want(200, "", "OPTIONS /prod/cors", "Origin: https://a.example").header
	if h.Get("Access-Control-Allow-Origin") != "*" || h.Get("X-Stage") != "prod" {
		t.Errorf("%v", h)
	}
	w.want(200, `{"id":"7"}`, "GET /prod/mock/7?q=200")
	if h := w.want(200, `id 7`, "GET /prod/mock/7?q=200", "Accept: text/plain").header; h.Get("Content-Type") != "text/plain" {
		t.Errorf("%v", h)
	}
	w.want(404, "", "GET /prod/mock/7?q=404")
	w.want(500, `{"message":"Internal server error"}`, "GET /prod/mock/7?q=500")
	if h := w.want(299, "x", "GET /prod/mock/7?q=501").header; h.Get("X-Own") != "o" {
		t.Errorf("%v", h)
	}
	w.want(200, "\x00\xff", "GET /prod/bin")

	w.function("f", func(_ context.Context, event []byte, _ function.StreamSink) (string, error) {
		if bytes.Contains(event, []byte("bad")) {
			return `error:{"errorMessage":"bad thing","errorType":"E"}`, nil
		}
		return `{"n":9,"event":` + string(event) + `}`, nil
	})
	got := w.want(200, `{"n":9,"event":{"in":{"a":1},"at":"prod"}}`, "POST /prod/fn", "Content-Type: application/json", "", `{"a":1}`)
	if got.header.Get("X-N") != "9" {
		t.Errorf("%v", got.header)
	}
	w.want(400, "*", "POST /prod/fn", "", `"bad"`)
	w.want(415, `{"message":"Unsupported Media Type"}`, "POST /prod/fn", "Content-Type: text/csv", "", `a,b`)
	w.want(400, "*", "POST /prod/fn", "", `{`)
	w.want(202, "taken", "POST /prod/event", "", `{"e":1}`)
	if q := w.asked("queue"); len(q) != 1 || q[0] != `{"e":1}` {
		t.Errorf("queue: %v", q)
	}

	got = w.want(200, `got {"n":{"m":5}}`, "POST /prod/url/a%20b%2Fc", "X-Not-Mapped: 1", "", `{"h":"sent"}`)
	if gotPath != "/in/a%20b%2Fc" || gotBody != `<{"h":"sent"}>` || gotHeader != "sent|" || got.header.Get("X-From") != "back" || got.header.Get("X-Back") != "" {
		t.Errorf("%s %s %s %v", gotPath, gotBody, gotHeader, got.header)
	}
	w.want(503, `{"n":{"m":5}}`, "POST /prod/url/x?fail=1", "", `{}`)
	w.want(400, "*", "POST /prod/url/%2E%2E", "", `{}`)
}

// Requests are held against their models and parameters, and nothing of a body is in the log.
func TestValidators(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api(REST, "prod", func(_ *API, d *Definition) {
		d.Validators = map[string]*Validator{"v": {ID: "v", Body: true, Parameters: true}}
		d.Models = map[string]*Model{
			"Order": {ID: "Order", Name: "Order", Schema: `{"$schema":"http://json-schema.org/draft-04/schema#","type":"object","required":["n"],"properties":{"n":{"type":"integer","minimum":0,"exclusiveMinimum":true},"of":{"$ref":"https://apigateway.amazonaws.com/restapis/a1b2c3/models/Item"}}}`},
			"Item":  {ID: "Item", Name: "Item", Schema: `{"type":"object","required":["name"]}`},
			"Away":  {ID: "Away", Name: "Away", Schema: `{"$ref":"http://169.254.169.254/latest"}`},
		}
		r := d.Routes["POST /a"]
		r.Validator, r.RequestModels = "v", map[string]string{"application/json": "Order"}
		r.RequestParameters = map[string]bool{"method.request.querystring.q": true, "method.request.header.X-Need": true, "method.request.header.X-May": false}
		d.Routes["POST /away"].Validator, d.Routes["POST /away"].RequestModels = "v", map[string]string{"application/json": "Away"}
		d.Answers = map[string]*Answer{"BAD_REQUEST_BODY": {Type: "BAD_REQUEST_BODY", Status: "422", Parameters: map[string]string{"gatewayresponse.header.X-Why": "'body'", "gatewayresponse.header.X-Q": "method.request.querystring.q"},
			Templates: map[string]string{"application/json": `{"why":$context.error.messageString,"type":"$context.error.responseType","wrong":"$context.error.validationErrorString"}`}},
			"DEFAULT_4XX": {Type: "DEFAULT_4XX", Parameters: map[string]string{"gatewayresponse.header.Access-Control-Allow-Origin": "'*'",
				"gatewayresponse.header.X-Id": "method.request.path.id", "gatewayresponse.header.X-Body": "method.request.body.a", "gatewayresponse.header.X-Route": "context.resourcePath"}}}
	}, "POST /a", "POST /away")
	w.want(200, "ok", "POST /prod/a?q=1", "X-Need: x", "", `{"n":1,"of":{"name":"x"}}`)
	w.want(200, "ok", "POST /prod/a?q=1", "X-Need: x", "Content-Type: text/plain", "", `x`)
	got := w.want(400, `{"message":"Missing required request parameters: [X-Need, q]"}`, "POST /prod/a", "", `{"n":1}`)
	if got.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("%v", got.header)
	}
	for body, where := range map[string]string{`{"n":0}`: "/n", `{"n":"secret"}`: "/n", `{}`: "/", `{"n":1,"of":{}}`: "/of", `{`: "Unable to parse", ``: "Unable to parse"} {
		got := w.want(422, "*", "POST /prod/a?q=1", "X-Need: x", "", body)
		if !strings.Contains(got.body, `"why":"Invalid request body","type":"BAD_REQUEST_BODY","wrong":"`) || !strings.Contains(got.body, where) || strings.Contains(got.body, "secret") ||
			got.header.Get("X-Why") != "body" || got.header.Get("X-Q") != "1" {
			t.Errorf("%s: %s %v", body, got.body, got.header)
		}
	}
	w.want(500, `{"message":"Internal server error"}`, "POST /prod/away", "", `{}`)
	if h := w.want(403, `{"message":"Missing Authentication Token"}`, "POST /prod/none", "", `{"a":1}`).header; h.Get("Access-Control-Allow-Origin") != "*" || h["X-Id"] != nil {
		t.Errorf("%v", h)
	}
	if !strings.Contains(w.log.String(), "is not a model of this API") {
		t.Error(w.log.String())
	}
}

// A REST API that streams: prelude, eight zero bytes, body as it comes; and streams that are none.
func TestStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.api(REST, "prod", func(_ *API, d *Definition) { d.Integrations["GET /s"].Streams = true }, "GET /s")
	prelude := `{"statusCode":201,"headers":{"Content-Type":"text/event-stream","X-A":"1"},"cookies":["a=1"]}` + strings.Repeat("\x00", 8)
	gate := make(chan struct{})
	w.function("f", func(_ context.Context, _ []byte, sink function.StreamSink) (string, error) {
		for _, part := range []string{prelude[:20], prelude[20:] + "one"} {
			if err := sink.Chunk([]byte(part)); err != nil {
				return "", err
			}
		}
		<-gate
		return "", sink.Chunk([]byte("two"))
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/prod/s", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = apiHost
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 3)
	if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "one" || resp.StatusCode != 201 || resp.Header.Get("X-A") != "1" || resp.Header.Get("Set-Cookie") != "a=1" {
		t.Errorf("%v %q %v", err, first, resp.Header)
	}
	close(gate)
	rest, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(rest) != "two" {
		t.Errorf("%v %q", err, rest)
	}
	sends := func(payload string, parts ...string) {
		w.function("f", func(_ context.Context, _ []byte, sink function.StreamSink) (string, error) {
			for _, p := range parts {
				if err := sink.Chunk([]byte(p)); err != nil {
					return "", err
				}
			}
			return payload, nil
		})
	}
	const failed = `{"message":"Internal server error"}`
	sends("", "no prelude\x00\x00\x00\x00\x00\x00\x00\x00")
	w.want(502, failed, "GET /prod/s")
	sends("", `{"statusCode":200}`)
	w.want(502, failed, "GET /prod/s")
	sends(`error:{"errorMessage":"x"}`)
	w.want(502, failed, "GET /prod/s")
	sends(`{"statusCode":200,"body":"whole"}`)
	w.want(200, "whole", "GET /prod/s")
	sends(`error:{"errorMessage":"x"}`, prelude+"half")
	if resp, err = http.DefaultTransport.RoundTrip(r); err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("a stream that broke off looks whole")
	}
}

// A body whose numbers nobody can compare is refused, whatever the model asks of them.
func TestNumbersAgainstModels(t *testing.T) {
	t.Parallel()
	for _, schema := range []string{`{"items":{"minimum":1}}`, `{"items":{"multipleOf":2}}`, `{"uniqueItems":true}`, `{"items":{"type":"integer"}}`} {
		m, err := compileModel("M", map[string]*Model{"M": {Name: "M", Schema: schema}})
		if err != nil {
			t.Fatal(err)
		}
		var refusal *Refusal
		if err := holdBody(m, []byte(`[2,1e10000000]`)); !errors.As(err, &refusal) || refusal.Kind != BadBody {
			t.Errorf("%s: %v", schema, err)
		}
		if err := holdBody(m, []byte(`[2,4e3]`)); err != nil {
			t.Errorf("%s: %v", schema, err)
		}
	}
	if _, err := compileModel("M", map[string]*Model{"M": {Name: "M", Schema: `{"minimum":1e10000000}`}}); err == nil {
		t.Error("a model is compiled that nothing can be compared with")
	}
}

// A fault of ours while a body is looked at keeps none of the room that bodies have together.
func TestRoomAfterAFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *Options) {
		o.Sender = func(*http.Request, string, []byte) (*access.Caller, string, error) { panic(http.ErrAbortHandler) }
	})
	w.api(REST, "prod", func(_ *API, d *Definition) { d.Routes["POST /a"].Authorization = authIAM }, "POST /a")
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/execute-api/a1b2c3/prod/a", strings.NewReader(strings.Repeat("x", smallBody+1)))
	r.Header.Set("Authorization", "AWS4")
	fault := func() (fault any) {
		defer func() { fault = recover() }()
		w.ServeHTTP(httptest.NewRecorder(), r)
		return nil
	}()
	if fault == nil || !w.bodies.TryAcquire(bodyRoom) {
		t.Errorf("fault %v: the body's room is kept", fault)
	}
}

// sluggish is a body of which some comes now and then.
type sluggish struct {
	left, each int
	pause      time.Duration
}

func (s *sluggish) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(s.pause)
	n := min(len(p), s.each, s.left)
	s.left -= n
	return n, nil
}

// Whoever sends slowly keeps no room that others wait for, and where there is none nobody waits long.
func TestRoomOfSlowBodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{bodies: semaphore.NewWeighted(bodyRoom)}
		read := func(body io.Reader, length int64) (*call, time.Duration, error) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", body)
			r.ContentLength = length
			c, began := &call{s: s, r: r}, time.Now()
			release, err := c.readBody()
			if err == nil && len(c.body) > smallBody && s.bodies.TryAcquire(bodyRoom-int64(len(c.body))+1) {
				t.Error("a body holds no room")
			}
			if took := time.Since(began); release != nil {
				release()
				return c, took, err
			}
			return c, 0, err
		}
		for _, length := range []int64{maxBody, -1} {
			if _, took, err := read(&sluggish{maxBody, 1 << 10, 29 * time.Second}, length); err == nil || took > 2*time.Hour {
				t.Errorf("a body of a kilobyte each 29 s is read for %s: %v", took, err)
			}
			if c, _, err := read(&sluggish{maxBody, 64 << 10, time.Second}, length); err != nil || len(c.body) != maxBody {
				t.Errorf("a body of 64 KB each second: %v", err)
			}
		}
		if !s.bodies.TryAcquire(bodyRoom) {
			t.Fatal("room is not given back")
		}
		if _, took, err := read(&sluggish{1 << 20, 64 << 10, 0}, -1); err == nil || took > roomWait {
			t.Errorf("without room: %v after %s", err, took)
		}
		if _, _, err := read(&sluggish{smallBody, 64 << 10, 0}, smallBody); err != nil {
			t.Errorf("a small body needs none: %v", err)
		}
		s.bodies.Release(bodyRoom)
	})
}
