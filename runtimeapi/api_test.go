package runtimeapi

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"thaw/guest/readiness"
	"thaw/guest/wire"
)

// TestInvocation is the life of a runtime on one connection: E-020 to E-025, E-027 to E-029, E-048, E-049 (without the hour).
func TestInvocation(t *testing.T) {
	s := serve(t, Options{})
	c := s.dial()
	if r := s.park(c, "User-Agent: aws-lambda-test/1.0 more", "Lambda-Runtime-Features: one,two"); r.UserAgent != "aws-lambda-test/1.0 (one,two)" || r.Generation != 7 || r.Next != wire.NextInvocation || r.RequestID != "" {
		t.Errorf("first ready %+v", r)
	}
	s.deliver("id-1", "first event")
	resp, body := c.answer("GET")
	if body != "first event" || resp.StatusCode != 200 {
		t.Errorf("next: %d %q", resp.StatusCode, body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "Lambda-Runtime-Aws-Request-Id": "id-1", "Lambda-Runtime-Deadline-Ms": "1234567890123",
		"Lambda-Runtime-Invoked-Function-Arn": "arn:f:live", "Lambda-Runtime-Invocation-Id": "nonce-id-1", "Content-Length": "11",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("header %s: %q, want %q", name, got, want)
		}
	}
	for _, name := range []string{"Lambda-Runtime-Trace-Id", "Lambda-Runtime-Client-Context", "Lambda-Runtime-Cognito-Identity", "Lambda-Runtime-Aws-Tenant-Id"} {
		if _, has := resp.Header[name]; has {
			t.Errorf("header %s is there without a value", name) // E-050 too
		}
	}

	resp2, body := func() (*http.Response, string) { c.call("GET", nextPath, ""); return c.answer("GET") }()
	if body != "first event" || resp2.Header.Get("Lambda-Runtime-Aws-Request-Id") != "id-1" {
		t.Errorf("next while running: %d %q", resp2.StatusCode, body)
	}
	s.quiet()

	status, body := c.do("POST", responsePath("unknown"), "x")
	expect(t, "response with an unknown id", status, body, 400, "InvalidRequestID")
	status, body = c.do("POST", responsePath("id%2D1"), "the answer", "content-type: text/x", "lambda-runtime-invocation-id: nonce-id-1")
	expect(t, "response", status, body, 202, "")
	m := s.said(wire.KindResponse)
	if want := (wire.ResponseHead{Generation: 7, RequestID: "id-1", ContentType: "text/x"}); m.head != want || m.body != "the answer" {
		t.Errorf("the host was told %+v %q", m.head, m.body)
	}
	for _, path := range []string{responsePath("id-1"), errorPath("id-1")} {
		status, body = c.do("POST", path, "late")
		expect(t, "after the response: "+path, status, body, 403, "InvalidStateTransition")
	}
	if want := "State transition from RuntimeResponseSentState to InvocationErrorResponse failed for runtime. Error: State transition is not allowed"; !strings.Contains(body, want) {
		t.Errorf("got %s, want message %s", body, want)
	}
	s.quiet()
	if r := s.park(c); r.RequestID != "id-1" || r.UserAgent != "" {
		t.Errorf("second ready %+v", r)
	}
	other := s.dial()
	status, body = other.do("POST", responsePath("id-1"), "late")
	expect(t, "response after next", status, body, 400, "InvalidRequestID")

	s.Deliver(wire.Invoke{RequestID: "id-2", FunctionARN: "a\r\nEvil: yes", TraceID: "Root=1", ClientContext: `{"k":"ä😀"}`, CognitoIdentity: "{}", TenantID: "tenant", ContentType: "text/csv"}, nil)
	resp, body = c.answer("GET")
	for name, want := range map[string]string{
		"Content-Type": "text/csv", "Lambda-Runtime-Trace-Id": "Root=1", "Lambda-Runtime-Client-Context": `{"k":"\u00e4\ud83d\ude00"}`,
		"Lambda-Runtime-Cognito-Identity": "{}", "Lambda-Runtime-Aws-Tenant-Id": "tenant", "Lambda-Runtime-Invoked-Function-Arn": "aEvil: yes", "Evil": "",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("header %s: %q, want %q", name, got, want)
		}
	}
	if body != "" {
		t.Errorf("empty event: %q", body)
	}
	status, body = c.do("POST", errorPath("id-2"), `{"errorMessage":"m"}`, "Lambda-Runtime-Function-Error-Type: Function<StandardError>", "Content-Type: application/json")
	expect(t, "error", status, body, 202, "")
	m = s.said(wire.KindError)
	if want := (wire.ErrorHead{Generation: 7, RequestID: "id-2", ErrorType: "Runtime.Unknown", ContentType: "application/json"}); m.head != want || m.body != `{"errorMessage":"m"}` {
		t.Errorf("the host was told %+v %q", m.head, m.body)
	}
}

