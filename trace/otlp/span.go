package otlp

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"

	"thaw/trace"
)

// located is a span of a resource of its own: one server has many functions, and each is a service to those who look.
type located struct {
	sdktrace.ReadOnlySpan
	of *resource.Resource
}

// Resource implements sdktrace.ReadOnlySpan.
func (l located) Resource() *resource.Resource { return l.of }

// segment makes the spans of a segment.
func (s *Sender) segment(g *trace.Segment) {
	root, err := oteltrace.TraceIDFromHex(trace.W3CTraceID(g.Root))
	if err != nil {
		return
	}
	state, err := oteltrace.ParseTraceState(g.State)
	if err != nil { // somebody else's mistake is no reason to lose the span
		state = oteltrace.TraceState{}
	}
	first := len(s.ended)
	kind := oteltrace.SpanKindInternal
	if g.Origin == trace.Service {
		kind = oteltrace.SpanKindServer
		if g.Of.Async {
			kind = oteltrace.SpanKindConsumer
		}
	}
	add := func(id, parent, name string, kind oteltrace.SpanKind, from, to time.Time, f trace.Fate, attrs ...attribute.KeyValue) {
		span := ids{trace: root}
		if span.span, err = oteltrace.SpanIDFromHex(id); err != nil {
			return
		}
		ctx := context.WithValue(context.Background(), idKey{}, span)
		above, err := oteltrace.SpanIDFromHex(parent)
		if err == nil {
			ctx = oteltrace.ContextWithRemoteSpanContext(ctx, oteltrace.NewSpanContext(oteltrace.SpanContextConfig{TraceID: root, SpanID: above,
				TraceFlags: oteltrace.FlagsSampled, TraceState: state, Remote: true}))
		}
		_, made := s.tracer.Start(ctx, name, oteltrace.WithTimestamp(from), oteltrace.WithSpanKind(kind), oteltrace.WithAttributes(attrs...))
		fate(made, f)
		made.End(oteltrace.WithTimestamp(to))
	}
	add(g.ID, g.Parent, g.Of.Name, kind, g.Begin, g.End, g.Fate, attributes(g)...)
	for _, p := range g.Parts {
		if p.Span == "" {
			continue
		}
		parent := p.Parent
		if parent == "" {
			parent = g.ID
		}
		add(p.ID, parent, p.Span, oteltrace.SpanKindInternal, p.Begin, p.End, p.Fate)
	}
	of := resourceOf(g)
	for i, span := range s.ended[first:] {
		s.ended[first+i] = located{span, of}
	}
}

func fate(span oteltrace.Span, f trace.Fate) {
	if f.ErrorType != "" {
		span.SetAttributes(attribute.String("error.type", f.ErrorType))
	}
	if f.Status != 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", f.Status))
	}
	if f.Error || f.Fault {
		span.SetStatus(codes.Error, f.ErrorType)
	}
}

// Source: OpenTelemetry semantic conventions, FaaS spans and resources.
func attributes(g *trace.Segment) []attribute.KeyValue {
	attrs := []attribute.KeyValue{attribute.String("faas.invocation_id", g.Of.RequestID), attribute.String("cloud.resource_id", g.Of.ARN)}
	for _, a := range g.Attributes {
		switch v := a.Value.(type) {
		case string:
			attrs = append(attrs, attribute.String(a.Name, v))
		case bool:
			attrs = append(attrs, attribute.Bool(a.Name, v))
		case int:
			attrs = append(attrs, attribute.Int(a.Name, v))
		}
	}
	return attrs
}

func resourceOf(g *trace.Segment) *resource.Resource {
	return resource.NewSchemaless(attribute.String("service.name", g.Of.Name), attribute.String("faas.name", g.Of.Name), attribute.String("faas.version", g.Of.Version),
		attribute.Int("faas.max_memory", g.Of.MemoryMiB<<20), attribute.String("cloud.account.id", g.Of.Account), attribute.String("cloud.region", g.Of.Region))
}
