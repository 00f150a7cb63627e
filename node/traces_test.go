package node

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
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

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"thaw/async"
)

// segment is a document of X-Ray as a daemon reads it.
type segment struct {
	Name, ID, Type, Origin  string
	TraceID                 string  `json:"trace_id"`
	ParentID                string  `json:"parent_id"`
	Start                   float64 `json:"start_time"`
	End                     float64 `json:"end_time"`
	InProgress              bool    `json:"in_progress"`
	Error, Fault, Throttled bool
	HTTP                    struct{ Response struct{ Status int } }
	Subsegments             []segment
	Annotations             map[string]any
}

// sub is one of its subsegments.
func (s *segment) sub(name string) *segment {
	for i := range s.Subsegments {
		if s.Subsegments[i].Name == name {
			return &s.Subsegments[i]
		}
	}
	return nil
}

func (s *segment) subs() (names []string) {
	for _, x := range s.Subsegments {
		names = append(names, x.Name)
	}
	return names
}

// listener is a daemon of X-Ray and a collector of OpenTelemetry.
type listener struct {
	t      testing.TB
	udp    net.PacketConn
	otlp   *httptest.Server
	mu     sync.Mutex
	docs   []segment
	spans  []*spans.Span
	of     map[string]string // service.name by span id
	header http.Header
}

func listenForTraces(t testing.TB) *listener {
	t.Helper()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{t: t, udp: udp, of: map[string]string{}}
	l.otlp = httptest.NewServer(http.HandlerFunc(l.export))
	var reading sync.WaitGroup
	reading.Go(l.read)
	t.Cleanup(func() {
		udp.Close()
		l.otlp.Close()
		reading.Wait()
	})
	return l
}

func (l *listener) read() {
	b := make([]byte, 1<<16)
	for {
		n, _, err := l.udp.ReadFrom(b)
		if err != nil {
			return
		}
		head, body, _ := bytes.Cut(b[:n], []byte("\n"))
		var h struct {
			Format  string
			Version int
		}
		var s segment
		if json.Unmarshal(head, &h) != nil || h.Format != "json" || h.Version != 1 || json.Unmarshal(body, &s) != nil {
			l.t.Errorf("no datagram of X-Ray: %.100q", b[:n])
			continue
		}
		l.mu.Lock()
		l.docs = append(l.docs, s)
		l.mu.Unlock()
	}
}