// TestOutOfTurn holds E-026, E-034 to E-037, E-039, E-052, E-053 and the router's answers.
func TestOutOfTurn(t *testing.T) {
	s := serve(t, Options{})
	c := s.dial()
	for _, call := range []struct {
		method, path string
		status       int
		errorType    string
	}{
		{"POST", responsePath("x"), 400, "InvalidRequestID"},
		{"POST", errorPath(""), 400, "InvalidRequestID"},
		{"GET", "/ping", 200, ""},
		{"POST", "/ping", 405, "MethodNotAllowed"},
		{"HEAD", "/ping", 405, ""},
		{"GET", "/runtime/restore/next", 404, "NotFound"},
		{"POST", "/runtime/restore/error", 404, "NotFound"},
		{"GET", "/../2021-04-23/credentials", 404, "NotFound"},
		{"POST", nextPath, 405, "MethodNotAllowed"},
		{"GET", responsePath("x"), 405, "MethodNotAllowed"},
		{"DELETE", "/runtime/init/error", 405, "MethodNotAllowed"},
		{"GET", "/runtime/invocation/", 404, "NotFound"},
		{"GET", "/runtime/invocation/x/y", 404, "NotFound"},
		{"GET", "/nothing?query=1", 404, "NotFound"},
		{"POST", "/runtime/init/error", 202, ""},
		{"POST", "/runtime/init/error", 403, "InvalidStateTransition"},
		{"GET", nextPath, 403, "InvalidStateTransition"},
	} {
		status, body := c.do(call.method, call.path, strings.Repeat("b", 10*len(call.method)%7))
		expect(t, call.method+" "+call.path, status, body, call.status, call.errorType)
	}
	m := s.said(wire.KindInitError)
	if want := (wire.ErrorHead{Generation: 7, ErrorType: "Runtime.Unknown", ContentType: "application/octet-stream"}); m.head != want {
		t.Errorf("the host was told %+v, want %+v", m.head, want)
	}
	s.quiet()

	parked := serve(t, Options{SnapStart: true})
	p, c := parked.dial(), parked.dial()
	parked.park(p)
	for path, target := range map[string]string{"/runtime/init/error": "InitError", "/runtime/restore/error": "RuntimeRestoreErrorState"} {
		status, body := c.do("POST", path, "{}")
		expect(t, path+" when parked", status, body, 403, "InvalidStateTransition")
		if want := "State transition from Ready to " + target + " failed"; !strings.Contains(body, want) {
			t.Errorf("got %s, want %s", body, want)
		}
	}
	status, body := c.do("GET", "/runtime/restore/next", "")
	expect(t, "restore/next when parked", status, body, 403, "InvalidStateTransition")
	parked.quiet()
}

func TestInitError(t *testing.T) {
	s := serve(t, Options{})
	status, body := s.dial().do("POST", "/runtime/init/error", `{"errorMessage":"no module"}`, "lambda-runtime-function-error-type: Runtime.ImportModuleError")
	expect(t, "init/error", status, body, 202, "")
	m := s.said(wire.KindInitError)
	if want := (wire.ErrorHead{Generation: 7, ErrorType: "Runtime.ImportModuleError", ContentType: "application/json"}); m.head != want || m.body != `{"errorMessage":"no module"}` {
		t.Errorf("the host was told %+v %q", m.head, m.body)
	}
}

