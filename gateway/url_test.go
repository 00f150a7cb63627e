package gateway

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"thaw/access"
)

// reflecting is a backend that says what it got.
func reflecting(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body) //nolint:errcheck // a test
		h := w.Header()
		h.Set("X-Back", "1")
		h.Set("Connection", "X-Hop")
		h.Add("Set-Cookie", "a=1")
		h.Add("Set-Cookie", "b=2")
		switch r.URL.Path {
		case "/redirect":
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusFound)
			return
		case "/gzip":
			h.Set("Content-Encoding", "gzip")
		case "/slow":
			<-r.Context().Done()
			return
		case "/long":
			h.Set("Content-Length", fmt.Sprint(maxBody+1))
			w.Write(make([]byte, maxBody+1)) //nolint:errcheck // nobody reads it
			return
		case "/longer":
			w.Write(make([]byte, maxBody+1)) //nolint:errcheck // it breaks off
			return
		case "/teapot":
			w.WriteHeader(http.StatusTeapot)
		}
		fmt.Fprintf(w, "%s %s %s x=%s key=%s auth=%s for=%s", r.Method, r.URL.RequestURI(), b, strings.Join(r.Header["X-A"], ","), r.Header.Get("X-Api-Key"), r.Header.Get("Authorization"), r.Header.Get("X-Forwarded-For"))
	}))
	t.Cleanup(s.Close)
	return s
}

// HTTP_PROXY: the request passes as it is, parameters are mapped, what belongs to a connection stays with it, and a
// 9.9 MB body comes through.
func TestProxyToURL(t *testing.T) {
	t.Parallel()
	back := reflecting(t)
	w := newWorld(t)
	w.api(HTTP, DefaultStage, func(_ *API, d *Definition) {
		set := func(key string, i Integration) { i.Type = "HTTP_PROXY"; d.Integrations[key] = &i }
		set("ANY /p/{proxy+}", Integration{URI: back.URL + "/{proxy}", Method: "ANY"})
		set("POST /m/{id}", Integration{URI: back.URL + "/x?keep=1", Method: "PUT", Parameters: map[string]string{"append:header.X-A": "$request.header.b", "overwrite:querystring.q": "$request.path.id-$context.stage",
			"remove:querystring.gone": "''", "overwrite:path": "/moved/$request.path.id", "append:header.Authorization": "stolen"},
			Responses: map[string]*Reshaping{"200": {Parameters: map[string]string{"overwrite:statuscode": "203", "append:header.X-New": "$response.header.X-Back/$context.stage", "remove:header.X-Back": "''"}}}})
		set("GET /slow", Integration{URI: back.URL + "/slow", Timeout: 50})
		set("GET /dead", Integration{URI: "http://127.0.0.1:1/"})
		set("GET /file", Integration{URI: "file:///etc/passwd"})
		set("GET /vpc", Integration{URI: back.URL, Connection: "VPC_LINK"})
	}, "ANY /p/{proxy+}", "POST /m/{id}", "GET /slow", "GET /dead", "GET /file", "GET /vpc")
	const unavailable, failed = `{"message":"Service Unavailable"}`, `{"message":"Internal Server Error"}`
	got := w.want(200, "POST /a%20b/c?q=1 body x=1,2 key=k auth=Bearer for=127.0.0.1", "POST /p/a%20b/c?q=1", "X-A: 1", "X-A: 2", "X-Api-Key: k", "Authorization: Bearer", "", "body")
	if got.header.Get("X-Back") != "1" || got.header.Get("Connection") != "" || len(got.header["Set-Cookie"]) != 2 {
		t.Errorf("%v", got.header)
	}
	w.want(418, "*", "GET /p/teapot")
	if h := w.want(302, "*", "GET /p/redirect").header; h.Get("Location") != "http://169.254.169.254/" {
		t.Errorf("a redirect is the sender's: %v", h)
	}
	if got := w.want(200, "*", "GET /p/gzip", "Accept-Encoding: gzip"); got.header.Get("Content-Encoding") != "gzip" || !strings.HasPrefix(got.body, "GET /gzip") {
		t.Errorf("gzip is left alone: %v", got)
	}
	w.want(200, "*", "HEAD /p/a")
	got = w.want(203, "*", "POST /m/7?gone=1&q=0", "B: b", "", "{}")
	if !strings.HasPrefix(got.body, "PUT /moved/7?keep=1&q=7-%24default {} x=b key= auth= ") || got.header.Get("X-New") != "1/$default" || got.header.Get("X-Back") != "" {
		t.Errorf("%+v", got)
	}
	big := strings.Repeat("0123456789", 990_000)
	if got := w.want(200, "*", "PUT /p/big", "", big); len(got.body) < len(big) || !strings.Contains(got.body, big) {
		t.Errorf("%d bytes of %d came through", len(got.body), len(big))
	}
	w.want(503, unavailable, "GET /slow")
	w.want(503, unavailable, "GET /dead")
	w.want(500, failed, "GET /file")
	w.want(500, failed, "GET /vpc")
	w.want(500, failed, "GET /p/long")
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, w.url+"/p/longer", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = apiHost
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("an answer that is too long looks whole")
	}
	if log := w.log.String(); !strings.Contains(log, "no URL of http") || !strings.Contains(log, "connection refused") || !strings.Contains(log, "more than 10 MB") || !strings.Contains(log, "VPC link") {
		t.Error(log)
	}

	w.api(REST, "prod", func(_ *API, d *Definition) {
		d.Integrations["GET /{proxy+}"] = &Integration{Type: "HTTP_PROXY", URI: back.URL + "/{proxy}", Parameters: map[string]string{"integration.request.header.X-A": "'static'"}}
		d.Integrations["GET /dead"] = &Integration{Type: "HTTP_PROXY", URI: "http://127.0.0.1:1/"}
		d.Integrations["GET /slow"] = &Integration{Type: "HTTP_PROXY", URI: back.URL + "/slow", Timeout: 50}
	}, "GET /{proxy+}", "GET /dead", "GET /slow")
	w.want(200, "GET /a?q=1  x=static key= auth= for=127.0.0.1", "GET /prod/a?q=1", "X-A: mine")
	w.want(504, `{"message":"Network error communicating with endpoint"}`, "GET /prod/dead?token=of-the-sender")
	if strings.Contains(w.log.String(), "of-the-sender") {
		t.Error("the log has the sender's query")
	}
	w.want(504, `{"message":"Endpoint request timed out"}`, "GET /prod/slow")
}

