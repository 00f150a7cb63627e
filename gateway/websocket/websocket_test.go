package websocket

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	ws "github.com/gorilla/websocket"

	"thaw/gateway"
	"thaw/trigger"
)

// S-107: a function sees the beginning, the messages and the end of a connection.
func TestConnectionsAreToldToFunctions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c, resp := w.dial("/prod?room=a&room=b", http.Header{"X-Token": {"t"}})
	if c == nil {
		t.Fatal(resp)
	}
	c.send(`{"action":"none"}`)
	w.until("the message is seen", func() bool { return len(w.seen("MESSAGE")) == 1 })
	if err := c.WriteMessage(ws.BinaryMessage, []byte{0xff, 0}); err != nil {
		t.Fatal(err)
	}
	w.until("the binary message is seen", func() bool { return len(w.seen("MESSAGE")) == 2 })
	if err := c.WriteControl(ws.CloseMessage, ws.FormatCloseMessage(4000, "bye"), time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if code := c.closed(); code != 4000 {
		t.Errorf("the close is answered with %d", code)
	}
	w.until("the end is seen", func() bool { return len(w.seen("DISCONNECT")) == 1 })
	began, said, ended := w.seen("CONNECT")[0], w.seen("MESSAGE"), w.seen("DISCONNECT")[0]
	if q := fmt.Sprintln(began["queryStringParameters"], began["multiValueQueryStringParameters"], began["headers"].(map[string]any)["X-Token"]); q != "map[room:b] map[room:[a b]] t\n" {
		t.Errorf("CONNECT: %s", q)
	}
	if got := fmt.Sprintln(said[0]["body"], said[0]["isBase64Encoded"], said[1]["body"], said[1]["isBase64Encoded"]); got != `{"action":"none"} false /wA= true`+"\n" {
		t.Errorf("MESSAGE: %s", got)
	}
	rc := ended["requestContext"].(map[string]any)
	if rc["disconnectStatusCode"] != 4000.0 || rc["disconnectReason"] != "bye" || rc["connectionId"] != w.idOf() {
		t.Errorf("DISCONNECT: %v", rc)
	}
	w.until("it is forgotten", func() bool { return w.s.Connections() == 0 })
}

// What $connect answers accepts a handshake or refuses it, and what it says of the protocol goes to the client.
func TestHandshakes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	var next atomic.Value // of $connect
	w.answer = func(e map[string]any) (string, error) {
		answer := next.Load().(string)
		switch {
		case e["requestContext"].(map[string]any)["eventType"] != "CONNECT":
			return `{"statusCode":200}`, nil
		case answer == "throttled":
			return "", errors.New("throttled")
		}
		return answer, nil
	}
	for _, c := range []struct {
		name, answer, path string
		status             int
		body               string
	}{
		{"accepted", `{"statusCode":200}`, "/prod", 101, ""},
		{"accepted with another 2xx", `{"statusCode":"204"}`, "/prod/", 101, ""},
		{"refused with its status", `{"statusCode":401,"body":"who are you","headers":{"x-why":"none"}}`, "/prod", 401, "who are you"},
		{"redirected is refused", `{"statusCode":302}`, "/prod", 302, ""},
		{"no statusCode", `{}`, "/prod", 502, "Internal server error"},
		{"null", `null`, "/prod", 502, "Internal server error"},
		{"nonsense", `"ok"`, "/prod", 502, "Internal server error"},
		{"the function fails", `error:{"errorMessage":"boom"}`, "/prod", 502, "Internal server error"},
		{"it cannot run", `throttled`, "/prod", 502, "Internal server error"},
		{"no such stage", `{"statusCode":200}`, "/dev", 403, "Forbidden"},
		{"a path below the stage", `{"statusCode":200}`, "/prod/x", 403, "Forbidden"},
	} {
		next.Store(c.answer)
		conn, resp := w.dial(c.path, http.Header{"Sec-Websocket-Protocol": {"chat, other"}})
		if resp.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d", c.name, resp.StatusCode, c.status)
		}
		if conn != nil {
			conn.Close()
			continue
		}
		var b [512]byte
		n, _ := resp.Body.Read(b[:]) //nolint:errcheck // short
		if !strings.Contains(string(b[:n]), c.body) {
			t.Errorf("%s: %s", c.name, b[:n])
		}
	}
	next.Store(`{"statusCode":200,"headers":{"Sec-WebSocket-Protocol":"other","X-Extra":"1"}}`)
	conn, resp := w.dial("/prod", http.Header{"Sec-Websocket-Protocol": {"chat, other"}})
	if conn == nil || conn.Subprotocol() != "other" || resp.Header.Get("X-Extra") != "1" {
		t.Errorf("protocol %v", resp.Header)
	}
	w.until("connections that were refused are forgotten", func() bool { return w.s.Connections() == 1 })
	for _, e := range w.seen("DISCONNECT") {
		if e["requestContext"].(map[string]any)["connectionId"] == "" {
			t.Error("an end of a connection that was refused")
		}
	}
	resp, err := http.Get(w.http.URL + "/prod")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("a plain request: %d", resp.StatusCode)
	}
}

