package runtimeapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thaw/guest/readiness"
	"thaw/guest/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests.
const patience = 30 * time.Second

// message is what the API sent to the host.
type message struct {
	kind wire.Kind
	head any
	body string
}

// server is an API on a listener, and the host behind it.
type server struct {
	*API
	t        testing.TB
	addr     string
	messages chan message
	err      error // that Send answers
	mu       sync.Mutex
	queued   []message
	flushes  int // that sent something

	registered atomic.Bool  // the runtime may be started
	condemned  atomic.Value // name of the extension that reported an error
}

func (s *server) Send(kind wire.Kind, head any, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	s.flushLocked()
	s.messages <- message{kind, head, string(body)}
	return nil
}

// Queue keeps a message back, as the guest does.
func (s *server) Queue(kind wire.Kind, head any, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queued = append(s.queued, message{kind, head, string(body)})
	return s.err
}

func (s *server) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queued) > 0 {
		s.flushes++
	}
	s.flushLocked()
	return s.err
}

func (s *server) flushLocked() {
	for _, m := range s.queued {
		s.messages <- m
	}
	s.queued = nil
}

func (s *server) SendReady(r wire.Ready) error { return s.Send(wire.KindReady, r, nil) }

func (s *server) SendRuntimeDone(r wire.RuntimeDone) error {
	return s.Send(wire.KindRuntimeDone, r, nil)
}

func (s *server) AllRegistered() { s.registered.Store(true) }

func (s *server) Condemned(name string) { s.condemned.Store(name) }

func serve(t testing.TB, o Options) *server {
	t.Helper()
	s := &server{t: t, messages: make(chan message, 1000)}
	o.Host, o.Generation = s, 7
	s.API = New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.Serve(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.Close()
		all.Wait()
	})
	return s
}

// said waits for the next message to the host.
func (s *server) said(kind wire.Kind) message {
	s.t.Helper()
	select {
	case m := <-s.messages:
		if m.kind != kind {
			s.t.Fatalf("the host was told %d %+v %.100q, want kind %d", m.kind, m.head, m.body, kind)
		}
		return m
	case <-time.After(patience):
		s.t.Fatalf("the host was not told kind %d", kind)
	}
	panic("unreachable")
}

// quiet holds that the host was told nothing more.
func (s *server) quiet() {
	s.t.Helper()
	select {
	case m := <-s.messages:
		s.t.Errorf("the host was told %d %+v %.100q", m.kind, m.head, m.body)
	default:
	}
}

func (s *server) deliver(id string, event string) {
	s.Deliver(wire.Invoke{RequestID: id, InvocationID: "nonce-" + id, DeadlineUnixMs: 1234567890123, FunctionARN: "arn:f:live"}, []byte(event))
}

// client is one connection that says exactly what it is told to.
type client struct {
	t testing.TB
	net.Conn
	r *bufio.Reader

	lastID string // of an extension, in the last answer
}

func (s *server) dial() *client {
	s.t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &client{t: s.t, Conn: c, r: bufio.NewReader(c)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatal(err)
	}
}

// answer reads one answer to a request of that method.
func (c *client) answer(method string) (*http.Response, string) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.r, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("read the answer: %v", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatalf("read the answer's body: %v", err)
	}
	return resp, string(body)
}

// do makes a call with the given header lines and a body of known length, and returns status and body.
func (c *client) do(method, path, body string, headers ...string) (int, string) {
	c.t.Helper()
	c.call(method, path, body, headers...)
	resp, text := c.answer(method)
	return resp.StatusCode, text
}

// doAt is do with a path of any version.
func (c *client) doAt(method, path, body string) (int, string) {
	c.t.Helper()
	c.send(fmt.Sprintf("%s %s HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s", method, path, len(body), body))
	resp, text := c.answer(method)
	return resp.StatusCode, text
}

func (c *client) call(method, path, body string, headers ...string) {
	c.t.Helper()
	text := method + " /2018-06-01" + path + " HTTP/1.1\r\nhost: x\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	if body != "" || method == "POST" {
		text += fmt.Sprintf("content-length: %d\r\n", len(body))
	}
	c.send(text + "\r\n" + body)
}

const (
	nextPath = "/runtime/invocation/next"
	okBody   = "{\"status\":\"OK\"}\n"
)

func responsePath(id string) string { return "/runtime/invocation/" + id + "/response" }
func errorPath(id string) string    { return "/runtime/invocation/" + id + "/error" }

// park makes the connection's next call and waits until the host knows it.
func (s *server) park(c *client, headers ...string) wire.Ready {
	s.t.Helper()
	c.call("GET", nextPath, "", headers...)
	r, _ := s.said(wire.KindReady).head.(wire.Ready)
	return r
}

// running brings the runtime to the state Running on that connection.
func (s *server) running(c *client, id string) {
	s.t.Helper()
	s.park(c)
	s.deliver(id, "event")
	if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != "event" {
		s.t.Fatalf("next: %d %q", resp.StatusCode, body)
	}
}

func (s *server) awaitState(want readiness.State) {
	s.t.Helper()
	for deadline := time.Now().Add(patience); s.State() != want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("state is %v, want %v", s.State(), want)
		}
	}
}

// expect compares an answer with a status and an error type; "" is none.
func expect(t testing.TB, what string, status int, body string, wantStatus int, wantType string) {
	t.Helper()
	if wantType == "" {
		if status != wantStatus || wantStatus == 202 && body != okBody {
			t.Errorf("%s: %d %q, want %d", what, status, body, wantStatus)
		}
		return
	}
	if status != wantStatus || !strings.Contains(body, `"errorType":"`+wantType+`"`) || !strings.Contains(body, `"errorMessage":"`) {
		t.Errorf("%s: %d %q, want %d with errorType %s", what, status, body, wantStatus, wantType)
	}
}

func (s *server) failSends() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = os.ErrClosed
}