func (l *listener) export(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(r.Body)
	var m collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(b, &m) != nil {
		l.t.Errorf("no spans: %s, %v", r.URL, err)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.header = r.Header
	for _, of := range m.ResourceSpans {
		name := ""
		for _, a := range of.Resource.Attributes {
			if a.Key == "service.name" {
				name = a.Value.GetStringValue()
			}
		}
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				l.spans = append(l.spans, s)
				l.of[hex.EncodeToString(s.SpanId)] = name
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

// doc waits for a document.
func (l *listener) doc(what string, is func(*segment) bool) *segment {
	l.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		for _, s := range slices.Backward(l.docs) {
			if is(&s) {
				l.mu.Unlock()
				return &s
			}
		}
		all := fmt.Sprintf("%+v", l.docs)
		l.mu.Unlock()
		if time.Now().After(end) {
			l.t.Fatalf("no document that is %s; there are %s", what, all)
		}
	}
}

// span waits for a span with the id of a segment.
func (l *listener) span(id string) *spans.Span {
	l.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		l.mu.Lock()
		for _, s := range l.spans {
			if hex.EncodeToString(s.SpanId) == id {
				l.mu.Unlock()
				return s
			}
		}
		all := fmt.Sprintf("%v", l.spans)
		l.mu.Unlock()
		if time.Now().After(end) {
			l.t.Fatalf("no span %s; there are %s", id, all)
		}
	}
}

// of is the segment of one origin in a trace.
func of(origin, root string) (string, func(*segment) bool) {
	return origin + " in " + root, func(s *segment) bool { return s.Origin == origin && s.TraceID == root && !s.InProgress }
}

func activeTracing(in *lambda.CreateFunctionInput) {
	in.TracingConfig = &types.TracingConfig{Mode: types.TracingModeActive}
}

// sends answers with its trace header, and sends datagrams to the address that the SDKs of X-Ray take from the
// environment: e.send of them, or e.raw as it is.
const sends = `const dgram = require('dgram'); let id = 0;
exports.handler = async (e) => {
  const header = process.env._X_AMZN_TRACE_ID, [host, port] = process.env.AWS_XRAY_DAEMON_ADDRESS.split(':');
  const member = (name) => (header.match(name + '=([^;]*)') || [])[1];
  if (e.fail) throw new Error('as asked');
  const s = dgram.createSocket('udp4');
  const now = Date.now() / 1000;
  const one = (text) => new Promise((done) => s.send(text, port, host, done));
  for (let i = 0; i < (e.send || 0); i++) {
    await one('{"format": "json", "version": 1}\n' + JSON.stringify({ name: e.name || 'sub', id: (0x1000000000000000n + BigInt(++id)).toString(16), type: 'subsegment', trace_id: member('Root'),
      parent_id: member('Parent'), start_time: now, end_time: now, pad: 'x'.repeat(e.pad || 0) }));
  }
  if (e.raw) await one(e.raw);
  s.close();
  return [header, process.env._AWS_XRAY_DAEMON_ADDRESS + ':' + process.env._AWS_XRAY_DAEMON_PORT, process.env.AWS_XRAY_CONTEXT_MISSING].join(' ');
}`

// traced invokes with headers.
func (f *deployed) traced(path, event string, headers ...string) (int, string) {
	f.t.Helper()
	req, err := http.NewRequest("POST", f.node.Endpoint()+path, strings.NewReader(event))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/eu-west-1/lambda/aws4_request, SignedHeaders=host, Signature=0")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		f.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func (f *deployed) invocations() string {
	return "/2015-03-31/functions/" + f.name + "/invocations"
}

var roots struct {
	sync.Mutex
	n int
}

// newRoot makes a trace of the test's own.
func newRoot() string {
	roots.Lock()
	defer roots.Unlock()
	roots.n++
	return fmt.Sprintf("1-%08x-%024x", time.Now().Unix(), roots.n)
}

// eachTracing runs a test on a server of each kind that was told where traces go.
func eachTracing(t *testing.T, test func(t *testing.T, s *server, l *listener)) {
	t.Parallel()
	for _, kind := range sandboxes {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			needRoot(t, kind)
			l := listenForTraces(t)
			s := openServerWith(t, kind, t.TempDir(), func(c *Config) {
				c.XRayDaemon, c.OTLPEndpoint, c.BlankSandboxes = l.udp.LocalAddr().String(), l.otlp.URL, 1
				c.delays = async.Delays{Retry: []time.Duration{50 * time.Millisecond, 100 * time.Millisecond}, First: 10 * time.Millisecond, Limit: 100 * time.Millisecond}
			})
			t.Cleanup(func() {
				if err := s.node.Close(context.Background()); err != nil {
					t.Errorf("close: %v", err)
				}
			})
			test(t, s, l)
		})
	}
}

