package websocket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	ws "github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"thaw/access"
	"thaw/function"
	"thaw/gateway"
	"thaw/invoke"
	"thaw/push"
	"thaw/push/pushtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	api = "a1b2c3d4e5"
	fn  = "arn:aws:lambda:eu-west-1:123456789012:function:chat"
)

// world is a Server with one API, and a function that a test writes in Go.
type world struct {
	t       testing.TB
	s       *Server
	records *gateway.Records
	http    *httptest.Server

	mu     sync.Mutex
	events []map[string]any // that the function has seen
	answer func(event map[string]any) (string, error)
}

func (w *world) Find(function.Key, function.Qualifier, function.ARN, float64) (*function.Entry, *function.VersionRecord, error) {
	return nil, nil, nil
}

// Invoke implements push.Invoker.
func (w *world) Invoke(_ context.Context, r *invoke.Request) (*invoke.Result, error) {
	var event map[string]any
	if err := json.Unmarshal(r.Invocation.Event, &event); err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.events = append(w.events, event)
	answer := w.answer
	w.mu.Unlock()
	got, err := answer(event)
	if err != nil {
		return nil, err
	}
	out := &invoke.Result{Outcome: &function.Outcome{}}
	if rest, failed := strings.CutPrefix(got, "error:"); failed {
		out.FunctionError, got = "Unhandled", rest
	}
	out.Payload = []byte(got)
	return out, nil
}

func (w *world) seen(kind string) (list []map[string]any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if rc, ok := e["requestContext"].(map[string]any); ok && rc["eventType"] == kind {
			list = append(list, e)
		}
	}
	return list
}

// until waits for a condition.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// newRecords has an API with the usual routes, all of one function.
func newRecords(t testing.TB, edit func(*gateway.API)) *gateway.Records {
	t.Helper()
	records, err := gateway.OpenRecords(t.Context(), &pushtest.Documents{}, &pushtest.Documents{})
	if err != nil {
		t.Fatal(err)
	}
	d := gateway.Definition{RouteSelection: "$request.body.action", Routes: map[string]*gateway.Route{}, Integrations: map[string]*gateway.Integration{
		"i": {ID: "i", Type: "AWS_PROXY", URI: "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/" + fn + "/invocations"},
		"m": {ID: "m", Type: "MOCK"}}}
	for _, key := range []string{"$connect", "$disconnect", "$default", "ask", "mock"} {
		d.Routes[key] = &gateway.Route{ID: key, Key: key, Integration: "integrations/i"}
	}
	d.Routes["mock"].Integration = "integrations/m"
	d.Routes["ask"].ResponseSelection, d.Routes["ask"].Responses = "$default", map[string]*gateway.Response{"$default": {ID: "r"}}
	a := &gateway.API{ID: api, Kind: gateway.WebSocket, Account: "123456789012", Region: "eu-west-1",
		Deployments: map[string]*gateway.Deployment{"d": {ID: "d", Definition: d}}, Stages: map[string]*gateway.Stage{"prod": {Name: "prod", Deployment: "d"}}}
	if edit != nil {
		edit(a)
	}
	if err := records.APIs.Put(t.Context(), a.ID, a); err != nil {
		t.Fatal(err)
	}
	return records
}

// newTimedWorld has no listener, for tests whose time is their own. The test closes it.
func newTimedWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, records: newRecords(t, nil)}
	w.answer = func(map[string]any) (string, error) { return `{"statusCode":200}`, nil }
	o := Options{Records: w.records, Functions: &push.Functions{Invoker: w, Enforced: func() bool { return false }}, Log: slog.New(slog.DiscardHandler)}
	o.APIs = gateway.New(gateway.Options{Records: w.records, Functions: o.Functions, Log: o.Log})
	w.s = Open(o)
	o.APIs.Sockets = w.s.ServePlace
	return w
}

func newWorld(t testing.TB, edit func(*gateway.API), options ...func(*Options)) *world {
	t.Helper()
	w := &world{t: t, records: newRecords(t, edit)}
	w.answer = func(map[string]any) (string, error) { return `{"statusCode":200}`, nil }
	o := Options{Records: w.records, Functions: &push.Functions{Invoker: w, Enforced: func() bool { return false }}, Log: slog.New(slog.DiscardHandler), Sweep: 5 * time.Millisecond,
		Grace: 2 * time.Second, Sender: func(r *http.Request, _ string, _ []byte) (*access.Caller, string, error) {
			if r.Header.Get("Authorization") == "bad" {
				return nil, "", errors.New("no such key")
			}
			root := access.RootOf("123456789012")
			return &root, "", nil
		}}
	for _, change := range options {
		change(&o)
	}
	apis := gateway.New(gateway.Options{Records: w.records, Functions: o.Functions, Sender: o.Sender, Log: o.Log})
	o.APIs = apis
	w.s = Open(o)
	apis.Sockets = w.s.ServePlace
	w.http = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.s.Serves(r) {
			w.s.ServeHTTP(rw, r)
			return
		}
		r.URL.Path, r.URL.RawPath = "/execute-api/"+api+r.URL.Path, "/execute-api/"+api+r.URL.EscapedPath()
		apis.ServeHTTP(rw, r)
	}))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := w.s.Close(ctx); err != nil {
			t.Error(err)
		}
		w.http.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return w
}

func (w *world) url(scheme, path string) string {
	return scheme + strings.TrimPrefix(w.http.URL, "http") + path
}

// dial opens a connection, or gives the answer that refuses it.
func (w *world) dial(path string, header http.Header) (*client, *http.Response) {
	w.t.Helper()
	dialer := &ws.Dialer{WriteBufferSize: 256 << 10} // a message is one frame
	conn, resp, err := dialer.Dial(w.url("ws", path), header)
	if errors.Is(err, ws.ErrBadHandshake) {
		return nil, resp
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	conn.SetReadDeadline(time.Now().Add(time.Minute)) //nolint:errcheck // never fails
	return &client{w.t, conn}, resp
}

func (w *world) connect() *client {
	w.t.Helper()
	c, resp := w.dial("/prod", nil)
	if c == nil {
		w.t.Fatalf("refused: %d", resp.StatusCode)
	}
	return c
}

// client is a client of a connection.
type client struct {
	t testing.TB
	*ws.Conn
}

func (c *client) send(text string) {
	c.t.Helper()
	if err := c.WriteMessage(ws.TextMessage, []byte(text)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) next() string {
	c.t.Helper()
	_, b, err := c.ReadMessage()
	if err != nil {
		c.t.Fatal(err)
	}
	return string(b)
}

// closed waits for the end, and says with which status.
func (c *client) closed() int {
	c.t.Helper()
	for {
		_, _, err := c.ReadMessage()
		var closed *ws.CloseError
		if errors.As(err, &closed) {
			return closed.Code
		}
		if err != nil {
			c.t.Fatal(err)
		}
	}
}

// idOf is the connection ID that the function was told last.
func (w *world) idOf() string {
	list := w.seen("CONNECT")
	return list[len(list)-1]["requestContext"].(map[string]any)["connectionId"].(string)
}

// call calls the management API.
func (w *world) call(method, path string, body []byte) (int, string, http.Header) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.http.URL+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		w.t.Fatal(err)
	}
	return resp.StatusCode, b.String(), resp.Header
}
