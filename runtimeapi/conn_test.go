package runtimeapi

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"thaw/guest/wire"
)

// TestTransport is what clients do with HTTP: E-046 to E-048.
func TestTransport(t *testing.T) {
	t.Run("100-continue", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		s.running(c, "1")
		c.send("POST /2018-06-01" + responsePath("1") + " HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
		if resp, _ := c.answer("POST"); resp.StatusCode != 100 {
			t.Fatalf("got %d, want 100", resp.StatusCode)
		}
		c.send("body")
		resp, body := c.answer("POST")
		expect(t, "response", resp.StatusCode, body, 202, "")
	})
	t.Run("requests sent ahead are answered in order", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		c.send("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\n\r\nPOST /2018-06-01/runtime/invocation/1/response HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /2018-06-01/ping HTTP/1.1\r\n\r\n")
		s.said(wire.KindReady)
		s.deliver("1", "event")
		if _, body := c.answer("GET"); body != "event" {
			t.Errorf("first: %q", body)
		}
		if _, body := c.answer("POST"); body != okBody {
			t.Errorf("second: %q", body)
		}
		if _, body := c.answer("GET"); body != "pong" {
			t.Errorf("third: %q", body)
		}
	})
	t.Run("a response goes to the host with Ready when next has come along, and never waits longer", func(t *testing.T) {
		for what, next := range map[string]struct {
			text    string
			ready   bool
			flushes int
		}{
			"with next":             {"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: x\r\n\r\n", true, 0},
			"with the half of next": {"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: x\r\n", false, 0},
			"with a bad next":       {"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nho st: x\r\n\r\n", false, 1},
			"with nothing":          {"", false, 0},
		} {
			s := serve(t, Options{})
			c := s.dial()
			s.running(c, "1")
			c.send("POST /2018-06-01" + responsePath("1") + " HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\nThaw-Answer: later\r\n\r\nr" + next.text)
			if m := s.said(wire.KindResponse); m.body != "r" {
				t.Errorf("%s: response %q", what, m.body)
			}
			if next.ready {
				s.said(wire.KindReady)
			}
			s.mu.Lock()
			if s.flushes != next.flushes {
				t.Errorf("%s: %d flushes", what, s.flushes)
			}
			s.mu.Unlock()
		}
	})
	t.Run("an answer that may come later goes out in one write with the next", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		s.running(c, "1")
		c.call("POST", responsePath("1"), "r", "Thaw-Answer: later")
		s.said(wire.KindResponse)
		s.park(c)
		s.deliver("2", "another")
		if _, body := c.answer("POST"); body != okBody || c.r.Buffered() == 0 {
			t.Errorf("%q, and %d bytes came with it", body, c.r.Buffered())
		}
		if _, body := c.answer("GET"); body != "another" {
			t.Errorf("next: %q", body)
		}
		// What is no consent is said at once, and what was held goes before it.
		status, body := c.do("POST", responsePath("1"), "r", "Thaw-Answer: later")
		expect(t, "wrong id", status, body, 400, "InvalidRequestID")
		c.call("POST", responsePath("2"), "r", "Thaw-Answer: later")
		status, body = c.do("GET", "/ping", "")
		expect(t, "response", status, body, 202, "")
		if _, body := c.answer("GET"); body != "pong" {
			t.Errorf("ping: %q", body)
		}
	})
	t.Run("an answer that may come later comes when the client closes its sending half", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		s.running(c, "1")
		c.call("POST", responsePath("1"), "r", "Thaw-Answer: later")
		c.Conn.(*net.TCPConn).CloseWrite()
		resp, body := c.answer("POST")
		expect(t, "response", resp.StatusCode, body, 202, "")
	})
	t.Run("headers of a megabyte", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		s.running(c, "1")
		cause := `{"message":"` + strings.Repeat("m", 1<<20-100) + `"}`
		status, body := c.do("POST", errorPath("1"), "{}", "Lambda-Runtime-Function-Xray-Error-Cause: "+cause)
		expect(t, "error", status, body, 202, "")
		status, body = c.do("GET", "/ping", "", "X: "+strings.Repeat("m", 2<<20))
		expect(t, "too much", status, body, 431, "InvalidRequestFormat")
	})
	t.Run("lines that end in LF, absolute targets, empty lines before, HTTP/1.0", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		c.send("\r\n\nGET http://127.0.0.1:9001/2018-06-01/ping?x=1 HTTP/1.1\nHost: x\n\n")
		if _, body := c.answer("GET"); body != "pong" {
			t.Errorf("%q", body)
		}
		c.send("GET /2018-06-01/ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /2018-06-01/ping HTTP/1.0\r\n\r\n")
		c.answer("GET")
		if _, body := c.answer("GET"); body != "pong" {
			t.Errorf("%q", body)
		}
		if _, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("after HTTP/1.0 the connection goes on: %v", err)
		}
	})
	t.Run("connection: close on a parked call", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		s.park(c, "Connection: close")
		s.deliver("1", "event")
		if _, body := c.answer("GET"); body != "event" {
			t.Errorf("%q", body)
		}
		if _, err := c.r.ReadByte(); err != io.EOF {
			t.Errorf("the connection goes on: %v", err)
		}
	})
	for name, text := range map[string]string{
		"no HTTP":                   "hello\r\n\r\n",
		"HTTP/2":                    "PRI * HTTP/2.0\r\n\r\n",
		"a folded header":           "GET /2018-06-01/ping HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
		"a header without name":     "GET /2018-06-01/ping HTTP/1.1\r\n: b\r\n\r\n",
		"a blank before the colon":  "GET /2018-06-01/ping HTTP/1.1\r\nA : b\r\n\r\n",
		"two lengths":               "POST /2018-06-01/ping HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"a negative length":         "POST /2018-06-01/ping HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
		"length and chunks":         "POST /2018-06-01/ping HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a chunk size of no digits": "POST /2018-06-01/ping HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n\r\n",
		"a chunk longer than said":  "POST /2018-06-01/ping HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
		"a NUL in a header":         "GET /2018-06-01/ping HTTP/1.1\r\nA: \x00\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, Options{})
			c := s.dial()
			c.send(text)
			resp, body := c.answer("POST")
			expect(t, name, resp.StatusCode, body, 400, "InvalidRequestFormat")
			if _, err := c.r.ReadByte(); err != io.EOF {
				t.Errorf("the connection goes on: %v", err)
			}
		})
	}
	t.Run("a coding that nobody uses", func(t *testing.T) {
		c := serve(t, Options{}).dial()
		status, body := c.do("GET", "/ping", "", "Transfer-Encoding: gzip")
		expect(t, "gzip", status, body, 501, "InvalidRequestFormat")
	})
}