// Messages go where they name, answers come back where the route has a response, and what fails is said in AWS's words.
func TestMessages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.answer = func(e map[string]any) (string, error) {
		switch body, _ := e["body"].(string); {
		case strings.Contains(body, "boom"):
			return `error:{}`, nil
		case strings.Contains(body, "null"):
			return `null`, nil
		case strings.Contains(body, "bytes"):
			return `{"statusCode":200,"body":"/wA=","isBase64Encoded":true}`, nil
		}
		return `{"statusCode":200,"body":"heard"}`, nil
	}
	c := w.connect()
	for _, m := range []struct{ send, want string }{
		{`{"action":"ask"}`, "heard"},
		{`{"action":"ask","bytes":1}`, "\xff\x00"},
		{`{"action":"ask","boom":1}`, `{"message": "Internal server error", "connectionId":"ID", "requestId":"`},
		{`{"action":"ask","null":1}`, `{"message": "Internal server error", "connectionId":"ID", "requestId":"`},
		{`boom`, `{"message": "Internal server error", "connectionId":"ID", "requestId":"`},
	} {
		c.send(m.send)
		if got := strings.ReplaceAll(c.next(), w.idOf(), "ID"); !strings.HasPrefix(got, m.want) {
			t.Errorf("%s: %s", m.send, got)
		}
	}
	c.send(`{"action":"mock"}`) // nothing comes back, and no function runs
	c.send(`one way`)
	w.until("one way", func() bool {
		list := w.seen("MESSAGE")
		return list[len(list)-1]["body"] == "one way"
	})
	for _, e := range w.seen("MESSAGE") {
		key := e["requestContext"].(map[string]any)["routeKey"]
		if want := map[bool]string{true: "ask", false: "$default"}[strings.Contains(e["body"].(string), "ask")]; key != want {
			t.Errorf("%s goes to %s", e["body"], key)
		}
	}
	change(t, w, func(a *gateway.API) { delete(a.Deployments["d"].Definition.Routes, "$default") })
	c.send(`lost`)
	if got := c.next(); !strings.HasPrefix(got, `{"message": "Forbidden", "connectionId":"`) {
		t.Errorf("without a route: %s", got)
	}
}

