package runtimeapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"thaw/guest/readiness"
	"thaw/guest/telemetry"
	"thaw/guest/wire"
)

var testFunction = wire.Function{Name: "f", Version: "$LATEST", Handler: "index.handler", AccountID: "123456789012"}

// register registers and returns the identifier.
func (c *client) register(name, body string, headers ...string) (status int, text, id string) {
	c.t.Helper()
	resp, text := c.ext("POST", "/register", body, append(headers, "lambda-extension-name: "+name)...)
	return resp, text, c.lastID
}

// ext makes a call of the Extensions API.
func (c *client) ext(method, path, body string, headers ...string) (int, string) {
	c.t.Helper()
	c.extCall(method, path, body, headers...)
	resp, text := c.answer(method)
	c.lastID = resp.Header.Get("Lambda-Extension-Identifier")
	return resp.StatusCode, text
}

func (c *client) extCall(method, path, body string, headers ...string) {
	c.t.Helper()
	text := fmt.Sprintf("%s /2020-01-01/extension%s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n", method, path, len(body))
	for _, h := range headers {
		text += h + "\r\n"
	}
	c.send(text + "\r\n" + body)
}

func identifier(id string) string { return "lambda-extension-identifier: " + id }

// extension takes what the host is told of an extension.
func (s *server) extension() wire.Extension {
	s.t.Helper()
	x, _ := s.said(wire.KindExtension).head.(wire.Extension)
	return x
}

// TestRegister holds E-074 to E-084.
func TestRegister(t *testing.T) {
	t.Parallel()
	s := serve(t, Options{Function: testFunction})
	s.AddExternal("outer")
	c := s.dial()
	for _, x := range []struct{ name, what, body, wantType, wantText string }{
		{"", "no name", `{}`, errExtensionName, "Empty extension name"},
		{"outer", "no JSON", `not json`, errBadRequest, ""},
		{"outer", "deprecated keys", `{"configurationKeys":["a"]}`, errBadRequest, "deprecated"},
		{"outer", "unknown event", `{"events":["FOO"]}`, errExtensionEvent, "FOO: ErrorInvalidEventType"},
		{"inner", "unknown event of an internal one", `{"events":["FOO"]}`, errExtensionEvent, "FOO: ErrorInvalidEventType"},
		{"inner", "SHUTDOWN of an internal one", `{"events":["INVOKE","SHUTDOWN"]}`, errExtensionEvent, "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"},
	} {
		status, body, _ := c.register(x.name, x.body)
		expect(t, x.what, status, body, 403, x.wantType)
		if !strings.Contains(body, x.wantText) {
			t.Errorf("%s: %s, want %q", x.what, body, x.wantText)
		}
	}
	if s.registered.Load() {
		t.Error("the runtime may be started before the external extension registered")
	}
	status, body, id := c.register("outer", `{"events":["SHUTDOWN","INVOKE"]}`)
	if status != 200 || !isUUID(id) || body != `{"functionName":"f","functionVersion":"$LATEST","handler":"index.handler"}` {
		t.Fatalf("register: %d %s, id %q", status, body, id)
	}
	if x := s.extension(); x.Name != "outer" || x.State != "Registered" || x.Internal || fmt.Sprint(x.Events) != "[INVOKE SHUTDOWN]" {
		t.Errorf("the host was told %+v", x)
	}
	if !s.registered.Load() {
		t.Error("the runtime may not be started")
	}
	status, body, _ = c.register("outer", `{}`)
	expect(t, "a second time", status, body, 403, errExtensionState)
	if !strings.Contains(body, "State transition from Registered to Registered failed for extension outer. Error: State transition is not allowed") {
		t.Error(body)
	}
	status, body, _ = c.register("inner", `{"events":null}`, "lambda-extension-accept-feature: foo, accountId")
	if status != 200 || !strings.Contains(body, `"accountId":"123456789012"`) {
		t.Errorf("with the account: %d %s", status, body)
	}
	s.extension()
	status, body, _ = c.register("inner", `{}`)
	expect(t, "an internal one a second time", status, body, 403, errExtensionState)
	if !strings.Contains(body, "Extension with this name already registered") {
		t.Error(body)
	}
	for i := range MaxExtensions - 2 {
		if status, body, _ := c.register(fmt.Sprint("inner", i), `{}`); status != 200 {
			t.Fatalf("extension %d: %d %s", i+3, status, body)
		}
		s.extension()
	}
	status, body, _ = c.register("eleventh", `{}`)
	expect(t, "the eleventh", status, body, 403, errExtensionsTooMany)
	runtime := s.dial()
	runtime.call("GET", nextPath, "")
	s.awaitState(readiness.Ready)
	status, body, _ = c.register("late", `{}`)
	expect(t, "after init", status, body, 403, errExtensionClosed)
}