// What a sender writes as one segment of a path is one at the backend, too, and no parameter leads out of the owner's path.
func TestParametersStayInTheirPlace(t *testing.T) {
	t.Parallel()
	back := reflecting(t)
	host := strings.TrimPrefix(back.URL, "http://")
	w := newWorld(t)
	for _, kind := range []Kind{HTTP, REST} {
		stage, at := DefaultStage, ""
		if kind == REST {
			stage, at = "prod", "/prod"
		}
		w.api(kind, stage, func(_ *API, d *Definition) {
			set := func(key string, i Integration) { i.Type = "HTTP_PROXY"; d.Integrations[key] = &i }
			set("GET /orders/{id}", Integration{URI: back.URL + "/orders/{id}"})
			set("GET /mapped/{id}", Integration{URI: back.URL + "/orders/{n}", Parameters: map[string]string{"integration.request.path.n": "method.request.path.id"}})
			set("GET /tenants/{t}", Integration{URI: "http://{t}.invalid/"})
			set("GET /named", Integration{URI: "http://{t}.invalid/", Parameters: map[string]string{"integration.request.path.t": "method.request.querystring.t"}})
			set("GET /moved/{id}", Integration{URI: back.URL, Parameters: map[string]string{"overwrite:path": "/orders/$request.path.id"}})
			set("GET /all/{a}/{proxy+}", Integration{URI: back.URL + "/{a}/{proxy}"})
		}, "GET /orders/{id}", "GET /mapped/{id}", "GET /tenants/{t}", "GET /named", "GET /moved/{id}", "GET /all/{a}/{proxy+}")
		const rest = "  x= key= auth= for=127.0.0.1"
		w.want(200, "GET /orders/7%2Fdelete"+rest, "GET "+at+"/orders/7%2Fdelete")
		w.want(200, "GET /a%2Fb/c/d"+rest, "GET "+at+"/all/a%2Fb/c/d")
		if got := w.ask("GET " + at + "/tenants/" + host + "%2F"); got.status < 400 {
			t.Errorf("%s: a segment has become the host: %+v", kind, got)
		}
		if got := w.ask("GET " + at + "/named?t=" + host + "%2F"); got.status < 400 {
			t.Errorf("%s: a parameter has become the host: %+v", kind, got)
		}
		if kind == REST {
			w.want(200, "GET /orders/7%2Fdelete"+rest, "GET "+at+"/mapped/7%2Fdelete")
		} else if got := w.ask("GET /moved/..%2F..%2Fadmin"); got.status != 400 {
			t.Errorf("a parameter leads out of the path: %+v", got)
		}
	}
}

