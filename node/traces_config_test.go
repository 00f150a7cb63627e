package node

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"thaw/trace/otlp"
)

// Where a server is told of nobody, it opens nothing, and guests let no datagram through. Flags come before the SDK's own
// variables, and those count as OpenTelemetry has them.
func TestWhereTracesGo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		flags     map[string]string
		variables map[string]string
		want      otlp.Options
		told      bool
	}{
		{name: "nowhere"},
		{name: "a flag", flags: map[string]string{"otlp-endpoint": "http://a:4318"}, want: otlp.Options{Endpoint: "http://a:4318"}, told: true},
		{name: "a flag and its protocol", flags: map[string]string{"otlp-endpoint": "http://a:4317", "otlp-protocol": "grpc"},
			variables: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, want: otlp.Options{Endpoint: "http://a:4317", Protocol: "grpc"}, told: true},
		{name: "the SDK's variables", variables: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
			want: otlp.Options{Protocol: "grpc"}, told: true},
		{name: "those of traces", variables: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b:4317", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
			"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, want: otlp.Options{Protocol: "grpc"}, told: true},
		{name: "not where the SDK is off", variables: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b", "OTEL_SDK_DISABLED": "true"}},
		{name: "not where traces are", variables: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://b", "OTEL_TRACES_EXPORTER": "none"}},
		{name: "a flag all the same", flags: map[string]string{"otlp-endpoint": "http://a"}, variables: map[string]string{"OTEL_SDK_DISABLED": "true"},
			want: otlp.Options{Endpoint: "http://a"}, told: true},
	} {
		cfg, err := Load(Sources{Flags: c.flags, Env: func(name string) (string, bool) { v, ok := c.variables[name]; return v, ok }})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		got, told := cfg.otlp()
		c.want.Version = Version
		if told != c.told || told && got != c.want {
			t.Errorf("%s: %+v, %v", c.name, got, told)
		}
	}
	tr, err := openTraces(t.Context(), Default(), slog.New(slog.DiscardHandler))
	if err != nil || len(tr.to) != 0 || tr.environment() != nil {
		t.Errorf("nobody was named: %+v, %v", tr, err)
	}
	if err := tr.Close(t.Context()); err != nil {
		t.Error(err)
	}
	for flag, value := range map[string]string{"xray-daemon": "localhost", "otlp-endpoint": "localhost:4318", "otlp-protocol": "http/json"} {
		if _, err := Load(Sources{Flags: map[string]string{flag: value}}); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s %s: %v", flag, value, err)
		}
	}
}

// A collector that takes requests and never answers them delays neither invocations nor, beyond its budget, the end of
// the server.
func TestTracesToADeadCollector(t *testing.T) {
	t.Parallel()
	forever := make(chan struct{})
	dead := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-forever }))
	t.Cleanup(func() { close(forever); dead.Close() })
	s := openServerWith(t, "process", t.TempDir(), func(c *Config) { c.OTLPEndpoint, c.DrainTimeout = dead.URL, time.Minute })
	f := s.js(`exports.handler = async () => 1`, activeTracing)
	for range 20 {
		if status, body := f.traced(f.invocations(), `{}`, "X-Amzn-Trace-Id", "Sampled=1"); status != 200 || body != "1" {
			t.Fatalf("%d %s", status, body)
		}
	}
	counts := s.node.traces.to[0].Queue
	began := time.Now()
	if err := s.node.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if c := counts.Counts(); c.Sent != 0 || c.Failed+c.Dropped != 40 {
		t.Errorf("%+v of 40 segments", c)
	}
	if took := time.Since(began); took > 30*time.Second { // flushLimit is 3 s; the exporter itself tries for a minute
		t.Errorf("the server took %v to end", took)
	}
}

// A guest that does not keep to its budget is an enemy's. What it sends goes no further than twice that, and another
// environment's arrives all the same.
func TestSegmentsOfAHostileGuest(t *testing.T) {
	t.Parallel()
	l := listenForTraces(t)
	tr, err := openTraces(t.Context(), Config{XRayDaemon: l.udp.LocalAddr().String()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close(context.Background()) })
	hostile, other := tr.environment(), tr.environment()
	const head = "{\"format\":\"json\",\"version\":1}\n"
	large := []byte(head + `{"name":"flood","pad":"` + strings.Repeat("x", 60_000) + `"}`)
	for range 1000 {
		hostile(large, 0)
	}
	hostile([]byte("nonsense"), 0)
	other([]byte(head+`{"name":"mine"}`), 3)
	l.doc("another environment's", func(s *segment) bool { return s.Name == "mine" })
	if n := tr.flooded.Load(); n < 900 {
		t.Errorf("%d of 1000 were dropped", n)
	}
	other([]byte("nonsense"), 0)
	other([]byte(head+"[1]"), 0)
	other(append([]byte(head), make([]byte, 70_000)...), 0)
	if n := tr.refused.Load(); n < 3 {
		t.Errorf("%d were refused", n)
	}
}