// TestNoExtensions holds E-095 as far as the API has a part in it.
func TestNoExtensions(t *testing.T) {
	t.Parallel()
	s := serve(t, Options{NoExtensions: true})
	if status, _, _ := s.dial().register("x", `{}`); status != 404 {
		t.Errorf("register: %d, want 404", status)
	}
}

// TestExtensionStates holds E-085 and E-090 to E-093.
func TestExtensionStates(t *testing.T) {
	t.Parallel()
	s := serve(t, Options{Function: testFunction})
	s.AddExternal("x")
	s.AddExternal("y")
	c := s.dial()
	_, _, id := c.register("x", `{"events":["INVOKE"]}`)
	_, _, other := c.register("y", `{}`)
	s.extension()
	s.extension()
	for what, header := range map[string][2]string{
		"missing": {"", errExtensionNoID}, "no UUID": {identifier("abc"), errExtensionBadID}, "unknown": {identifier(NewUUID()), errExtensionUnknownID},
	} {
		var headers []string
		if header[0] != "" {
			headers = []string{header[0]}
		}
		status, body := c.ext("GET", "/event/next", "", headers...)
		expect(t, what, status, body, 403, header[1])
		status, body = c.ext("POST", "/init/error", "{}", append(headers, "lambda-extension-function-error-type: Extension.Foo")...)
		expect(t, what+" of init/error", status, body, 403, header[1])
	}
	status, body := c.ext("POST", "/init/error", "{}", identifier(id))
	expect(t, "no error type", status, body, 403, errExtensionNoHeader)

	c.extCall("GET", "/event/next", "", identifier(id))
	if x := s.extension(); x.State != "Ready" {
		t.Errorf("the host was told %+v", x)
	}
	second := s.dial()
	status, body = second.ext("GET", "/event/next", "", identifier(id))
	expect(t, "a second poll", status, body, 403, errExtensionState)
	if !strings.Contains(body, "State transition from Ready to Ready failed for extension "+id) {
		t.Error(body)
	}
	status, body = second.ext("POST", "/init/error", "{}", identifier(id), "lambda-extension-function-error-type: Extension.Foo")
	expect(t, "init/error after event/next", status, body, 403, errExtensionState)
	status, body = second.ext("POST", "/exit/error", "{}", identifier(id), "lambda-extension-function-error-type: Extension.Foo")
	expect(t, "exit/error while parked", status, body, 202, "")
	if x := s.extension(); x.State != "ExitError" || x.ErrorType != "Extension.Foo" || s.condemned.Load() != "x" {
		t.Errorf("the host was told %+v, condemned %v", x, s.condemned.Load())
	}
	if got := s.ExtensionExited("x", true); got != ExtensionExitError {
		t.Errorf("its exit is %s", got)
	}

	status, body = second.ext("POST", "/init/error", "{}", identifier(other), "lambda-extension-function-error-type: Extension.Bar")
	expect(t, "init/error", status, body, 202, "")
	if x := s.extension(); x.State != "InitError" || x.ErrorType != "Extension.Bar" {
		t.Errorf("the host was told %+v", x)
	}
	status, body = second.ext("POST", "/init/error", "{}", identifier(other), "lambda-extension-function-error-type: Extension.Other")
	expect(t, "init/error again", status, body, 202, "")
	status, body = second.ext("GET", "/event/next", "", identifier(other))
	expect(t, "event/next after an error", status, body, 403, errExtensionState)
	s.quiet()
	if got := s.ExtensionExited("y", false); got != ExtensionInitError {
		t.Errorf("its exit is %s", got)
	}
}