// TestTraces: what is recorded of invocations reaches the daemon of X-Ray and the collector of OpenTelemetry that the
// server was told of, under the same ids, and with it what functions send themselves.
func TestTraces(t *testing.T) {
	eachTracing(t, func(t *testing.T, s *server, l *listener) {
		const caller = "53995c3f42cd8ad8"
		f := s.js(sends, activeTracing, func(in *lambda.CreateFunctionInput) {
			in.LoggingConfig = &types.LoggingConfig{LogFormat: types.LogFormatJson, SystemLogLevel: types.SystemLogLevelDebug}
		})
		root := newRoot()
		status, body := f.traced(f.invocations(), `{"send":3,"name":"mine"}`, "X-Amzn-Trace-Id", "Root="+root+";Parent="+caller+";Sampled=1")
		service, function := l.doc(of("AWS::Lambda", root)), l.doc(of("AWS::Lambda::Function", root))
		if names := function.subs(); !slices.Equal(names, []string{"Initialization", "Invocation", "Overhead"}) {
			t.Errorf("the first invocation has the subsegments %v", names)
		}
		invocation := function.sub("Invocation")
		if want := `"Root=` + root + ";Parent=" + invocation.ID + ";Sampled=1;Lineage=1:"; status != 200 || !strings.HasPrefix(body, want) || !strings.HasSuffix(body, ":2000 LOG_ERROR\"") && s.kind == "gvisor" {
			t.Errorf("the function has %d %s, want %s", status, body, want)
		}
		if service.ParentID != caller || function.ParentID != service.ID || service.HTTP.Response.Status != 200 || function.Start < service.Start {
			t.Errorf("segments:\n%+v\n%+v", service, function)
		}
		mine := l.doc("sent by the function", func(s *segment) bool { return s.Name == "mine" })
		if mine.ParentID != invocation.ID || mine.TraceID != root {
			t.Errorf("the function's subsegment: %+v", mine)
		}
		for _, id := range []string{service.ID, function.ID, invocation.ID} {
			span := l.span(id)
			if got := hex.EncodeToString(span.TraceId); got != strings.ReplaceAll(root[2:], "-", "") || l.of[id] != f.name {
				t.Errorf("span of %s in trace %s of %s", span.Name, got, l.of[id])
			}
		}
		// spec 4.4: the records name the segments.
		f.logs(`"platform.start","record":{"requestId":"`, `"tracing":{"spanId":"`+function.ID+`","type":"X-Amzn-Trace-Id","value":"Root=`+root+`;Parent=`+service.ID+`;Sampled=1"}`,
			`"tracing":{"spanId":"`+invocation.ID+`","type":"X-Amzn-Trace-Id","value":"Root=`+root+`;Parent=`+function.ID+`;Sampled=1"}`)

		t.Run("of a warm invocation by W3C's header", func(t *testing.T) {
			root := newRoot()
			w3c := "00-" + strings.ReplaceAll(root[2:], "-", "") + "-" + caller + "-01"
			f.traced(f.invocations(), `{}`, "Traceparent", w3c, "Tracestate", "vendor=x")
			function := l.doc(of("AWS::Lambda::Function", root))
			if names := function.subs(); !slices.Equal(names, []string{"Invocation", "Overhead"}) {
				t.Errorf("subsegments %v", names)
			}
			if service := l.doc(of("AWS::Lambda", root)); service.ParentID != caller || l.span(service.ID).TraceState != "vendor=x" {
				t.Errorf("%+v, state %q", service, l.span(service.ID).TraceState)
			}
		})
		t.Run("not of what the sender does not sample", func(t *testing.T) {
			root, next := newRoot(), newRoot()
			_, body := f.traced(f.invocations(), `{"send":1}`, "X-Amzn-Trace-Id", "Root="+root+";Parent="+caller+";Sampled=0")
			if want := "Root=" + root + ";Parent=" + caller + ";Sampled=0"; !strings.Contains(body, want) {
				t.Errorf("the function has %s", body)
			}
			f.traced(f.invocations(), `{}`, "X-Amzn-Trace-Id", "Root="+next+";Sampled=1")
			l.doc(of("AWS::Lambda::Function", next))
			l.mu.Lock()
			defer l.mu.Unlock()
			for _, d := range l.docs {
				if d.TraceID == root && d.Origin != "" {
					t.Errorf("recorded all the same: %+v", d)
				}
			}
		})
		t.Run("of an error", func(t *testing.T) {
			root := newRoot()
			f.traced(f.invocations(), `{"fail":true}`, "X-Amzn-Trace-Id", "Root="+root+";Sampled=1")
			if d := l.doc(of("AWS::Lambda::Function", root)); !d.Error || d.Fault || !d.sub("Invocation").Error {
				t.Errorf("%+v", d)
			}
		})
		t.Run("of an event and its second attempt", func(t *testing.T) {
			root := newRoot()
			status, _ := f.traced(f.invocations(), `{"fail":true}`, "X-Amz-Invocation-Type", "Event", "X-Amzn-Trace-Id", "Root="+root+";Parent="+caller+";Sampled=1")
			service := l.doc(of("AWS::Lambda", root))
			if names := service.subs(); status != 202 || !slices.Equal(names, []string{"Dwell Time", "Attempt #1", "Attempt #2", "Attempt #3"}) {
				t.Fatalf("%d, %v", status, names)
			}
			if service.ParentID != caller || service.HTTP.Response.Status != 202 || !service.Error || !service.sub("Attempt #3").Error {
				t.Errorf("%+v", service)
			}
			for _, attempt := range []string{"Attempt #1", "Attempt #3"} {
				l.doc("of "+attempt, func(s *segment) bool {
					return s.Origin == "AWS::Lambda::Function" && s.TraceID == root && s.ParentID == service.sub(attempt).ID
				})
				l.span(service.sub(attempt).ID)
			}
			l.span(service.sub("Dwell Time").ID)
		})
		t.Run("by a URL", func(t *testing.T) {
			root := newRoot()
			out, err := f.client.CreateFunctionUrlConfig(t.Context(), &lambda.CreateFunctionUrlConfigInput{FunctionName: &f.name, AuthType: types.FunctionUrlAuthTypeNone})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.client.AddPermission(t.Context(), &lambda.AddPermissionInput{FunctionName: &f.name, StatementId: aws.String("url"), Principal: aws.String("*"),
				Action: aws.String("lambda:InvokeFunctionUrl"), FunctionUrlAuthType: types.FunctionUrlAuthTypeNone}); err != nil {
				t.Fatal(err)
			}
			id, _, _ := strings.Cut(strings.TrimPrefix(aws.ToString(out.FunctionUrl), "http://"), ".")
			status, body := f.traced("/lambda-url/"+id+"/", `{}`, "X-Amzn-Trace-Id", "Root="+root+";Parent="+caller+";Sampled=1")
			if d := l.doc(of("AWS::Lambda::Function", root)); status != 200 || !strings.Contains(body, d.sub("Invocation").ID) {
				t.Errorf("%d %s, %+v", status, body, d)
			}
		})
		t.Run("of what a sandbox sends, a flood and nonsense apart", func(t *testing.T) {
			f.traced(f.invocations(), `{"raw":"anything"}`)
			f.traced(f.invocations(), `{"raw":"{\"format\":\"json\",\"version\":1}\n[]"}`)
			f.traced(f.invocations(), `{"send":200,"pad":30000,"name":"flood"}`)
			until(t, time.Minute, "a flood is dropped and nonsense refused", func() bool { return s.node.traces.flooded.Load() > 0 && s.node.traces.refused.Load() == 2 })
			until(t, time.Minute, "a datagram comes through again", func() bool {
				f.traced(f.invocations(), `{"send":1,"name":"after"}`)
				l.mu.Lock()
				defer l.mu.Unlock()
				return slices.ContainsFunc(l.docs, func(s segment) bool { return s.Name == "after" })
			})
		})
		t.Run("not under PassThrough", func(t *testing.T) { passThrough(t, s, l) })
		sdksSend(t, s, l)
		if s.kind == "gvisor" {
			t.Run("after a restore", func(t *testing.T) {
				f := s.js(sends, activeTracing, snapStart)
				f.publish()
				root := newRoot()
				_, body := f.traced(f.invocations()+"?Qualifier=1", `{"send":1,"name":"restored"}`, "X-Amzn-Trace-Id", "Root="+root+";Sampled=1")
				function := l.doc(of("AWS::Lambda::Function", root))
				if names := function.subs(); !slices.Equal(names, []string{"Restore", "Invocation", "Overhead"}) || !strings.Contains(body, " 169.254.100.1:2000 ") {
					t.Errorf("%v %s", names, body)
				}
				if d := l.doc("sent by the copy", func(s *segment) bool { return s.Name == "restored" }); d.ParentID != function.sub("Invocation").ID {
					t.Errorf("%+v", d)
				}
			})
		}
	})
}

