package telemetry

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thaw/guest/platform"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func open(t *testing.T, logsJSON bool) *Hub {
	h := New(Options{LogsJSON: logsJSON, Dial: func(port int) (Conn, error) { return net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)) }})
	t.Cleanup(h.Close)
	return h
}

// consumer is an HTTP server that gets batches.
type consumer struct {
	t      *testing.T
	port   int
	events chan string
	status atomic.Int64 // that it answers; 0: it does not answer before the test's end
}

func consume(t *testing.T) *consumer {
	c := &consumer{t: t, events: make(chan string, 100000)}
	c.status.Store(200)
	stop := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := c.status.Load()
		if status == 0 {
			io.Copy(io.Discard, r.Body)
			select {
			case <-stop:
			case <-r.Context().Done():
			}
			return
		}
		var batch []json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&batch); err != nil || r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %v", r.Method, r.Header, err)
		}
		w.WriteHeader(int(status))
		if status == 200 {
			for _, e := range batch {
				c.events <- string(e)
			}
		}
	}))
	t.Cleanup(func() { close(stop); s.Close() })
	c.port = s.Listener.Addr().(*net.TCPAddr).Port
	return c
}

func (c *consumer) next() string {
	c.t.Helper()
	select {
	case e := <-c.events:
		return e
	case <-time.After(patience):
		c.t.Fatal("nothing is delivered")
	}
	return ""
}

func request(schema, types string, port int) []byte {
	return fmt.Appendf(nil, `{"schemaVersion":%q,"types":[%s],"buffering":{"maxItems":1000,"maxBytes":262144,"timeoutMs":25},
		"destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:%d/x"}}`, schema, types, port)
}

