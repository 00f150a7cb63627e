package eventsourcetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"thaw/eventsource"
	"thaw/eventsource/poller"
	"thaw/function"
	"thaw/invoke"
	"thaw/pool"
)

// patience is how long a case waits for what must come.
const patience = time.Minute

// Until waits for a condition.
func Until(t testing.TB, what string, met func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !met(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v it is not so that %s", patience, what)
		}
	}
}

// harness is a function, and servers that read sources for it.
type harness struct {
	t     *testing.T
	f     Fixture
	store *Store
	view  *function.View
	key   function.Key

	mu      sync.Mutex
	handler func(seen []Seen) (payload string, functionError bool, err error)
	invokes [][]Seen
	traces  []string // of the invokes
	events  [][]byte // as they came
	running int      // at this moment
	most    int      // at one time
	told    []*eventsource.Failure
	counts  map[string]int
	rev     uint64

	server  *Server
	service *poller.Service
}

func newHarness(t *testing.T, f Fixture) *harness {
	h := &harness{t: t, f: f, store: NewStore(), view: function.NewView(), key: function.Key{Account: "123456789012", Region: "eu-west-1", Name: "fn"}, counts: map[string]int{}}
	h.setFunction(true)
	h.view.Loaded()
	h.start()
	t.Cleanup(func() { h.close() })
	return h
}

// setFunction makes or deletes the function.
func (h *harness) setFunction(there bool) {
	h.rev++
	c := function.Change{Revision: h.rev, Key: h.key}
	if there {
		c.Function = &function.Record{Key: h.key, Partition: "aws", Incarnation: h.rev, Latest: function.VersionRecord{Number: function.Latest,
			Config: function.Config{TimeoutSeconds: 1}}, Revision: h.rev}
	}
	h.view.Apply(c)
}