// TestPollers is about next calls whose clients come and go.
func TestPollers(t *testing.T) {
	t.Run("an event that arrives while nobody is parked waits", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		s.park(c)
		c.Close()
		s.awaitConns(0)
		s.deliver("1", "event")
		if status, body := s.dial().do("GET", nextPath, ""); status != 200 || body != "event" {
			t.Errorf("%d %q", status, body)
		}
		s.quiet()
	})
	t.Run("a client that gave up is passed over", func(t *testing.T) {
		s := serve(t, Options{})
		old, young := s.dial(), s.dial()
		s.park(old)
		young.call("GET", nextPath, "")
		s.awaitParked(2)
		s.deliver("1", "event")
		if _, body := young.answer("GET"); body != "event" {
			t.Errorf("%q", body)
		}
		s.quiet()
	})
	t.Run("a client that closed its sending half is answered", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		s.park(c)
		c.Conn.(*net.TCPConn).CloseWrite()
		s.awaitHalf()
		s.deliver("1", "event")
		if _, body := c.answer("GET"); body != "event" {
			t.Errorf("%q", body)
		}
	})
	t.Run("an event that its client does not read holds nobody up", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		s.park(c)
		event := strings.Repeat("e", wire.MaxPayload)
		s.deliver("1", event) // returns though nothing is read
		if _, body := c.answer("GET"); body != event {
			t.Errorf("got %d bytes", len(body))
		}
		status, body := c.do("POST", responsePath("1"), "x")
		expect(t, "response", status, body, 202, "")
	})
	t.Run("an event given before the first call", func(t *testing.T) {
		s := serve(t, Options{})
		s.deliver("1", "early")
		if status, body := s.dial().do("GET", nextPath, ""); status != 200 || body != "early" {
			t.Errorf("%d %q", status, body)
		}
		s.said(wire.KindReady)
	})
	t.Run("close answers nobody", func(t *testing.T) { // E-102
		s := serve(t, Options{})
		c := s.dial()
		s.park(c)
		s.Close()
		if b, err := io.ReadAll(c.r); len(b) > 0 {
			t.Errorf("a parked call was answered at the end: %q, %v", b, err)
		}
		s.deliver("1", "late")
		s.quiet()
	})
	t.Run("idle when the clients are gone", func(t *testing.T) {
		s := serve(t, Options{})
		c := s.dial()
		s.running(c, "1")
		stop := make(chan struct{})
		close(stop)
		if s.Idle(stop) {
			t.Error("idle with a connection open")
		}
		c.call("POST", responsePath("1"), "last words")
		c.Close()
		never := make(chan struct{})
		timer := time.AfterFunc(patience, func() { close(never) })
		defer timer.Stop()
		if !s.Idle(never) {
			t.Error("not idle though all connections are gone")
		}
		if m := s.said(wire.KindResponse); m.body != "last words" {
			t.Errorf("what was sent before the end: %q", m.body)
		}
	})
}

func (s *server) await(what string, cond func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		s.API.mu.Lock()
		ok := cond()
		s.API.mu.Unlock()
		if ok {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("it does not come about that %s", what)
		}
	}
}

// awaitConns waits until n connections are open in both directions.
func (s *server) awaitConns(n int) {
	s.t.Helper()
	s.await("the connections are gone", func() bool {
		open := 0
		for c := range s.conns {
			if !c.half {
				open++
			}
		}
		return open == n
	})
}

func (s *server) awaitParked(n int) {
	s.t.Helper()
	s.await("the calls are parked", func() bool { return len(s.parked) == n })
}

func (s *server) awaitHalf() {
	s.t.Helper()
	s.await("the half close is noticed", func() bool {
		for c := range s.conns {
			if c.half {
				return true
			}
		}
		return false
	})
}