// TestRestore holds E-038 to E-040 and E-122.
func TestRestore(t *testing.T) {
	old := wire.Credentials{AccessKeyID: "old", SecretAccessKey: "s", SessionToken: "t", ExpirationUnix: 1}
	fresh := wire.Credentials{AccessKeyID: "new", SecretAccessKey: "s2", SessionToken: "t2", ExpirationUnix: 1_700_000_000}
	open := func(t *testing.T) (*server, *client) {
		s := serve(t, Options{SnapStart: true, Token: "secret", Credentials: old})
		c := s.dial()
		c.call("GET", "/runtime/restore/next", "")
		if r := s.said(wire.KindReady).head.(wire.Ready); r.Next != wire.NextRestore {
			t.Errorf("ready %+v", r)
		}
		return s, c
	}
	const at = "GET /2021-04-23/credentials HTTP/1.1\r\nHost: x\r\n"
	t.Run("credentials wait for the swap, then restore/next is answered", func(t *testing.T) {
		s, c := open(t)
		reader := s.dial()
		for _, header := range []string{"", "Authorization: wrong\r\n"} {
			reader.send(at + header + "\r\n")
			if resp, body := reader.answer("GET"); resp.StatusCode != 404 || !strings.Contains(body, "cannot get credentials for the provided token") {
				t.Errorf("credentials with %q: %d %s", header, resp.StatusCode, body)
			}
		}
		reader.send(at + "Authorization: secret\r\n\r\n")
		if _, body := reader.answer("GET"); body != `{"AccessKeyId":"old","SecretAccessKey":"s","Token":"t","Expiration":"1970-01-01T00:00:01Z"}` {
			t.Errorf("credentials at the snapshot: %s", body)
		}
		s.BlockCredentials()
		reader.send(at + "Authorization: secret\r\n\r\n")
		answered := make(chan string)
		go func() { _, body := reader.answer("GET"); answered <- body }()
		select {
		case body := <-answered:
			t.Errorf("credentials during the swap: %s", body)
		case <-time.After(50 * time.Millisecond):
		}
		if err := s.Restored(fresh); err != nil {
			t.Fatal(err)
		}
		if body := <-answered; body != `{"AccessKeyId":"new","SecretAccessKey":"s2","Token":"t2","Expiration":"2023-11-14T22:13:20Z"}` {
			t.Errorf("credentials after it: %s", body)
		}
		if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != "" {
			t.Errorf("restore/next: %d %q", resp.StatusCode, body)
		}
		s.quiet()
		if r := s.park(c); r.Next != wire.NextInvocation {
			t.Errorf("ready after the hooks: %+v", r)
		}
	})
	for _, path := range []string{"/runtime/restore/error", "/runtime/init/error"} {
		t.Run(path+" while restoring", func(t *testing.T) {
			s, c := open(t)
			if err := s.Restored(fresh); err != nil {
				t.Fatal(err)
			}
			c.answer("GET")
			status, body := c.do("POST", path, "{}", "Lambda-Runtime-Function-Error-Type: Runtime.AfterRestoreError")
			expect(t, path, status, body, 202, "")
			if head := s.said(wire.KindRestoreError).head.(wire.ErrorHead); head.ErrorType != "Runtime.AfterRestoreError" {
				t.Errorf("the host was told %+v", head)
			}
			status, body = c.do("GET", nextPath, "")
			expect(t, "next after it", status, body, 403, "InvalidStateTransition")
		})
	}
	t.Run("a runtime parked in next hears nothing, and the host that it is ready", func(t *testing.T) {
		s := serve(t, Options{SnapStart: true})
		c := s.dial()
		s.park(c)
		if err := s.Restored(fresh); err != nil {
			t.Fatal(err)
		}
		if r := s.said(wire.KindReady).head.(wire.Ready); r.Next != wire.NextInvocation {
			t.Errorf("ready %+v", r)
		}
		s.deliver("1", "event")
		if _, body := c.answer("GET"); body != "event" {
			t.Errorf("event after the restore: %q", body)
		}
	})
	t.Run("restore/next twice", func(t *testing.T) {
		s, _ := open(t)
		status, body := s.dial().do("GET", "/runtime/restore/next", "")
		expect(t, "the second", status, body, 403, "InvalidStateTransition")
		if !strings.Contains(body, "State transition from RestoreReady to Ready failed") {
			t.Error(body)
		}
	})
}