// What a request was signed with goes to no backend, from the query neither: it could be sent again.
func TestNoSignaturesForBackends(t *testing.T) {
	t.Parallel()
	back := reflecting(t)
	who := &access.Caller{Everything: true}
	w := newWorld(t, func(o *Options) { o.Sender = senderOf(&who) })
	w.api(HTTP, DefaultStage, func(_ *API, d *Definition) {
		d.Integrations["GET /a"] = &Integration{Type: "HTTP_PROXY", URI: back.URL + "/a"}
		d.Routes["GET /a"].Authorization = authIAM
	}, "GET /a")
	w.want(200, "GET /a?q=1  x= key= auth= for=127.0.0.1", "GET /a?q=1&X-Amz-Signature=s&X-Amz-Security-Token=t", "Authorization: AWS4 good")
}

// A server that was not told otherwise sends nothing to its own host or link, whatever name leads there.
func TestNoRequestsToThisHost(t *testing.T) {
	t.Parallel()
	back := reflecting(t)
	w := newWorld(t, func(o *Options) { o.Local = false })
	_, port, _ := strings.Cut(strings.TrimPrefix(back.URL, "http://"), ":")
	urls := []string{back.URL, "http://localhost:" + port, "http://0.0.0.0:" + port, "http://[::1]:" + port, "http://169.254.169.254/", "http://[::ffff:127.0.0.1]:" + port, "http://2130706433:" + port}
	keys := make([]string, len(urls))
	for i := range urls {
		keys[i] = fmt.Sprintf("GET /%d", i)
	}
	w.api(HTTP, DefaultStage, func(_ *API, d *Definition) {
		for i, u := range urls {
			d.Integrations[keys[i]] = &Integration{Type: "HTTP_PROXY", URI: u}
		}
		d.Integrations["GET /tls"] = &Integration{Type: "HTTP_PROXY", URI: strings.Replace(back.URL, "http:", "https:", 1), TLSServerName: "x", Timeout: 1000}
		d.Authorizers["j"] = &Authorizer{ID: "j", Type: "JWT", Issuer: back.URL, Audience: []string{"a"}, Sources: []string{"$request.header.Authorization"}}
		d.Routes["GET /jwt"].Authorizer, d.Routes["GET /jwt"].Authorization = "j", authJWT
	}, append(keys, "GET /tls", "GET /jwt")...)
	for _, k := range append(keys, "GET /tls") {
		w.want(503, `{"message":"Service Unavailable"}`, k)
	}
	if n := strings.Count(w.log.String(), "--gateway-local"); n < len(urls)-1 { // a name that is none is refused by the resolver
		t.Errorf("%d of %d: %s", n, len(urls), w.log)
	}
	w.want(401, unauthorised, "GET /jwt", "Authorization: Bearer a.b.c")
	for address, local := range map[string]bool{"[fd00:ec2::254]:80": true, "[64:ff9b::a9fe:a9fe]:80": true, "192.0.2.1:80": false} {
		if err := refuseLocal(t.Context(), "tcp", address, nil); (err != nil) != local {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Access logs have AWS's variables, and no line that a sender has made.
func TestAccessLogs(t *testing.T) {
	t.Parallel()
	lines := &lockedBuffer{}
	var group string
	at := time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)
	w := newWorld(t, func(o *Options) {
		o.AccessLog = func(g, _ string) Lines { group = g; return lines }
		o.Now = func() time.Time { return at }
	})
	format := `{"id":"$context.requestId","ip":"$context.identity.sourceIp","agent":"$context.identity.userAgent","time":"$context.requestTime","epoch":$context.requestTimeEpoch,` +
		`"method":"$context.httpMethod","route":"$context.routeKey","path":"$context.path","stage":"$context.stage","status":"$context.status","length":"$context.responseLength",` +
		`"integration":"$context.integrationStatus $context.integration.status $context.integrationErrorMessage","error":$context.error.messageString,"type":"$context.error.responseType",` +
		`"who":"$context.authorizer.k $context.authorizer.principalId $context.identity.caller","domain":"$context.domainName","none":"$context.nothing","not":"$other ${x}","protocol":"$context.protocol"}`
	w.api(HTTP, DefaultStage, func(a *API, d *Definition) {
		a.Stages[DefaultStage].AccessLog = &AccessLog{Destination: "arn:aws:logs:eu-west-1:" + account + ":log-group:/access/x:*", Format: format}
		d.Authorizers["r"] = &Authorizer{ID: "r", Type: "REQUEST", URI: arnOf("auth"), PayloadVersion: "2.0"}
		d.Routes["GET /a/{id}"].Authorization, d.Routes["GET /a/{id}"].Authorizer = authCustom, "r"
	}, "GET /a/{id}", "GET /bad")
	w.function("auth", answering(allow("Allow", "*")))
	w.want(200, "ok", "GET /a/7", "User-Agent: a\"b\\c")
	w.function("f", answering(`{"statusCode":"x"}`))
	w.want(500, "*", "GET /bad", "User-Agent: curl/8")
	w.want(404, "*", "GET /none", "User-Agent: curl/8")
	got := strings.Split(strings.TrimSpace(lines.String()), "\n")
	want := []string{
		`"ip":"127.0.0.1","agent":"a\"b\\c","time":"27/Nov/2026:09:00:00 +0000","epoch":1795770000,"method":"GET","route":"GET /a/{id}","path":"/a/7","stage":"$default","status":"200","length":"2","integration":"200 200 -","error":-,"type":"-","who":"v p -","domain":"` + apiHost + `","none":"-","not":"$other ${x}","protocol":"HTTP/1.1"}`,
		`"status":"500","length":"35","integration":"200 200 the function's answer makes no HTTP response: its statusCode is no number from 200 to 599","error":"Internal Server Error","type":"BAD_ANSWER","who":"- - -"`,
		`"route":"-","path":"/none","stage":"$default","status":"404","length":"23","integration":"- - -","error":"Not Found","type":"RESOURCE_NOT_FOUND"`,
	}
	if len(got) != len(want) || group != "/access/x" {
		t.Fatalf("group %s: %d lines: %s", group, len(got), lines)
	}
	for i := range want {
		if !strings.Contains(got[i], want[i]) {
			t.Errorf("line %d: %s\nwant %s", i, got[i], want[i])
		}
	}
}

// Execution logs of REST APIs: by level, by route, and without what proves who sends.
func TestExecutionLogs(t *testing.T) {
	t.Parallel()
	lines := &lockedBuffer{}
	var group string
	w := newWorld(t, func(o *Options) { o.AccessLog = func(g, _ string) Lines { group = g; return lines } })
	w.api(REST, "prod", func(a *API, d *Definition) {
		a.Stages["prod"].Logs = map[string]Logging{"": {Level: "ERROR"}, "GET /info": {Level: "INFO"}, "POST /data": {Level: "INFO", Data: true}, "GET /off": {Level: "OFF"}}
		delete(d.Integrations, "GET /broken")
		d.Routes["GET /broken"].Integration = ""
		d.Authorizers["own"] = &Authorizer{ID: "own", Name: "own", Type: "TOKEN", URI: arnOf("own"), Sources: []string{"method.request.header.X-own-token"}}
		d.Routes["POST /data"].Authorization, d.Routes["POST /data"].Authorizer = authCustom, "own"
	}, "GET /info", "POST /data", "GET /off", "GET /quiet", "GET /broken")
	w.function("own", answering(allow("Allow", anything)))
	for line, want := range map[string][]string{
		"GET /prod/info":   {"Starting execution for request: ", "HTTP Method: GET, Resource Path: /info", "Received response. Status: 200", "Method completed with status: 200"},
		"GET /prod/quiet":  {},
		"GET /prod/off":    {},
		"GET /prod/broken": {"Execution failed: API_CONFIGURATION_ERROR: the route has no integration", "Method completed with status: 500"},
		"POST /prod/data":  {"Method request header: X-A: 1", `Method request body: {\"n\": 1}`},
	} {
		before := len(lines.String())
		w.want(map[bool]int{true: 500, false: 200}[line == "GET /prod/broken"], "*", line, "X-A: 1", "Authorization: secret", "X-Api-Key: secret", "Cookie: secret", "X-Own-Token: secret", "", `{"n": 1}`)
		got := lines.String()[before:]
		for _, part := range want {
			if !strings.Contains(got, part) {
				t.Errorf("%s: no %q in %s", line, part, got)
			}
		}
		if len(want) == 0 && got != "" || strings.Contains(got, "secret") {
			t.Errorf("%s: %s", line, got)
		}
	}
	if group != "API-Gateway-Execution-Logs_a1b2c3/prod" {
		t.Error(group)
	}
}

// No value that a sender chooses ends a line of an access log, or a string in it.
func FuzzAccessLogs(f *testing.F) {
	f.Add(`{"a":"$context.identity.userAgent"}`, "a\"\n$context.x")
	f.Add("$context. $context.a.b-$context.a${context.b}", "\x00")
	f.Fuzz(func(t *testing.T, format, value string) {
		line := newLogFormat(format).line(func(name string) (string, bool) {
			return value, name != "error.messageString"
		})
		if strings.Count(line, "\n") > strings.Count(format, "\n") {
			t.Errorf("%q with %q is %q", format, value, line)
		}
		if got := strings.Count(line, `"`) - strings.Count(line, `\"`); !strings.Contains(format, `\`) && got > strings.Count(format, `"`) {
			t.Errorf("%q with %q is %q", format, value, line)
		}
	})
}
