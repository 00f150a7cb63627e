package gateway

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thaw/access"
	"thaw/async"
	"thaw/function"
	"thaw/invoke"
	"thaw/push"
	"thaw/push/pushtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	account = "123456789012"
	region  = "eu-west-1"
	apiHost = "a1b2c3.execute-api.eu-west-1.localhost"
)

func arnOf(name string) string { return "arn:aws:lambda:eu-west-1:" + account + ":function:" + name }

// code is a function: an error is one of the pool, "error:" at the start of an answer one of the function.
type code func(ctx context.Context, event []byte, sink function.StreamSink) (string, error)

// answers is a function that always answers the same.
func answering(payload string) code {
	return func(context.Context, []byte, function.StreamSink) (string, error) { return payload, nil }
}

// world is a server with functions that are Go's.
type world struct {
	*testing.T
	*Server
	url  string
	log  *lockedBuffer
	mu   sync.Mutex
	runs map[string]code
	asks map[string][]string // events, by function
	done sync.WaitGroup
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Append implements Lines.
func (b *lockedBuffer) Append(_ time.Time, message string) {
	b.Write([]byte(message)) //nolint:errcheck // in memory
}

// Find implements push.Invoker.
func (w *world) Find(k function.Key, _ function.Qualifier, arn function.ARN, _ float64) (*function.Entry, *function.VersionRecord, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.runs[k.Name] == nil {
		return nil, nil, &invoke.NotFoundError{ARN: arn}
	}
	return &function.Entry{Record: &function.Record{Key: k, Partition: "aws"}}, nil, nil
}

// Invoke implements push.Invoker.
func (w *world) Invoke(ctx context.Context, r *invoke.Request) (*invoke.Result, error) {
	w.mu.Lock()
	run := w.runs[r.Function.Name]
	w.asks[r.Function.Name] = append(w.asks[r.Function.Name], string(r.Event))
	w.mu.Unlock()
	w.done.Add(1)
	defer w.done.Done()
	payload, err := run(ctx, r.Event, r.Stream)
	if err != nil {
		return nil, err
	}
	o := &function.Outcome{Payload: []byte(payload), Streamed: r.Stream != nil && payload == ""}
	if text, ok := strings.CutPrefix(payload, "error:"); ok {
		o.Payload, o.FunctionError = []byte(text), "Unhandled"
	}
	return &invoke.Result{Outcome: o}, nil
}

// Accept implements push.Queue.
func (w *world) Accept(_ context.Context, e *async.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asks["queue"] = append(w.asks["queue"], string(e.Payload))
	return nil
}

func (w *world) asked(name string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.asks[name]...)
}

func (w *world) function(name string, c code) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.runs[name] = c
}

// senderOf takes one signature for that of *who.
func senderOf(who **access.Caller) func(*http.Request, string, []byte) (*access.Caller, string, error) {
	return func(r *http.Request, _ string, _ []byte) (*access.Caller, string, error) {
		if r.Header.Get("Authorization") != "AWS4 good" {
			return nil, "", errors.New("InvalidSignatureException: no")
		}
		return *who, "AKIA", nil
	}
}

// echoProxy answers with its event, in format 1.0.
func echoProxy(_ context.Context, event []byte, _ function.StreamSink) (string, error) {
	b, err := json.Marshal(map[string]any{"body": string(event)})
	return string(b), err
}

func newWorld(t *testing.T, edit ...func(*Options)) *world {
	t.Helper()
	records, err := OpenRecords(t.Context(), &pushtest.Documents{}, &pushtest.Documents{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, log: &lockedBuffer{}, runs: map[string]code{}, asks: map[string][]string{}}
	o := Options{Records: records, Log: slog.New(slog.NewTextHandler(w.log, nil)), Local: true,
		Functions: &push.Functions{Invoker: w, Queue: w, Enforced: func() bool { return false }},
	}
	for _, e := range edit {
		e(&o)
	}
	w.Server = New(o)
	server := httptest.NewServer(w.Server)
	w.url = server.URL
	t.Cleanup(func() {
		server.Close()
		w.Close() //nolint:errcheck // never fails
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	})
	w.function("f", answering(`{"statusCode":200,"body":"ok"}`))
	return w
}

// api makes an API of one stage. Its integrations are by route key: what is not there is function f.
func (w *world) api(kind Kind, stage string, edit func(*API, *Definition), keys ...string) *API {
	w.Helper()
	d := Definition{Routes: map[string]*Route{}, Integrations: map[string]*Integration{}, Authorizers: map[string]*Authorizer{}}
	for _, key := range keys {
		d.Routes[key] = &Route{ID: key, Key: key, Integration: key, Resource: "r"}
		d.Integrations[key] = &Integration{ID: key, Type: "AWS_PROXY", URI: arnOf("f"), PayloadVersion: "2.0"}
	}
	a := &API{ID: "a1b2c3", Kind: kind, Account: account, Region: region, Stages: map[string]*Stage{stage: {Name: stage, Deployment: "d"}}}
	if edit != nil {
		edit(a, &d)
	}
	a.Deployments = map[string]*Deployment{"d": {ID: "d", Definition: d}}
	w.put(a)
	return a
}

func (w *world) put(a *API) {
	w.Helper()
	if err := w.Records.APIs.Put(w.Context(), a.ID, a); err != nil {
		w.Fatal(err)
	}
}

// reply is an answer.
type reply struct {
	status int
	header http.Header
	body   string
}

// ask sends a request: "POST /a?b=c", with headers as name: value, and the body after an empty string.
func (w *world) ask(line string, more ...string) reply {
	w.Helper()
	method, path, _ := strings.Cut(line, " ")
	var body io.Reader
	host := apiHost
	header := http.Header{}
	for i, m := range more {
		if m == "" {
			body = strings.NewReader(more[i+1])
			break
		}
		name, value, _ := strings.Cut(m, ": ")
		if name == "Host" {
			host = value
			continue
		}
		header.Add(name, value)
	}
	r, err := http.NewRequestWithContext(w.Context(), method, w.url+path, body)
	if err != nil {
		w.Fatal(err)
	}
	r.Host = host
	for name, v := range header {
		r.Header[name] = v
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		w.Fatalf("%s: %v", line, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.Fatalf("%s: %v", line, err)
	}
	return reply{resp.StatusCode, resp.Header, string(b)}
}

func (w *world) want(status int, body, line string, more ...string) reply {
	w.Helper()
	got := w.ask(line, more...)
	if got.status != status || body != "*" && got.body != body {
		w.Errorf("%s: %d %s %v, want %d %s\n%s", line, got.status, got.body, got.header, status, body, w.lastLine())
	}
	return got
}

func (w *world) lastLine() string {
	lines := strings.Split(strings.TrimSpace(w.log.String()), "\n")
	return lines[len(lines)-1]
}