// TestLimits holds E-030, E-031, E-032 and E-033.
func TestLimits(t *testing.T) {
	exact := strings.Repeat("x", wire.MaxPayload)
	chunked := func(body string) string {
		return fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	}
	length := func(body string) string { return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body) }
	for name, frame := range map[string]func(string) string{"with length": length, "chunked": chunked} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, Options{})
			c := s.dial()
			s.running(c, "1")
			c.send("POST /2018-06-01" + responsePath("1") + " HTTP/1.1\r\n" + frame(exact))
			resp, body := c.answer("POST")
			expect(t, "the largest response", resp.StatusCode, body, 202, "")
			if m := s.said(wire.KindResponse); len(m.body) != wire.MaxPayload {
				t.Errorf("the host got %d bytes", len(m.body))
			}
			s.running(c, "2")
			c.send("POST /2018-06-01" + responsePath("2") + " HTTP/1.1\r\n" + frame(exact+"x"))
			resp, body = c.answer("POST")
			expect(t, "one byte more", resp.StatusCode, body, 413, "RequestEntityTooLarge")
			if !strings.Contains(body, "Exceeded maximum allowed payload size (6291556 bytes).") {
				t.Error(body)
			}
			m := s.said(wire.KindError)
			if head := m.head.(wire.ErrorHead); !head.Refused || head.ErrorType != "Function.ResponseSizeTooLarge" ||
				m.body != `{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}` {
				t.Errorf("the host was told %+v %s", head, m.body)
			}
			s.running(c, "3") // on the same connection
		})
	}
	t.Run("a response that breaks off", func(t *testing.T) {
		for _, text := range []string{"Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "Transfer-Encoding: chunked\r\n\r\n9\r\nhalf"} {
			s := serve(t, Options{})
			c := s.dial()
			s.running(c, "1")
			c.send("POST /2018-06-01" + responsePath("1") + " HTTP/1.1\r\n" + text)
			c.Conn.(*net.TCPConn).CloseWrite()
			resp, body := c.answer("POST")
			expect(t, "truncated", resp.StatusCode, body, 400, "TruncatedHTTPRequest")
			m := s.said(wire.KindError)
			if head := m.head.(wire.ErrorHead); !head.Refused || head.ErrorType != "Runtime.TruncatedResponse" || head.RequestID != "1" {
				t.Errorf("the host was told %+v %s", head, m.body)
			}
			s.running(s.dial(), "2")
		}
	})
	t.Run("an unknown response mode", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		s.running(c, "1")
		status, body := c.do("POST", responsePath("1"), "body", "Lambda-Runtime-Function-Response-Mode: Streaming")
		expect(t, "Streaming", status, body, 400, "InvalidFunctionResponseMode")
		m := s.said(wire.KindError)
		if head := m.head.(wire.ErrorHead); !head.Refused || head.ErrorType != "Runtime.InvalidResponseModeHeader" || m.body != "" {
			t.Errorf("the host was told %+v %q", head, m.body)
		}
		s.running(c, "2")
	})
	t.Run("a host that is gone", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		s.running(c, "1")
		s.failSends()
		status, body := c.do("POST", responsePath("1"), "body")
		expect(t, "response", status, body, 500, "InternalServerError")
	})
}