// TestInvocationWithExtensions holds E-007, E-060, E-086 to E-089 and E-098 as far as the API has a part in them: who
// hears of an invocation, who is waited for, and when the host is told what.
func TestInvocationWithExtensions(t *testing.T) {
	t.Parallel()
	hub := telemetry.New(telemetry.Options{Dial: func(int) (telemetry.Conn, error) { return nil, errors.New("nobody listens") }})
	defer hub.Close()
	s := serve(t, Options{Function: testFunction, Telemetry: hub})
	s.AddExternal("both")
	s.AddExternal("none")
	both, none, runtime := s.dial(), s.dial(), s.dial()
	_, _, id := both.register("both", `{"events":["INVOKE","SHUTDOWN"]}`)
	_, _, quiet := none.register("none", `{}`)
	s.extension()
	s.extension()
	runtime.call("GET", nextPath, "")
	s.awaitState(readiness.Ready)
	both.extCall("GET", "/event/next", "", identifier(id))
	s.extension()
	s.quiet()
	none.extCall("GET", "/event/next", "", identifier(quiet))
	s.extension()
	s.said(wire.KindReady)

	event := func(c *client) (v map[string]any) {
		t.Helper()
		resp, text := c.answer("GET")
		if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || !isUUID(resp.Header.Get("Lambda-Extension-Event-Identifier")) {
			t.Fatalf("event/next: %d %v %s", resp.StatusCode, resp.Header, text)
		}
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	for i, trace := range []string{"Root=1-2-3", ""} {
		request := fmt.Sprint("r", i)
		s.Deliver(wire.Invoke{RequestID: request, DeadlineUnixMs: 1234567890123, FunctionARN: "arn:f:live", TraceID: trace}, []byte("event"))
		v := event(both)
		if v["eventType"] != "INVOKE" || v["deadlineMs"] != 1234567890123.0 || v["requestId"] != request || v["invokedFunctionArn"] != "arn:f:live" {
			t.Errorf("event %v", v)
		}
		if got, want := fmt.Sprint(v["tracing"]), map[bool]string{true: "map[type:X-Amzn-Trace-Id value:Root=1-2-3]", false: "<nil>"}[i == 0]; got != want {
			t.Errorf("tracing %s, want %s", got, want)
		}
		if resp, _ := runtime.answer("GET"); resp.Header.Get("Lambda-Runtime-Deadline-Ms") != "1234567890123" {
			t.Errorf("the runtime's deadline is %v", resp.Header)
		}
		status, body := runtime.do("POST", responsePath(request), "answer")
		expect(t, "response", status, body, 202, "")
		s.said(wire.KindResponse) // E-060: nobody waited for an extension
		runtime.call("GET", nextPath, "")
		if i == 0 { // somebody may hear of it now
			if d, _ := s.said(wire.KindRuntimeDone).head.(wire.RuntimeDone); d.RequestID != request {
				t.Errorf("runtime done with %+v", d)
			}
			hub.Pause() // from now on nobody can
		} else {
			s.awaitState(readiness.Ready)
		}
		s.quiet()
		both.extCall("GET", "/event/next", "", identifier(id))
		if r, _ := s.said(wire.KindReady).head.(wire.Ready); r.RequestID != request || r.RuntimeUs <= 0 {
			t.Errorf("ready after %+v", r)
		}
	}
	if others := s.Shutdown("SPINDOWN", 4711); fmt.Sprint(others) != "[none]" {
		t.Errorf("%v get no event, want none", others)
	}
	if v := event(both); v["eventType"] != "SHUTDOWN" || v["shutdownReason"] != "SPINDOWN" || v["deadlineMs"] != 4711.0 {
		t.Errorf("event %v", v)
	}
}

// TestLateShutdown: an extension that is at work when the shutdown begins hears of it with its next call.
func TestLateShutdown(t *testing.T) {
	t.Parallel()
	s := serve(t, Options{Function: testFunction})
	s.AddExternal("x")
	c := s.dial()
	_, _, id := c.register("x", `{"events":["SHUTDOWN"]}`)
	s.extension()
	s.Shutdown("FAILURE", 1)
	if status, body := c.ext("GET", "/event/next", "", identifier(id)); status != 200 || !strings.Contains(body, `"shutdownReason":"FAILURE"`) {
		t.Errorf("event/next: %d %s", status, body)
	}
}
