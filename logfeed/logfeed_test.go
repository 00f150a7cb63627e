package logfeed

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thaw/async"
	"thaw/function"
	"thaw/invoke"
	"thaw/logstore"
	"thaw/push"
	"thaw/push/pushtest"
	"thaw/trigger"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	group = "/aws/lambda/shop"
	base  = function.ARN("arn:aws:lambda:eu-west-1:123456789012:function:")
)

// world is a log store and a feed, and the queue that functions get their events from.
type world struct {
	t    *testing.T
	docs *pushtest.Documents
	logs *logstore.Store
	feed *Feed

	mu   sync.Mutex
	full bool // the queue takes nothing
	got  []trigger.LogMessage
}

// Find implements push.Invoker: every function is there but one.
func (w *world) Find(k function.Key, _ function.Qualifier, arn function.ARN, _ float64) (*function.Entry, *function.VersionRecord, error) {
	if k.Name == "none" {
		return nil, nil, &invoke.NotFoundError{}
	}
	return nil, nil, nil
}

func (w *world) Invoke(context.Context, *invoke.Request) (*invoke.Result, error) {
	panic("nobody waits")
}

// Accept implements push.Queue.
func (w *world) Accept(_ context.Context, e *async.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.full {
		return async.ErrFull
	}
	var event struct {
		Logs struct{ Data []byte } `json:"awslogs"`
	}
	var m trigger.LogMessage
	if err := json.Unmarshal(e.Payload, &event); err != nil {
		return err
	}
	r, err := gzip.NewReader(bytes.NewReader(event.Logs.Data))
	if err != nil {
		return err
	}
	if err := json.NewDecoder(r).Decode(&m); err != nil {
		return err
	}
	w.got = append(w.got, m)
	return nil
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, docs: &pushtest.Documents{}}
	var err error
	if w.logs, err = logstore.Open(logstore.Options{Dir: t.TempDir()}); err != nil {
		t.Fatal(err)
	}
	w.open()
	t.Cleanup(func() { w.feed.Close(); w.logs.Close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	w.feed, err = Open(w.t.Context(), Options{Documents: w.docs, Logs: w.logs, Functions: &push.Functions{Invoker: w, Queue: w, Enforced: func() bool { return false }},
		GroupOf: func(f function.ARN) string { return "/aws/lambda/" + strings.TrimPrefix(string(f), string(base)) }, Log: slog.New(slog.DiscardHandler), Window: 20 * time.Millisecond, Retry: 5 * time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) put(name, of, pattern string, f function.ARN) error {
	w.t.Helper()
	return w.feed.Put(w.t.Context(), &Filter{Group: of, Name: name, Region: "eu-west-1", Account: "123456789012", Pattern: pattern, Function: f, Created: time.Now()})
}

func (w *world) log(stream string, lines ...string) {
	st := w.logs.Stream(group, stream)
	for _, l := range lines {
		st.Append(time.Now(), l)
	}
}

// told are the lines that came, with their streams, in their order.
func (w *world) told() (list []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range w.got {
		for _, e := range m.Events {
			if m.Type == "DATA_MESSAGE" {
				list = append(list, m.Stream+" "+e.Message)
			}
		}
	}
	return list
}

func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("not within a minute: %s; %q", what, w.told())
		}
	}
}

// What passes the pattern goes to the function from the filter's beginning on, a message for each stream, after a message
// that only says that the filter is there.
func TestFiltersDeliver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.log("a", "ERROR before")
	w.until("the line is there", func() bool { g, err := w.logs.Group(t.Context(), group); return err == nil && g.Bytes > 0 })
	if err := w.put("errors", group, "ERROR", base+"pager"); err != nil {
		t.Fatal(err)
	}
	if w.got[0].Type != "CONTROL_MESSAGE" || w.got[0].Owner != "CloudwatchLogs" {
		t.Errorf("first comes %+v", w.got[0])
	}
	w.log("a", "ERROR 1", "fine", "ERROR 2")
	w.log("b", "ERROR 3")
	w.until("three lines came", func() bool { return len(w.told()) == 3 })
	got := w.told()
	slices.Sort(got)
	if strings.Join(got, ",") != "a ERROR 1,a ERROR 2,b ERROR 3" {
		t.Errorf("%q", got)
	}
	last := w.got[len(w.got)-1]
	if last.Group != group || last.Owner != "123456789012" || strings.Join(last.Filters, "") != "errors" || len(last.Events[0].ID) != 56 {
		t.Errorf("%+v", last)
	}
	if err := w.feed.Delete(t.Context(), group, "errors"); err != nil {
		t.Fatal(err)
	}
	w.log("a", "ERROR after")
	if err := w.put("all", group, "", base+"pager"); err != nil {
		t.Fatal(err)
	}
	w.log("a", "last")
	w.until("the second filter's line came", func() bool { return len(w.told()) >= 4 })
	if got := w.told()[3:]; strings.Join(got, ",") != "a last" && strings.Join(got, ",") != "a ERROR after,a last" {
		t.Errorf("%q", got)
	}
}

// What is not in the function's queue comes again: when the queue has room, after a restart, and after a kill, which
// leaves the position as it was.
func TestNothingIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.put("all", group, "", base+"pager"); err != nil {
		t.Fatal(err)
	}
	w.log("a", "0")
	w.until("the first came", func() bool { return len(w.told()) == 1 })
	w.mu.Lock()
	w.full = true
	w.mu.Unlock()
	for i := 1; i <= 50; i++ {
		w.log("a", fmt.Sprint(i))
	}
	time.Sleep(30 * time.Millisecond) // some of them are tried meanwhile; nothing depends on it
	w.feed.Close()
	w.log("a", "51")
	w.mu.Lock()
	w.full = false
	w.mu.Unlock()
	w.open()
	w.until("all came", func() bool { return len(w.told()) == 52 })
	for i, got := range w.told() {
		if got != fmt.Sprintf("a %d", i) {
			t.Fatalf("line %d is %s", i, got)
		}
	}
	w.until("the position is kept", func() bool { return len(w.feed.List(group)) == 1 && w.feed.List(group)[0].After > 0 })
}

// What a group may not have is refused: a third filter, a function that is not there, and one to which its own log would
// come back.
func TestRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.put("a", group, "", base+"b"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, of string
		f        function.ARN
		as       any
	}{
		{"its own log", group, base + "shop", new(*LoopError)},
		{"the log of a function that gets its log", "/aws/lambda/b", base + "shop", new(*LoopError)},
		{"the log of the function of a filter", "/aws/lambda/b", base + "b", new(*LoopError)},
		{"no function", group, base + "none", new(*invoke.NotFoundError)},
	} {
		if err := w.put("x", c.of, "", c.f); err == nil || !errors.As(err, c.as) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if err := w.put("b", group, "", base+"c"); err != nil {
		t.Fatal(err)
	}
	if err := w.put("c", group, "", base+"d"); !errors.Is(err, ErrMany) {
		t.Errorf("a third: %v", err)
	}
	if err := w.put("b", group, "x", base+"e"); err != nil { // another of the name takes its place
		t.Error(err)
	}
	if err := w.feed.Delete(t.Context(), group, "none"); !errors.Is(err, ErrNone) {
		t.Errorf("none: %v", err)
	}
	if err := w.feed.Forget(t.Context(), group); err != nil || len(w.feed.List("")) != 0 {
		t.Errorf("%v, %d left", err, len(w.feed.List("")))
	}
}