// TestAttempts holds E-051 and E-072.
func TestAttempts(t *testing.T) {
	s := serve(t, Options{})
	c := s.dial()
	s.running(c, "same")
	status, body := c.do("POST", responsePath("same"), "late", "Lambda-Runtime-Invocation-Id: nonce-of-another-attempt")
	expect(t, "a wrong echo", status, body, 410, "InvokeTimeout")
	if !strings.Contains(body, `"errorMessage":"Invoke timeout"`) {
		t.Error(body)
	}
	status, body = c.do("POST", errorPath("same"), "late", "Lambda-Runtime-Invocation-Id: nonce-of-another-attempt")
	expect(t, "a wrong echo of an error", status, body, 410, "InvokeTimeout")
	s.quiet()
	status, body = c.do("POST", responsePath("same"), "right")
	expect(t, "no echo", status, body, 202, "")
	if m := s.said(wire.KindResponse); m.body != "right" {
		t.Errorf("the host was told %q", m.body)
	}
}

// TestStreaming holds E-054, E-055 and E-058's truncation.
func TestStreaming(t *testing.T) {
	const head = " HTTP/1.1\r\nLambda-Runtime-Function-Response-Mode: streaming\r\nContent-Type: text/x\r\nTransfer-Encoding: chunked\r\n"
	begin := func(t *testing.T) (*server, *client) {
		s := serve(t, Options{})
		c := s.dial()
		s.running(c, "1")
		c.send("POST /2018-06-01" + responsePath("1") + head + "Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body\r\n\r\n")
		if got, want := s.said(wire.KindStreamHead).head, (wire.ResponseHead{Generation: 7, RequestID: "1", ContentType: "text/x"}); got != want {
			t.Errorf("stream head %+v", got)
		}
		c.send("5;ext=1\r\nfirst\r\n")
		if m := s.said(wire.KindStreamChunk); m.body != "first" { // before there is more
			t.Errorf("first chunk %q", m.body)
		}
		return s, c
	}
	t.Run("complete", func(t *testing.T) {
		s, c := begin(t)
		status, body := s.dial().do("POST", errorPath("1"), "x")
		expect(t, "an error during the stream", status, body, 403, "InvalidStateTransition")
		status, body = s.dial().do("GET", nextPath, "")
		expect(t, "next during the stream", status, body, 403, "InvalidStateTransition")
		c.send("0\r\n\r\n")
		resp, body := c.answer("POST")
		expect(t, "stream", resp.StatusCode, body, 202, "")
		if end := s.said(wire.KindStreamEnd).head.(wire.StreamEnd); end.ErrorType != "" || end.RequestID != "1" {
			t.Errorf("end %+v", end)
		}
		s.running(c, "2")
	})
	t.Run("an error in the trailers", func(t *testing.T) {
		s, c := begin(t)
		c.send("0\r\nlambda-runtime-function-error-type: Function.bad\r\nLambda-Runtime-Function-Error-Body: " + base64.StdEncoding.EncodeToString([]byte(`{"e":1}`)) + "\r\n\r\n")
		resp, body := c.answer("POST")
		expect(t, "stream", resp.StatusCode, body, 202, "")
		if end := s.said(wire.KindStreamEnd).head.(wire.StreamEnd); end.ErrorType != "Function.Unknown" || string(end.ErrorBody) != `{"e":1}` {
			t.Errorf("end %+v", end)
		}
	})
	t.Run("broken off", func(t *testing.T) {
		s, c := begin(t)
		c.Close()
		if end := s.said(wire.KindStreamEnd).head.(wire.StreamEnd); end.ErrorType != "Runtime.TruncatedResponse" {
			t.Errorf("end %+v", end)
		}
		s.awaitState(readiness.ResponseSent)
	})
	t.Run("broken off by an exit, which the host is told of", func(t *testing.T) {
		s, c := begin(t)
		c.Close()
		s.Exiting()
		s.awaitState(readiness.ResponseSent)
		s.quiet()
	})
	t.Run("no more than the credit", func(t *testing.T) {
		s, c := begin(t)
		const rest = 2 * wire.StreamWindow
		go io.WriteString(c, fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", rest, strings.Repeat("x", rest)))
		got := len("first")
		take := func(until int) {
			for got < until {
				m := s.said(wire.KindStreamChunk)
				if got += len(m.body); len(m.body) > wire.MaxChunk {
					t.Fatalf("a chunk of %d bytes", len(m.body))
				}
			}
			if got != until {
				t.Fatalf("%d bytes came with a credit of %d", got, until)
			}
		}
		take(wire.StreamWindow)
		time.Sleep(20 * time.Millisecond) // nothing to wait for: it must not come
		s.quiet()
		s.Credit("another", 1000)
		s.Credit("1", 1000)
		take(wire.StreamWindow + 1000)
		s.Credit("1", rest)
		take(rest + len("first"))
		s.said(wire.KindStreamEnd)
	})
	t.Run("a buffered response with an error in its trailers", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		s.running(c, "1")
		c.send("POST /2018-06-01" + responsePath("1") + " HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\nLambda-Runtime-Function-Error-Type: Function.Broken\r\nLambda-Runtime-Function-Error-Body: eyJlIjoxfQ==\r\n\r\n")
		resp, body := c.answer("POST")
		expect(t, "response", resp.StatusCode, body, 202, "")
		m := s.said(wire.KindError)
		if head := m.head.(wire.ErrorHead); head.ErrorType != "Function.Broken" || head.Refused || m.body != `{"e":1}` {
			t.Errorf("the host was told %+v %s", head, m.body)
		}
	})
}

