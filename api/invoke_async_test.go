package api_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"thaw/async"
)

// taken are the events that the API hands over; err is what it hears instead.
type taken struct {
	events []*async.Event
	err    error
}

func (q *taken) Accept(_ context.Context, e *async.Event) error {
	if q.err == nil {
		q.events = append(q.events, e)
	}
	return q.err
}

// C-070, C-079, C-082: what reaches the queue, and what is answered. An event that has no room on the disk is refused so
// that clients try again, with the reason.
func TestEventsOnTheirWayToTheQueue(t *testing.T) {
	t.Parallel()
	q := &taken{}
	w := newWorld(t, func(o *options) { o.Options.Events = q })
	name := w.published("orders", 1)
	arn := "arn:aws:lambda:eu-west-1:000000000000:function:orders"
	const older = "/2014-11-13/functions/"
	send := func(path, body string) answer {
		return w.do("POST", path, body, "X-Amz-Invocation-Type", "Event", "X-Amzn-Trace-Id", "Root=1-2-3")
	}
	for _, path := range []string{base + "/" + name + "/invocations", base + "/" + name + "/invocations?Qualifier=1", older + name + "/invoke-async/"} {
		q.events = nil
		got := send(path, `{"a":1}`)
		if got.status != 202 || got.body != "" || got.header.Get("X-Amz-Executed-Version") != "" || len(q.events) != 1 {
			t.Fatalf("%s: %+v, %d events", path, got, len(q.events))
		}
		e, wantARN := q.events[0], arn
		if e.Lane.Qualifier != "" {
			wantARN += ":" + string(e.Lane.Qualifier)
		}
		if e.RequestID != got.header.Get("X-Amzn-Requestid") || string(e.Payload) != `{"a":1}` || e.TraceID != "Root=1-2-3" || string(e.InvokedARN) != wantARN || e.Lane.Name != name ||
			strings.Contains(path, "Qualifier") != (e.Lane.Qualifier == "1") {
			t.Errorf("%s: the queue got %+v", path, e)
		}
	}
	q.events = nil
	text := func(n int) string { return `"` + strings.Repeat("x", n-2) + `"` }
	for _, c := range []struct {
		path, body string
		status     int
		words      string
	}{
		{base + "/absent/invocations", `{}`, 404, "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:absent:$LATEST"},
		{base + "/orders/invocations?Qualifier=2", `{}`, 404, "Function not found: " + arn + ":2"},
		{base + "/orders/invocations", `{"a"`, 400, "Could not parse request body into json"},
		{base + "/orders/invocations", text(1<<20 + 1), 413, "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"},
		{older + "orders/invoke-async", text(256<<10 + 1), 413, "(limit 262144 bytes)"},
		{older + "absent/invoke-async", `{}`, 404, "Function not found"},
	} {
		if got := send(c.path, c.body); got.status != c.status || !strings.Contains(got.body, c.words) {
			t.Errorf("%s: %d %s; want %d %s", c.path, got.status, got.body, c.status, c.words)
		}
	}
	if len(q.events) > 0 {
		t.Errorf("what was refused reached the queue: %+v", q.events)
	}
	for err, want := range map[error]string{async.ErrFull: "429 5 disk has no room", async.ErrStopping: "500  is stopping", errors.New("broken"): "500  internal error"} {
		q.err = err
		got := send(base+"/orders/invocations", `{}`)
		status, rest, _ := strings.Cut(want, " ")
		retry, words, _ := strings.Cut(rest, " ")
		if fmt.Sprint(got.status) != status || got.header.Get("Retry-After") != retry || !strings.Contains(got.body, words) {
			t.Errorf("%v: %d, Retry-After %q, %s; want %s", err, got.status, got.header.Get("Retry-After"), got.body, want)
		}
	}
}
