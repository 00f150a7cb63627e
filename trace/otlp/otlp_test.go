package otlp

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"thaw/function"
	"thaw/internal/golden"
	"thaw/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// received is a collector.
type received struct {
	collector.UnimplementedTraceServiceServer
	mu     sync.Mutex
	got    []*collector.ExportTraceServiceRequest
	header string
}

func (r *received) take(m *collector.ExportTraceServiceRequest, header string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got, r.header = append(r.got, m), header
}

func (r *received) Export(ctx context.Context, m *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	md, _ := metadata.FromIncomingContext(ctx)
	r.take(m, strings.Join(md.Get("tenant"), ","))
	return &collector.ExportTraceServiceResponse{}, nil
}

func (r *received) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	b, _ := io.ReadAll(q.Body)
	var m collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(b, &m); err != nil || q.URL.Path != "/v1/traces" {
		http.Error(w, "no", http.StatusNotFound)
		return
	}
	r.take(&m, q.Header.Get("tenant"))
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func at(ms float64) time.Time {
	return time.Unix(1_768_212_000, 0).Add(time.Duration(ms * float64(time.Millisecond)))
}

// segments are two functions' invocations: one cold, which failed and has extensions, one asynchronous.
func segments() []trace.Item {
	const root = "1-5759e988-bd862e3fe1be46a994272793"
	var items []trace.Item
	add := func(s *trace.Segment) { items = append(items, trace.Item{Segment: s}) }
	_, ids := trace.Admit(trace.Active, "Sampled=1", "id", 0, nil)
	r := &trace.Recorded{Of: trace.Of{Name: "orders", Version: "7", Account: "000000000000", Region: "eu-west-1", ARN: "arn:orders", MemoryMiB: 128, RequestID: "id"},
		Root: root, Parent: "53995c3f42cd8ad8", State: "vendor=x", Arrived: at(0), IDs: ids}
	add(r.Executed(&function.Timings{Taken: at(250), Started: at(251), Responding: at(259), Responded: at(260), RuntimeDone: at(261), Ended: at(270), Status: "error",
		ErrorType: "Function.X", Environment: "e", Extensions: true, Init: function.Period{From: at(20), To: at(249)}}))
	add(r.Answered(at(260), trace.Fate{Status: 200, Error: true, ErrorType: "Unhandled"}))
	_, ids = trace.Admit(trace.Active, "Sampled=1", "event", 1, nil)
	a := &trace.Recorded{Of: trace.Of{Name: "mails", Version: "$LATEST", RequestID: "event", Async: true}, Root: root, Arrived: at(0), IDs: ids}
	a.IDs.Service = trace.ServiceID("event")
	add(a.Tried([]trace.Attempt{{From: at(5), To: at(9), Status: 200}}, false)) // is sent when it is over
	add(a.Tried([]trace.Attempt{{From: at(5), To: at(9), Status: 200}}, true))
	return append(items, trace.Item{Datagram: []byte("a function's own, which is for X-Ray")})
}

func (r *received) String() string {
	var out []string
	for _, m := range r.got {
		for _, of := range m.ResourceSpans {
			for _, scope := range of.ScopeSpans {
				for _, s := range scope.Spans {
					from := (float64(s.StartTimeUnixNano) - float64(at(0).UnixNano())) / 1e6
					out = append(out, fmt.Sprintf("%s %v\n  %s < %s %q %v\n  %+.0f ms for %.0f ms, status %v %q\n  %v\n  of %v\n", s.Name, s.Kind, hex.EncodeToString(s.SpanId), hex.EncodeToString(s.ParentSpanId),
						s.TraceState, hex.EncodeToString(s.TraceId), from, float64(s.EndTimeUnixNano-s.StartTimeUnixNano)/1e6, s.Status.GetCode(), s.Status.GetMessage(), attrs(s.Attributes), attrs(of.Resource.Attributes)))
				}
			}
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func attrs(list []*common.KeyValue) (out []string) {
	for _, a := range list {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			out = append(out, fmt.Sprintf("%s=%q", a.Key, v.StringValue))
		case *common.AnyValue_IntValue:
			out = append(out, fmt.Sprintf("%s=%d", a.Key, v.IntValue))
		case *common.AnyValue_BoolValue:
			out = append(out, fmt.Sprintf("%s=%v", a.Key, v.BoolValue))
		default:
			out = append(out, a.Key+"=?")
		}
	}
	slices.Sort(out)
	return out
}

// Spans have the ids of the segments and say the same; both protocols carry them, with the headers that the SDK's own
// variable names. A collector that is not there is an error and no wait.
func TestSpans(t *testing.T) {
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "tenant=mine")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "5000")
	overHTTP, overGRPC := &received{}, &received{}
	h := httptest.NewServer(overHTTP)
	defer h.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	collector.RegisterTraceServiceServer(g, overGRPC)
	var serving sync.WaitGroup
	serving.Go(func() { g.Serve(l) }) //nolint:errcheck // it ends with Stop
	defer serving.Wait()
	defer g.Stop()
	for _, c := range []struct {
		o  Options
		at *received
	}{{Options{Endpoint: h.URL}, overHTTP}, {Options{Endpoint: "http://" + l.Addr().String(), Protocol: GRPC}, overGRPC}} {
		s, err := Open(t.Context(), c.o)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // what was sent is not sent again
			if err := s.Send(t.Context(), segments()); err != nil {
				t.Fatalf("%s: %v", c.o.Protocol, err)
			}
		}
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if len(c.at.got) != 2 || c.at.header != "mine" {
			t.Errorf("%s: %d requests, header %q", c.o.Protocol, len(c.at.got), c.at.header)
		}
		c.at.got = c.at.got[:1]
		golden.Equal(t, "testdata/spans.golden", c.at.String())
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", h.URL)
	s, err := Open(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(t.Context(), segments()); err != nil || len(overHTTP.got) != 2 {
		t.Errorf("by the SDK's variable: %v", err)
	}
	s.Close(t.Context()) //nolint:errcheck // nothing is left
}

func TestEndpoints(t *testing.T) {
	for _, bad := range []string{"localhost:4318", "grpc://localhost:4317", "http://", "://"} {
		if _, err := Open(t.Context(), Options{Endpoint: bad}); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
	if _, err := Open(t.Context(), Options{Endpoint: "http://x", Protocol: "http/json"}); err == nil {
		t.Error("http/json is taken")
	}
	for in, want := range map[string]string{"http://h:4318": "http://h:4318/v1/traces", "http://h:4318/": "http://h:4318/v1/traces", "https://h/otlp/v1/traces": "https://h/otlp/v1/traces"} {
		if got := tracesURL(in); got != want {
			t.Errorf("%s: %s", in, got)
		}
	}
}