// change replaces the API's record by an edited copy.
func change(t *testing.T, w *world, edit func(*gateway.API)) {
	t.Helper()
	err := w.records.APIs.Change(t.Context(), api, func(old *gateway.API) (*gateway.API, error) {
		b, err := json.Marshal(old)
		if err != nil {
			return nil, err
		}
		next := new(gateway.API)
		if err := json.Unmarshal(b, next); err != nil {
			return nil, err
		}
		edit(next)
		return next, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Frames and messages have bounds, text is UTF-8, and what is no WebSocket ends: each with its status.
func TestBadMessagesEndConnections(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, func(o *Options) { o.TextAlone = true })
	for _, c := range []struct {
		name string
		do   func(*client)
		want int
	}{
		{"a frame that is too long", func(c *client) { c.send(strings.Repeat("x", maxFrame+1)) }, 1009},
		{"a message that is too long, in short frames", func(c *client) {
			f, _ := c.NextWriter(ws.TextMessage)
			for range 140 {
				f.Write([]byte(strings.Repeat("x", 1000))) //nolint:errcheck // it may be refused before the end
			}
			f.Close()
		}, 1009},
		{"text that is no UTF-8", func(c *client) { c.send("\xff") }, 1007},
		{"binary, where it is not taken", func(c *client) { c.WriteMessage(ws.BinaryMessage, []byte{1}) }, 1003},
		{"a frame that is none", func(c *client) { c.NetConn().Write([]byte{0xf3, 0x81, 1, 2, 3, 4, 5}) }, 1002},
		{"a frame without a mask", func(c *client) { c.NetConn().Write([]byte{0x81, 0x01, 'x'}) }, 1002},
	} {
		before := len(w.seen("DISCONNECT"))
		conn := w.connect()
		c.do(conn)
		if got := conn.closed(); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
		w.until(c.name+": the end is told", func() bool { return len(w.seen("DISCONNECT")) == before+1 })
		if got := w.seen("DISCONNECT")[before]["requestContext"].(map[string]any)["disconnectStatusCode"]; got != float64(c.want) {
			t.Errorf("%s: the function is told %v", c.name, got)
		}
	}
	conn := w.connect()
	f, _ := conn.NextWriter(ws.TextMessage)
	f.Write([]byte(strings.Repeat("x", maxFrame))) //nolint:errcheck // seen below
	f.Close()
	w.until("a message of two frames arrives", func() bool { return len(w.seen("MESSAGE")) == 1 })
	if got := w.seen("MESSAGE")[0]["body"].(string); len(got) != maxFrame {
		t.Errorf("%d bytes", len(got))
	}
}

// The management API sends, describes and closes; what is gone is gone.
func TestManagementAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := w.connect()
	id := w.idOf()
	at := "/prod/@connections/" + url.PathEscape(id)
	w.until("it is open", func() bool { status, _, _ := w.call("GET", at, nil); return status == 200 })
	big := strings.Repeat("ä", maxMessage/2)
	for _, text := range []string{"hello", big, "", "\xff\x00"} {
		if status, body, _ := w.call("POST", at, []byte(text)); status != 200 || body != "" {
			t.Errorf("POST: %d %s", status, body)
		}
		if got := c.next(); got != text {
			t.Errorf("%d bytes of %d", len(got), len(text))
		}
	}
	if status, body, h := w.call("POST", at, []byte(big+"x")); status != 413 || h.Get("X-Amzn-Errortype") != "PayloadTooLargeException" {
		t.Errorf("too large: %d %s %v", status, body, h)
	}
	_, body, _ := w.call("GET", "/@connections/"+url.PathEscape(id), nil)
	var about struct {
		ConnectedAt, LastActiveAt time.Time
		Identity                  struct{ SourceIP, UserAgent string }
	}
	if err := json.Unmarshal([]byte(body), &about); err != nil || about.Identity.SourceIP != "127.0.0.1" || about.ConnectedAt.IsZero() || about.LastActiveAt.IsZero() {
		t.Errorf("GET: %v %s", err, body)
	}
	if status, _, h := w.call("GET", "/other/@connections/"+id, nil); status != 403 {
		t.Errorf("another stage: %d %v", status, h)
	}
	w.call("POST", at, []byte("last"))
	if status, _, _ := w.call("DELETE", at, nil); status != 204 {
		t.Errorf("DELETE: %d", status)
	}
	if got := c.next(); got != "last" { // what was sent before the close comes before it
		t.Errorf("before the close: %s", got)
	}
	if code := c.closed(); code != 1000 {
		t.Errorf("closed with %d", code)
	}
	w.until("the end is told", func() bool { return len(w.seen("DISCONNECT")) == 1 })
	for _, method := range []string{"POST", "GET", "DELETE"} {
		if status, _, h := w.call(method, at, nil); status != 410 || h.Get("X-Amzn-Errortype") != "GoneException" {
			t.Errorf("%s of what is gone: %d %v", method, status, h)
		}
	}
}

// A client that does not read is sent no more than a bound, and then ended; what came through is in its order.
func TestSlowReceivers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil, func(o *Options) { o.Stall = 300 * time.Millisecond })
	c := w.connect()
	at := "/prod/@connections/" + url.PathEscape(w.idOf())
	w.until("it is open", func() bool { status, _, _ := w.call("GET", at, nil); return status == 200 })
	sent, refused := 0, false
	for range 10_000 {
		status, _, h := w.call("POST", at, fmt.Appendf(nil, "%06d%s", sent, strings.Repeat("x", 64<<10)))
		if status == 200 {
			sent++
			continue
		}
		if refused = status == 429 && h.Get("X-Amzn-Errortype") == "LimitExceededException" || status == 410; refused {
			break
		}
		t.Fatalf("%d %v", status, h)
	}
	if !refused {
		t.Fatalf("%d messages, and all were taken", sent)
	}
	w.until("the stalled connection is ended", func() bool { status, _, _ := w.call("GET", at, nil); return status == 410 })
	w.until("the end is told", func() bool { return len(w.seen("DISCONNECT")) == 1 })
	for i := 0; ; i++ {
		_, b, err := c.ReadMessage()
		if err != nil {
			break
		}
		if got := string(b[:6]); got != fmt.Sprintf("%06d", i) {
			t.Fatalf("message %d is %s", i, got)
		}
	}
}

