package runtimes_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// loopAPI hands out the same event again and again and measures from the moment an event leaves to the moment its answer is there.
type loopAPI struct {
	body  string
	rtt   []time.Duration
	cycle []time.Duration // from answer to answer
	left  int
	sent  time.Time
	last  time.Time
	done  chan struct{}
}

func (l *loopAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		if l.left == 0 {
			close(l.done)
			<-r.Context().Done()
			return
		}
		l.left--
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
		h.Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(time.Now().Add(time.Minute).UnixMilli()))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-2:123456789012:function:custom-runtime")
		h.Set("Content-Length", fmt.Sprint(len(l.body)))
		l.sent = time.Now()
		io.WriteString(w, l.body)
		return
	}
	io.Copy(io.Discard, r.Body)
	now := time.Now()
	l.rtt = append(l.rtt, now.Sub(l.sent))
	if !l.last.IsZero() {
		l.cycle = append(l.cycle, now.Sub(l.last))
	}
	l.last = now
	w.WriteHeader(http.StatusAccepted)
	io.WriteString(w, `{"status":"OK"}`)
}

// measureLoop runs n echo invocations and reports the medians.
func measureLoop(b *testing.B, body string, n int, l launch) {
	loop := &loopAPI{body: body, left: n + 200, done: make(chan struct{})}
	server := httptest.NewUnstartedServer(loop)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server.Listener.Close()
	server.Listener = listener
	server.Start()
	b.Cleanup(server.Close)
	start(b, &api{t: b, server: server}, l)
	select {
	case <-loop.done:
	case <-time.After(5 * time.Minute):
		b.Fatal("the loop does not end")
	}
	report := func(name string, d []time.Duration) {
		d = slices.Clone(d[200:])
		slices.Sort(d)
		b.ReportMetric(float64(d[len(d)/2].Nanoseconds())/1e3, name+"-p50-µs")
		b.ReportMetric(float64(d[len(d)*99/100].Nanoseconds())/1e3, name+"-p99-µs")
	}
	report("answer", loop.rtt)
	report("cycle", loop.cycle)
	b.ReportMetric(0, "ns/op")
}

// BenchmarkClients compares our Node client with AWS's, each against the same net/http server: time from event to answer, and from
// answer to answer.
func BenchmarkClients(b *testing.B) {
	small, large := `{"key":"value"}`, `{"data":"`+strings.Repeat("x", 5<<20)+`"}`
	r, err := cache()
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []struct {
		name, body string
		n          int
	}{{"small", small, 10000}, {"5MB", large, 300}} {
		b.Run("thaw/"+size.name, func(b *testing.B) {
			measureLoop(b, size.body, size.n, launch{plan: ready(b, "nodejs22.x"), task: unpacked(b, "nodejs-echo"), handler: "index.handler"})
		})
		b.Run("aws-lambda-ric/"+size.name, func(b *testing.B) {
			if r.RIC() == "" {
				b.Skip("aws-lambda-ric is not installed")
			}
			task := unpacked(b, "nodejs-echo")
			measureLoop(b, size.body, size.n, launch{plan: ready(b, "provided.al2023"), task: task, handler: "index.handler", argv: runRIC(b, r, task)})
		})
	}
}