// TestSubscriptions holds E-104, and what else a subscription cannot be.
func TestSubscriptions(t *testing.T) {
	t.Parallel()
	h := open(t, false)
	good := map[string]any{"schemaVersion": "2022-12-13", "types": []string{"platform"}, "destination": map[string]any{"protocol": "TCP", "port": 4711}}
	for what, change := range map[string]map[string]any{
		"no types":          {"types": []string{}},
		"no schema":         {"schemaVersion": nil},
		"unknown schema":    {"schemaVersion": "2020-08-15"},
		"unknown type":      {"types": []string{"all"}},
		"maxItems 999":      {"buffering": map[string]any{"maxItems": 999}},
		"maxBytes too many": {"buffering": map[string]any{"maxBytes": 1048577}},
		"timeoutMs 24":      {"buffering": map[string]any{"timeoutMs": 24}},
		"port 0":            {"destination": map[string]any{"protocol": "TCP", "port": 0}},
		"port 9001":         {"destination": map[string]any{"protocol": "TCP", "port": 9001}},
		"no protocol":       {"destination": map[string]any{"port": 4711}},
		"another host":      {"destination": map[string]any{"protocol": "HTTP", "URI": "http://example.com:80/"}},
		"no port":           {"destination": map[string]any{"protocol": "HTTP", "URI": "http://sandbox.localdomain/"}},
		"a number":          {"types": 7},
	} {
		body := map[string]any{}
		for k, v := range good {
			body[k] = v
		}
		for k, v := range change {
			body[k] = v
		}
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.Subscribe("x", false, b); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if _, _, err := h.Subscribe("x", false, []byte("garbage")); err == nil {
		t.Error("garbage: accepted")
	}
	b, _ := json.Marshal(good)
	if types, again, err := h.Subscribe("x", false, b); err != nil || again || fmt.Sprint(types) != "[platform]" {
		t.Errorf("%v %v %v", types, again, err)
	}
	if _, again, err := h.Subscribe("x", false, b); err != nil || !again {
		t.Errorf("a second time: %v %v", again, err)
	}
	if _, _, err := h.Subscribe("x", true, []byte(`{"types":["function"],"destination":{"protocol":"TCP","port":4711}}`)); err == nil {
		t.Error("both APIs: accepted")
	}
	if _, _, err := h.Subscribe("y", true, []byte(`{"types":["function"],"destination":{"protocol":"HTTP","URI":"http://sandbox:1/","method":"PUT","encoding":"JSON"}}`)); err != nil {
		t.Errorf("the Logs API: %v", err)
	}
	h.Pause()
	if _, _, err := h.Subscribe("z", false, b); err != ErrClosed { // E-105
		t.Errorf("after Init: %v", err)
	}
}

// TestDelivery holds E-106 and E-107: what came before, and then the rest, in order, in the form that was asked for.
// Nothing comes while no phase runs.
func TestDelivery(t *testing.T) {
	t.Parallel()
	h, c, logs := open(t, true), consume(t), consume(t)
	h.Event(time.Now(), platform.InitStart{Phase: "init"})
	h.Output(Function, 0, []byte("one\n{\"a\":1}\n"), false)
	if _, _, err := h.Subscribe("x", false, request("2022-12-13", `"platform","function"`, c.port)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Subscribe("y", true, request("2021-03-18", `"platform","extension"`, logs.port)); err != nil {
		t.Fatal(err)
	}
	h.Output(Extension, 0, []byte("of an extension\n"), false)
	h.Event(time.Now(), platform.Start{RequestID: "id"})
	for _, want := range []string{`"platform.initStart"`, `"record":"one\n"`, `"record":{"a":1}`, `"platform.start"`} {
		if got := c.next(); !strings.Contains(got, want) {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	for _, want := range []string{`"record":"of an extension\n"`, `"platform.start"`} {
		if got := logs.next(); !strings.Contains(got, want) {
			t.Errorf("the Logs API got %s, want %s", got, want)
		}
	}
	h.Pause()
	h.Event(time.Now(), platform.Report{RequestID: "id"})
	time.Sleep(100 * time.Millisecond) // nothing to wait for: nothing may come
	if len(c.events)+len(logs.events) > 0 {
		t.Error("something was delivered while no phase runs")
	}
	h.Resume()
	if got := c.next(); !strings.Contains(got, `"platform.report"`) {
		t.Errorf("got %s", got)
	}
	for _, want := range []string{`"platform.end"`, `"platform.report"`} {
		if got := logs.next(); !strings.Contains(got, want) {
			t.Errorf("the Logs API got %s, want %s", got, want)
		}
	}
}

func TestTCP(t *testing.T) {
	t.Parallel()
	h := open(t, false)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	body := fmt.Sprintf(`{"schemaVersion":"2022-07-01","types":["function"],"buffering":{"timeoutMs":25},"destination":{"protocol":"TCP","port":%d}}`, l.Addr().(*net.TCPAddr).Port)
	if _, _, err := h.Subscribe("x", false, []byte(body)); err != nil {
		t.Fatal(err)
	}
	for round := range 2 { // the second on a connection of its own: the first was cut
		conn := take(t, h, l, round)
		conn.SetDeadline(time.Now().Add(patience))
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err != nil || !strings.Contains(line, fmt.Sprintf(`"record":"round %d\n"`, round)) {
			t.Fatalf("round %d: %q %v", round, line, err)
		}
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

// take gives lines until a connection comes: a cut one is noticed by a write that gets lost.
func take(t *testing.T, h *Hub, l net.Listener, round int) net.Conn {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		h.Output(Function, 0, fmt.Appendf(nil, "round %d\n", round), false)
		l.(*net.TCPListener).SetDeadline(time.Now().Add(100 * time.Millisecond))
		if c, err := l.Accept(); err == nil {
			return c
		}
	}
	t.Fatal("no connection comes")
	return nil
}

// TestSlowConsumer holds E-112: who gives news does not wait, and the consumer is told what it missed. A consumer that
// refuses is asked again.
func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	for name, status := range map[string]int64{"does not answer": 0, "refuses": 503} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, c := open(t, false), consume(t)
			c.status.Store(status)
			if _, _, err := h.Subscribe("x", false, request("2022-12-13", `"function"`, c.port)); err != nil {
				t.Fatal(err)
			}
			line := []byte(strings.Repeat("x", 1023) + "\n")
			began := time.Now()
			const lines = 5000
			for range lines {
				h.Output(Function, 0, line, false)
			}
			if took := time.Since(began); took > patience/4 {
				t.Errorf("%d lines took %v", lines, took)
			}
			c.status.Store(200)
			kept := 0
			for deadline := time.Now().Add(patience); ; {
				h.Output(Function, 0, []byte("more\n"), false)
				e := c.next()
				if !strings.Contains(e, `"platform.logsDropped"`) {
					kept++
					if time.Now().After(deadline) {
						t.Fatal("no word of what was dropped")
					}
					continue
				}
				var d struct{ Record platform.LogsDropped }
				if err := json.Unmarshal([]byte(e), &d); err != nil || d.Record.Reason == "" || d.Record.Records < lines/2 || d.Record.Bytes < lines/2*1000 {
					t.Errorf("%s after %d: %v", e, kept, err)
				}
				return
			}
		})
	}
}

// TestFlush: what is there goes out at once, and a consumer that is dead does not hold up the end for longer than the limit.
func TestFlush(t *testing.T) {
	t.Parallel()
	h, c := open(t, false), consume(t)
	body := strings.Replace(string(request("2022-12-13", `"platform"`, c.port)), `"timeoutMs":25`, `"timeoutMs":30000`, 1)
	if _, _, err := h.Subscribe("x", false, []byte(body)); err != nil {
		t.Fatal(err)
	}
	h.Pause()
	h.Event(time.Now(), platform.RuntimeDone{RequestID: "id"})
	h.Flush(patience)
	if len(c.events) != 1 {
		t.Errorf("%d events were delivered, want 1", len(c.events))
	}
	c.status.Store(0)
	h.Event(time.Now(), platform.Report{RequestID: "id"})
	began := time.Now()
	h.Flush(50 * time.Millisecond)
	if took := time.Since(began); took > patience/4 {
		t.Errorf("the flush took %v", took)
	}
}