// Without active tracing the header is handed on, and nothing is recorded; what the function sends itself arrives all the
// same. REPORT names a trace that is recorded. spec 4.7.
func passThrough(t *testing.T, s *server, l *listener) {
	f, g := s.js(sends), s.js(sends, activeTracing)
	root, other := newRoot(), newRoot()
	given := "Root=" + root + ";Parent=53995c3f42cd8ad8;Sampled=1"
	if _, body := f.traced(f.invocations(), `{"send":1,"name":"handed on"}`, "X-Amzn-Trace-Id", given); !strings.Contains(body, given+";Lineage=") {
		t.Errorf("the function has %s", body)
	}
	_, body := g.traced(g.invocations(), `{}`, "X-Amzn-Trace-Id", "Root="+other+";Sampled=1")
	function := l.doc(of("AWS::Lambda::Function", other))
	l.doc("the function's own", func(s *segment) bool { return s.Name == "handed on" && s.TraceID == root })
	l.mu.Lock()
	for _, d := range l.docs {
		if d.TraceID == root && d.Origin != "" {
			t.Errorf("recorded: %+v", d)
		}
	}
	l.mu.Unlock()
	g.logs("ms\t\nXRAY TraceId: " + other + "\tSegmentId: " + function.ID + "\tSampled: true\t\n")
	if _, parent, _ := strings.Cut(body, "Parent="); !strings.HasPrefix(parent, function.sub("Invocation").ID) {
		t.Errorf("%s, %+v", body, function)
	}
}