// start starts a server on what is stored.
func (h *harness) start() {
	h.server = h.store.Server()
	drivers := map[eventsource.Kind]eventsource.Driver{}
	for _, k := range eventsource.Kinds {
		drivers[k] = severed{h.f.Driver, h.server}
	}
	var err error
	h.service, err = poller.Open(h.t.Context(), poller.Options{Records: h.server, Checkpoints: h.server, Leases: h.server, Drivers: drivers,
		Invoker: h, View: h.view, Sender: h, Metrics: h, Log: slog.New(slog.NewTextHandler(testLog{h.t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Delays:    eventsource.Delays{First: 10 * time.Millisecond, Limit: 200 * time.Millisecond},
		Reconnect: eventsource.Delays{First: 20 * time.Millisecond, Limit: 300 * time.Millisecond}, List: 200 * time.Millisecond})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *harness) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	h.service.Close(ctx) //nolint:errcheck // what is in flight is of no interest any more
}

// kill is the end of a server by SIGKILL: from now on nothing of it is stored or acknowledged. Its memory is given up.
func (h *harness) kill() {
	h.server.Die()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	h.service.Close(gone) //nolint:errcheck // it must not end well
}

// testLog gives what is logged to the test that asked for it.
type testLog struct{ t *testing.T }

func (l testLog) Write(b []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// mapping makes a source, and a mapping with the options of its kind, changed by change.
func (h *harness) mapping(change func(*eventsource.Mapping)) *eventsource.Mapping {
	h.t.Helper()
	m := h.f.New(h.t)
	m.ID, m.Function, m.Partition, m.State = eventsource.ID(uuid.NewString()), h.key, "aws", eventsource.Creating
	if m.Options.BatchSize == 0 {
		m.Options.BatchSize = 10
	}
	zero := 0
	m.Options.Window, m.Options.MaxRetries, m.Options.MaxAge = &zero, -1, -1
	if !eventsource.TraitsOf(m.Kind).IsQueue(m) && m.Source.Start == "" {
		m.Source.Start = eventsource.TrimHorizon
	}
	if change != nil {
		change(m)
	}
	return m
}

// again sets how soon what was not done with comes again.
func (h *harness) again(m *eventsource.Mapping, after time.Duration) {
	h.t.Helper()
	if h.f.Again != nil {
		h.f.Again(h.t, m, after)
	}
}

// create stores a mapping and waits until it is Enabled.
func (h *harness) create(m *eventsource.Mapping) *eventsource.Mapping {
	h.t.Helper()
	if _, err := h.service.Create(h.t.Context(), m); err != nil {
		h.t.Fatal(err)
	}
	h.state(m, eventsource.Enabled)
	return m
}

// state waits for a state.
func (h *harness) state(m *eventsource.Mapping, want eventsource.State) {
	h.t.Helper()
	Until(h.t, fmt.Sprintf("the mapping is %v", want), func() bool {
		now, err := h.service.Get(m.ID)
		if want == eventsource.Gone {
			return err == poller.ErrNotFound
		}
		return err == nil && now.State == want
	})
}

// update changes a mapping, which then comes to the state.
func (h *harness) update(m *eventsource.Mapping, enabled bool, want eventsource.State) {
	h.t.Helper()
	if _, err := h.service.Update(h.t.Context(), m.ID, &enabled, nil); err != nil {
		h.t.Fatal(err)
	}
	h.state(m, want)
}

// handle sets what the function does. nil: it succeeds.
func (h *harness) handle(f func(seen []Seen) (payload string, functionError bool, err error)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.handler = f
}

// Invoke implements poller.Invoker.
func (h *harness) Invoke(ctx context.Context, r *invoke.Request) (*invoke.Result, error) {
	if h.view.Get(r.Function) == nil {
		return nil, &invoke.NotFoundError{ARN: r.InvokedARN}
	}
	seen := h.f.Seen(h.t, r.Event)
	if len(seen) == 0 && !bytes.Contains(r.Event, []byte(`"isFinalInvokeForWindow":true`)) {
		h.t.Errorf("invoked with no records: %s", r.Event)
	}
	h.mu.Lock()
	handler := h.handler
	h.events = append(h.events, r.Event)
	h.running++
	h.most = max(h.most, h.running)
	h.mu.Unlock()
	defer func() { h.mu.Lock(); h.running--; h.mu.Unlock() }()
	payload, failed := "null", false
	if handler != nil {
		var err error
		if payload, failed, err = handler(seen); err != nil {
			return nil, err
		}
	}
	h.mu.Lock()
	h.traces = append(h.traces, r.TraceID)
	h.invokes = append(h.invokes, seen)
	h.mu.Unlock()
	o := &function.Outcome{Payload: []byte(payload)}
	if failed {
		o.FunctionError = "Unhandled"
	}
	return &invoke.Result{Outcome: o, Version: &function.Version{Number: function.Latest}}, nil
}

// seen are the bodies that the function was given, in that order.
func (h *harness) seen() (all []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, i := range h.invokes {
		for _, s := range i {
			all = append(all, s.Body)
		}
	}
	return all
}

// together is how many invokes there were at one time.
func (h *harness) together() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.most
}

// batches are the invokes.
func (h *harness) batches() [][]Seen {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([][]Seen(nil), h.invokes...)
}

// Send implements poller.Sender.
func (h *harness) Send(_ context.Context, to string, f *eventsource.Failure) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !json.Valid(f.Body(true)) {
		h.t.Errorf("a failure record that is no JSON: %s", f.Body(true))
	}
	h.told = append(h.told, f)
	return nil
}

func (h *harness) count(what string, n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.counts[what] += n
}

// Polled implements poller.Metrics, and so do the others.
func (h *harness) Polled(_ *eventsource.Mapping, n int)            { h.count("polled", n) }
func (h *harness) FilteredOut(_ *eventsource.Mapping, n int)       { h.count("filtered", n) }
func (h *harness) Invoked(_ *eventsource.Mapping, n int)           { h.count("invoked", n) }
func (h *harness) FailedInvoke(_ *eventsource.Mapping, n int)      { h.count("failed", n) }
func (h *harness) Deleted(_ *eventsource.Mapping, n int)           { h.count("deleted", n) }
func (h *harness) Dropped(_ *eventsource.Mapping, n int)           { h.count("dropped", n) }
func (h *harness) Delivered(_ *eventsource.Mapping, n int)         { h.count("delivered", n) }
func (h *harness) IteratorAge(*eventsource.Mapping, time.Duration) {}
func (h *harness) Gone(*eventsource.Mapping)                       {}

var errThrottled = &pool.ThrottledError{}

// NoMetrics implements poller.Metrics for tests that count nothing.
type NoMetrics struct{}

// Polled implements poller.Metrics, and so do the others.
func (NoMetrics) Polled(*eventsource.Mapping, int)                {}
func (NoMetrics) FilteredOut(*eventsource.Mapping, int)           {}
func (NoMetrics) Invoked(*eventsource.Mapping, int)               {}
func (NoMetrics) FailedInvoke(*eventsource.Mapping, int)          {}
func (NoMetrics) Deleted(*eventsource.Mapping, int)               {}
func (NoMetrics) Dropped(*eventsource.Mapping, int)               {}
func (NoMetrics) Delivered(*eventsource.Mapping, int)             {}
func (NoMetrics) IteratorAge(*eventsource.Mapping, time.Duration) {}
func (NoMetrics) Gone(*eventsource.Mapping)                       {}