// Connections end with their stage, their API, the server: 1001, and $disconnect is told once.
func TestConnectionsEndWithWhatTheyAreOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	ended := func(c *client) {
		t.Helper()
		before := len(w.seen("DISCONNECT"))
		if code := c.closed(); code != 1001 {
			t.Errorf("closed with %d", code)
		}
		w.until("the end is told", func() bool { return len(w.seen("DISCONNECT")) > before })
	}
	c := w.connect()
	change(t, w, func(a *gateway.API) { a.Stages = map[string]*gateway.Stage{"next": {Name: "next", Deployment: "d"}} })
	ended(c)
	c, _ = w.dial("/next", nil)
	if err := w.records.APIs.Delete(t.Context(), api); err != nil {
		t.Fatal(err)
	}
	ended(c)
	again := newWorld(t, nil)
	w = again
	c = w.connect()
	lost := w.connect()
	lost.NetConn().Close()
	w.until("a client that vanishes is noticed", func() bool { return len(w.seen("DISCONNECT")) == 1 })
	if got := w.seen("DISCONNECT")[0]["requestContext"].(map[string]any)["disconnectStatusCode"]; got != 1006.0 {
		t.Errorf("told %v", got)
	}
	done := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		done <- w.s.Close(ctx)
	}()
	ended(c)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := len(w.seen("DISCONNECT")); n != 2 {
		t.Errorf("%d ends are told", n)
	}
	if _, resp := w.dial("/prod", nil); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a handshake with a server that stops: %d", resp.StatusCode)
	}
}

// A client that goes away while $connect runs was taken in by the function, which is told of its end.
func TestClientsThatGoBeforeTheyAreAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	seen, goOn := make(chan struct{}), make(chan struct{})
	w.answer = func(e map[string]any) (string, error) {
		if e["requestContext"].(map[string]any)["eventType"] == "CONNECT" {
			close(seen)
			<-goOn
		}
		return `{"statusCode":200}`, nil
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.http.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "GET /prod HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-seen
	conn.Close()
	time.Sleep(20 * time.Millisecond) // the server may notice it; nothing depends on it
	close(goOn)
	w.until("the end is told", func() bool { return len(w.seen("DISCONNECT")) == 1 })
	if got := w.seen("DISCONNECT")[0]["requestContext"].(map[string]any)["disconnectStatusCode"]; got != 1006.0 {
		t.Errorf("told %v", got)
	}
	w.until("it is forgotten", func() bool { return w.s.Connections() == 0 })
}

// The words of AWS.
func TestSocketError(t *testing.T) {
	if got := string(trigger.SocketError("Forbidden", "C=", "R=")); got != `{"message": "Forbidden", "connectionId":"C=", "requestId":"R="}` {
		t.Error(got)
	}
}
