package sandboxtest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"thaw/guest/wire"
	"thaw/sandbox"
)

// patience bounds every wait of the suite: long enough for a busy machine, short enough for a person.
var patience = 60 * time.Second

// Host is the server's end of one sandbox: it reads all that the guest says and lets a test wait for what it expects.
type Host struct {
	// Patience bounds every wait, where it is not the suite's.
	Patience time.Duration

	t  testing.TB
	sb sandbox.Sandbox
	w  *wire.Writer

	mu     sync.Mutex
	news   sync.Cond
	frames []Frame // not yet taken, logs excepted
	logs   []Record
	all    []string // kinds in order, for failure messages
	err    error    // the stream's end
	done   chan struct{}
}

// Frame is what the guest said, and how many Log frames it had sent before.
type Frame struct {
	wire.Frame
	LogsBefore int
}

// Record is one Log frame.
type Record struct {
	wire.LogHead
	Text string
}

// NewHost begins to read a sandbox's stream. It ends when the sandbox is closed.
func NewHost(t testing.TB, sb sandbox.Sandbox) *Host {
	h := &Host{Patience: patience, t: t, sb: sb, w: wire.NewWriter(sb.Conn()), done: make(chan struct{})}
	h.news.L = &h.mu
	go h.read()
	return h
}

func (h *Host) read() {
	defer close(h.done)
	r := wire.NewReader(h.sb.Conn())
	for {
		f, err := r.Next()
		h.mu.Lock()
		switch {
		case err != nil:
			h.err = err
		case f.Kind == wire.KindLog:
			var head wire.LogHead
			if err := f.Decode(&head); err != nil {
				h.err = err
			}
			h.logs = append(h.logs, Record{head, string(f.Body)})
		default:
			h.frames = append(h.frames, Frame{f, len(h.logs)})
		}
		if len(h.all) < 200 {
			h.all = append(h.all, fmt.Sprintf("%d%s", f.Kind, f.Head))
		}
		ended := h.err != nil
		h.news.Broadcast()
		h.mu.Unlock()
		if ended {
			return
		}
	}
}

// Send says something to the guest.
func (h *Host) Send(kind wire.Kind, head any, body []byte) {
	h.t.Helper()
	if err := h.w.Send(kind, head, body); err != nil {
		h.t.Fatalf("send kind %d: %v", kind, err)
	}
}

// Until waits until cond holds; it is called under the lock whenever something new was read.
func (h *Host) until(what string, cond func() bool) {
	h.t.Helper()
	timer := time.AfterFunc(h.Patience, func() { h.mu.Lock(); defer h.mu.Unlock(); h.news.Broadcast() })
	defer timer.Stop()
	deadline := time.Now().Add(h.Patience)
	h.mu.Lock()
	defer h.mu.Unlock()
	for !cond() {
		if h.err != nil || !time.Now().Before(deadline) {
			h.t.Fatalf("%s did not come; the stream's end is %v; heard: %s; logs: %+v", what, h.err, strings.Join(h.all, " "), h.logs)
		}
		h.news.Wait()
	}
}

// Take waits for the next frame that is no log, which must be of that kind, and unpacks its head.
func (h *Host) Take(kind wire.Kind, head any) Frame {
	h.t.Helper()
	var f Frame
	h.until(fmt.Sprintf("frame of kind %d", kind), func() bool {
		if len(h.frames) == 0 {
			return false
		}
		f, h.frames = h.frames[0], h.frames[1:]
		return true
	})
	if f.Kind != kind {
		h.t.Fatalf("got frame of kind %d %s %.200q, want kind %d", f.Kind, f.Head, f.Body, kind)
	}
	if head != nil {
		if err := f.Decode(head); err != nil {
			h.t.Fatal(err)
		}
	}
	return f
}

