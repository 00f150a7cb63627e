package trace

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"
)

const (
	root   = "1-5759e988-bd862e3fe1be46a994272793"
	parent = "53995c3f42cd8ad8"
)

// Every invocation has a trace header: the sender's, with what it lacks.
func TestComplete(t *testing.T) {
	t.Parallel()
	made := regexp.MustCompile(`^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0$`)
	seen := map[string]bool{}
	for given, want := range map[string]string{
		"Root=" + root + ";Parent=" + parent + ";Sampled=1":                    "",
		"Root=" + root + ";Parent=" + parent + ";Sampled=0;Lineage=1:abcdef:0": "",
		" Sampled=1 ; Root=" + root + ";Parent=" + parent + ";Self=x":          "Root=" + root + ";Parent=" + parent + ";Sampled=1;Self=x",
		"Root=" + root: "^Root=" + root + ";Parent=[0-9a-f]{16};Sampled=0$",
		"Root=" + root + ";Parent=nonsense;Sampled=?": "^Root=" + root + ";Parent=[0-9a-f]{16};Sampled=0$",
		"":                               made.String(),
		"Sampled=1;Lineage=1:037bed70:3": "^Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0;Lineage=1:037bed70:3$",
		"Sampled=1":                      made.String(),
		"Root=1-zzzze988-bd862e3fe1be46a994272793;Parent=" + parent + ";Sampled=1": made.String(),
		"Root=" + strings.ToUpper(root):                                            made.String(),
	} {
		if want == "" {
			want = given
		}
		if !strings.HasPrefix(want, "^") {
			want = "^" + regexp.QuoteMeta(want) + "$"
		}
		got := Complete(given)
		if !regexp.MustCompile(want).MatchString(got) || seen[got] {
			t.Errorf("%q became %q, want %s", given, got, want)
		}
		if again := Complete(got); again != got {
			t.Errorf("%q is complete and became %q", got, again)
		}
		seen[got] = true
	}
}

// Under Active a sender's decision holds, where there is none the sampler's does; what is sampled is recorded, and the
// function's own subsegments hang below the Invocation. Under PassThrough nothing is recorded.
func TestAdmit(t *testing.T) {
	t.Parallel()
	const known = "Root=" + root + ";Parent=" + parent
	yes, no := func() bool { return true }, func() bool { return false }
	for _, c := range []struct {
		name, tracing, given string
		sample               func() bool
		want                 Decision
		recorded             bool
	}{
		{"PassThrough hands a sampled trace on", "PassThrough", known + ";Sampled=1", yes, Sampled, false},
		{"PassThrough decides nothing", "PassThrough", known, yes, NotSampled, false},
		{"PassThrough makes a trace", "PassThrough", "", yes, NotSampled, false},
		{"Active records what the sender sampled", Active, known + ";Sampled=1", no, Sampled, true},
		{"Active leaves what the sender did not sample", Active, known + ";Sampled=0", yes, NotSampled, false},
		{"Active decides when asked", Active, known + ";Sampled=?", yes, Sampled, true},
		{"Active decides when not told", Active, known, no, NotSampled, false},
		{"Active begins a trace", Active, "", yes, Sampled, true},
		{"Active begins a trace that the sender wants sampled", Active, "Sampled=1", no, Sampled, true},
	} {
		header, segments := Admit(c.tracing, c.given, "id", 0, c.sample)
		h := ParseHeader(header)
		if h.Sampled != c.want || (segments.Service != "") != c.recorded {
			t.Errorf("%s: %s, %+v", c.name, header, segments)
		}
		if c.given != "" && strings.Contains(c.given, "Root") != (h.Root == root) || h.Root == "" || h.Parent == "" {
			t.Errorf("%s: %s of %s", c.name, header, c.given)
		}
		if want := map[bool]string{true: segments.Invocation, false: h.Parent}[c.recorded]; h.Parent != want {
			t.Errorf("%s: the function has the parent %s, want %s", c.name, h.Parent, want)
		}
	}
}

func TestFromHTTP(t *testing.T) {
	t.Parallel()
	const w3c, mapped = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01", "Root=" + root + ";Parent=" + parent + ";Sampled=1"
	for _, c := range []struct{ name, xray, traceparent, state, header, kept string }{
		{"W3C alone", "", w3c, "a=b", mapped, "a=b"},
		{"X-Ray comes first", "Root=" + root, w3c, "a=b", "Root=" + root, ""},
		{"an X-Ray header without a trace does not", "Sampled=1", w3c, "a=b", mapped, "a=b"},
		{"not sampled", "", strings.TrimSuffix(w3c, "1") + "0", "", strings.TrimSuffix(mapped, "1") + "0", ""},
		{"nonsense", "", "00-x", "a=b", "", ""},
		{"too much state", "", w3c, "a=" + strings.Repeat("b", 600), mapped, ""},
	} {
		header, kept := FromHTTP(c.xray, c.traceparent, []string{c.state})
		if header != c.header || kept != c.kept {
			t.Errorf("%s: %q %q, want %q %q", c.name, header, kept, c.header, c.kept)
		}
	}
	if got := W3CTraceID(root); got != "5759e988bd862e3fe1be46a994272793" {
		t.Errorf("the other way: %s", got)
	}
}

// FuzzW3C compares with OpenTelemetry's own reading.
func FuzzW3C(f *testing.F) {
	for _, s := range []string{"00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01", "cc-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01-more",
		"ff-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01", "00-00000000000000000000000000000000-53995c3f42cd8ad8-01", "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if strings.TrimSpace(s) != s {
			return
		}
		theirs := oteltrace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": s}))
		h := ParseHeader(FromW3C(s))
		if !theirs.IsValid() {
			return // OpenTelemetry refuses flags that are not known yet, which W3C has everybody ignore
		}
		if W3CTraceID(h.Root) != theirs.TraceID().String() || h.Parent != theirs.SpanID().String() || (h.Sampled == Sampled) != theirs.IsSampled() {
			t.Errorf("%q: %+v, OpenTelemetry reads %v", s, h, theirs)
		}
	})
}

// FuzzHeader: what was read and written is read the same, and is one line.
func FuzzHeader(f *testing.F) {
	f.Add("Root=" + root + ";Parent=" + parent + ";Sampled=1;Lineage=a:0")
	f.Add("Sampled=?;;=;Root=\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		h := ParseHeader(s)
		if text := h.String(); ParseHeader(text) != h || strings.ContainsAny(text, "\r\n\x00") {
			t.Errorf("%q: %+v, and then %+v", s, h, ParseHeader(text))
		}
	})
}
