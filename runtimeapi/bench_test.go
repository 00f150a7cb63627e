package runtimeapi

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"thaw/guest/wire"
)

// instantHost answers each Ready with an event.
type instantHost struct{ api *API }

func (h *instantHost) Send(wire.Kind, any, []byte) error           { return nil }
func (h *instantHost) Queue(k wire.Kind, head any, b []byte) error { return h.Send(k, head, b) }
func (h *instantHost) Flush() error                                { return nil }
func (h *instantHost) SendRuntimeDone(wire.RuntimeDone) error      { return nil }
func (h *instantHost) AllRegistered()                              {}
func (h *instantHost) Condemned(string)                            {}
func (h *instantHost) SendReady(wire.Ready) error {
	go h.api.Deliver(wire.Invoke{RequestID: "id", FunctionARN: "arn"}, []byte(`{"an":"event"}`))
	return nil
}

// exchange is next and response on one connection.
func exchange(b *testing.B, addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	talk := func(request, method string) {
		if _, err := io.WriteString(c, request); err != nil {
			b.Fatal(err)
		}
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
	}
	b.ReportAllocs()
	for b.Loop() {
		talk("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\nUser-Agent: bench\r\n\r\n", "GET")
		talk("POST /2018-06-01/runtime/invocation/id/response HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{\"an\":\"event\"}", "POST")
	}
}

// BenchmarkExchange is this package; BenchmarkExchangeNetHTTP is the same conversation served by net/http with the least possible handler.
func BenchmarkExchange(b *testing.B) {
	h := &instantHost{}
	h.api = New(Options{Host: h})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer h.api.Close()
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go h.api.Serve(c.(*net.TCPConn))
		}
	}()
	exchange(b, l.Addr().String())
}

func BenchmarkExchangeNetHTTP(b *testing.B) {
	events := make(chan string)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", func(w http.ResponseWriter, r *http.Request) {
		go func() { events <- `{"an":"event"}` }()
		event := <-events
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Lambda-Runtime-Aws-Request-Id", "id")
		w.Header().Set("Lambda-Runtime-Deadline-Ms", "0")
		w.Header().Set("Lambda-Runtime-Invoked-Function-Arn", "arn")
		io.Copy(w, strings.NewReader(event))
	})
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", func(w http.ResponseWriter, r *http.Request) {
		io.ReadAll(r.Body)
		w.WriteHeader(202)
		io.WriteString(w, `{"status":"OK"}`)
	})
	s := &http.Server{Handler: mux}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	go s.Serve(l)
	exchange(b, l.Addr().String())
}