// TakeAny waits for the next frame that is no log.
func (h *Host) TakeAny() Frame {
	h.t.Helper()
	var f Frame
	h.until("a frame", func() bool {
		if len(h.frames) == 0 {
			return false
		}
		f, h.frames = h.frames[0], h.frames[1:]
		return true
	})
	return f
}

// Logs are the records so far.
func (h *Host) Logs() []Record {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]Record(nil), h.logs...)
}

// Output is the text of one source so far.
func (h *Host) Output(which wire.LogSource) string {
	var b strings.Builder
	for _, r := range h.Logs() {
		if r.Source == which {
			b.WriteString(r.Text)
		}
	}
	return b.String()
}

// AwaitOutput waits until the text of a source contains want.
func (h *Host) AwaitOutput(which wire.LogSource, want string) {
	h.t.Helper()
	h.until(fmt.Sprintf("%s with %q", which, want), func() bool {
		var b strings.Builder
		for _, r := range h.logs {
			if r.Source == which {
				b.WriteString(r.Text)
			}
		}
		return strings.Contains(b.String(), want)
	})
}

// AwaitEnd waits for the stream's end.
func (h *Host) AwaitEnd() error {
	h.t.Helper()
	select {
	case <-h.done:
	case <-time.After(h.Patience):
		h.t.Fatal("the stream does not end")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.err
}

// Hello waits for the guest.
func (h *Host) Hello() wire.Hello {
	h.t.Helper()
	var hello wire.Hello
	h.Take(wire.KindHello, &hello)
	if hello.Version != wire.Version {
		h.t.Fatalf("guest speaks version %d, want %d", hello.Version, wire.Version)
	}
	return hello
}

// Start starts a generation and waits until it has started.
func (h *Host) Start(s wire.Start) wire.Started {
	h.t.Helper()
	h.Send(wire.KindStart, s, nil)
	var started wire.Started
	h.Take(wire.KindStarted, &started)
	if started.Generation != s.Generation || started.APIHost == "" {
		h.t.Fatalf("started %+v, want generation %d and an address", started, s.Generation)
	}
	return started
}

// Ready waits until the runtime is parked.
func (h *Host) Ready() wire.Ready {
	h.t.Helper()
	var ready wire.Ready
	h.Take(wire.KindReady, &ready)
	return ready
}

// Invoke sends an event and waits for the response and for the runtime's return.
func (h *Host) Invoke(id string, event []byte) []byte {
	h.t.Helper()
	h.SendInvoke(id, event)
	var head wire.ResponseHead
	f := h.Take(wire.KindResponse, &head)
	if head.RequestID != id {
		h.t.Fatalf("response of request %q, want %q", head.RequestID, id)
	}
	if ready := h.Ready(); ready.RequestID != id {
		h.t.Fatalf("ready after request %q, want %q", ready.RequestID, id)
	}
	return f.Body
}

// SendInvoke sends an event.
func (h *Host) SendInvoke(id string, event []byte) {
	h.t.Helper()
	h.Send(wire.KindInvoke, wire.Invoke{
		RequestID: id, InvocationID: id + "-attempt", DeadlineUnixMs: time.Now().Add(time.Hour).UnixMilli(),
		FunctionARN: "arn:aws:lambda:eu-central-1:000000000000:function:test",
	}, event)
}

// Kill ends a generation; nothing may be left of it. Frames that were sent before are dropped.
func (h *Host) Kill(generation uint64, term time.Duration) {
	h.t.Helper()
	h.Send(wire.KindKill, wire.Kill{Generation: generation, BudgetMs: term.Milliseconds(), RuntimeMs: term.Milliseconds()}, nil)
	for {
		f := h.TakeAny()
		if f.Kind != wire.KindKilled {
			continue
		}
		var killed wire.Killed
		if err := f.Decode(&killed); err != nil {
			h.t.Fatal(err)
		}
		if killed.Generation != generation || killed.Left != 0 {
			h.t.Fatalf("killed %+v, want generation %d and nothing left", killed, generation)
		}
		return
	}
}