// TestErrorCause holds E-043 and E-044.
func TestErrorCause(t *testing.T) {
	s := serve(t, Options{})
	c := s.dial()
	long := `{"message":"m","paths":["` + strings.Repeat(`p","`, 100) + `"],"exceptions":[` + strings.TrimSuffix(strings.Repeat(`{"message":"`+strings.Repeat("x", 90)+`","type":"T","stack":[{"path":"p","line":1,"label":"l"}]},`, 1000), ",") + `]}`
	for _, call := range []struct {
		name, contentType, body, cause      string
		wantBody, wantType, wantCausePrefix string
	}{
		{"the cause is stripped from the body", "application/vnd.aws.lambda.error.cause+json; charset=utf-8",
			`{"errorMessage":"m","errorCause":{"message":"why"},"stackTrace":["a"],"errorType":"T","other":1}`, "",
			`{"errorMessage":"m","errorType":"T","stackTrace":["a"]}`, "application/json", `{"message":"why"}`},
		{"a body that is no JSON", "application/vnd.aws.lambda.error.cause+json", `{"errorMessage"`, "", "Invalid error body", "application/octet-stream", ""},
		{"a cause in the header", "application/json", "{}", `{"working_directory":"/var/task"}`, "{}", "application/json", `{"working_directory":"/var/task"}`},
		{"a cause with nothing in it", "application/json", "{}", `{"other":1}`, "{}", "application/json", ""},
		{"a cause that is no JSON", "application/json", "{}", `{{`, "{}", "application/json", ""},
		{"a long cause is cropped", "application/json", "{}", long, "{}", "application/json", `{"exceptions":[{`},
		{"a long message too", "application/json", "{}", `{"message":"` + strings.Repeat("m", 100_000) + `"}`, "{}", "application/json", `{"message":"mmm`},
	} {
		s.running(c, "1")
		headers := []string{"Content-Type: " + call.contentType}
		if call.cause != "" {
			headers = append(headers, "Lambda-Runtime-Function-XRay-Error-Cause: "+call.cause)
		}
		status, body := c.do("POST", errorPath("1"), call.body, headers...)
		expect(t, call.name, status, body, 202, "")
		m := s.said(wire.KindError)
		head := m.head.(wire.ErrorHead)
		if m.body != call.wantBody || head.ContentType != call.wantType || !strings.HasPrefix(head.XRayCause, call.wantCausePrefix) || (call.wantCausePrefix == "") != (head.XRayCause == "") {
			t.Errorf("%s: the host was told %.300v %q", call.name, head, m.body)
		}
		if len(head.XRayCause) > maxCause {
			t.Errorf("%s: a cause of %d bytes", call.name, len(head.XRayCause))
		}
	}
}
