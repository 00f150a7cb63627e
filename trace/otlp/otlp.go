// Package otlp sends segments as spans of OpenTelemetry to a collector, over gRPC or HTTP. It is the only package that
// knows OpenTelemetry. The exporters read the SDK's own variables for what they are not told: OTEL_EXPORTER_OTLP_HEADERS,
// _TIMEOUT, _CERTIFICATE, and so on.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"

	"thaw/trace"
)

// The protocols. Source: OpenTelemetry specification, OTLP exporter configuration; Go's exporters have no http/json.
const (
	GRPC = "grpc"
	HTTP = "http/protobuf"
)

// Options say where spans go.
type Options struct {
	// Endpoint is the collector's URL, http://HOST:4318 for one; empty: what the SDK's variables say.
	Endpoint string
	Protocol string // GRPC, HTTP; empty: HTTP
	Version  string // of the server
}

// Sender is a trace.Sender. Its goroutines are those of the gRPC connection, and end with Close.
type Sender struct {
	exporter *otlptrace.Exporter
	provider *sdktrace.TracerProvider
	tracer   oteltrace.Tracer
	ended    []sdktrace.ReadOnlySpan // of the batch in the making
}

// Open makes a sender. The collector need not be there yet.
func Open(ctx context.Context, o Options) (*Sender, error) {
	client, err := clientOf(o)
	if err != nil {
		return nil, err
	}
	s := &Sender{}
	if s.exporter, err = otlptrace.New(ctx, client); err != nil {
		return nil, fmt.Errorf("exporter of spans: %w", err)
	}
	s.provider = sdktrace.NewTracerProvider(sdktrace.WithSampler(sdktrace.AlwaysSample()), sdktrace.WithIDGenerator(given{}), sdktrace.WithSpanProcessor(gathering{s}))
	s.tracer = s.provider.Tracer("thaw", oteltrace.WithInstrumentationVersion(o.Version))
	return s, nil
}

func clientOf(o Options) (otlptrace.Client, error) {
	if o.Endpoint != "" {
		if err := CheckEndpoint(o.Endpoint); err != nil {
			return nil, err
		}
	}
	switch o.Protocol {
	case GRPC:
		var opts []otlptracegrpc.Option
		if o.Endpoint != "" {
			opts = append(opts, otlptracegrpc.WithEndpointURL(o.Endpoint))
		}
		return otlptracegrpc.NewClient(opts...), nil
	case HTTP, "":
		var opts []otlptracehttp.Option
		if o.Endpoint != "" {
			opts = append(opts, otlptracehttp.WithEndpointURL(tracesURL(o.Endpoint)))
		}
		return otlptracehttp.NewClient(opts...), nil
	}
	return nil, fmt.Errorf("protocol %q of OTLP: it is %s or %s", o.Protocol, GRPC, HTTP)
}

// tracesURL is where spans go below an endpoint of all signals. An endpoint that has a path of its own is meant as it is.
// Source: OpenTelemetry specification, Endpoint URLs for OTLP/HTTP.
func tracesURL(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil || u.Path != "" && u.Path != "/" {
		return endpoint
	}
	return u.JoinPath("v1/traces").String()
}

// CheckEndpoint says what is wrong with an endpoint.
func CheckEndpoint(endpoint string) error {
	u, err := url.Parse(endpoint)
	switch {
	case err != nil:
		return err
	case u.Scheme != "http" && u.Scheme != "https", u.Host == "":
		return fmt.Errorf("%q is no URL of the form http://HOST:PORT", endpoint)
	}
	return nil
}

// Send implements trace.Sender.
func (s *Sender) Send(ctx context.Context, batch []trace.Item) error {
	s.ended = s.ended[:0]
	for _, i := range batch {
		if i.Segment != nil && !i.Segment.Open { // a span is sent once
			s.segment(i.Segment)
		}
	}
	if len(s.ended) == 0 {
		return nil
	}
	return s.exporter.ExportSpans(ctx, s.ended)
}

// closeLimit bounds the closing of connections.
const closeLimit = time.Second

// Close implements trace.Sender.
func (s *Sender) Close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit) // nothing is left to send, whatever became of it
	defer cancel()
	return errors.Join(s.provider.Shutdown(ctx), s.exporter.Shutdown(ctx))
}

// gathering gathers the spans that Send makes. All calls come from there.
type gathering struct{ s *Sender }

// OnStart implements sdktrace.SpanProcessor.
func (gathering) OnStart(context.Context, sdktrace.ReadWriteSpan) {}

// OnEnd implements sdktrace.SpanProcessor.
func (c gathering) OnEnd(span sdktrace.ReadOnlySpan) { c.s.ended = append(c.s.ended, span) }

// Shutdown implements sdktrace.SpanProcessor.
func (gathering) Shutdown(context.Context) error { return nil }

// ForceFlush implements sdktrace.SpanProcessor.
func (gathering) ForceFlush(context.Context) error { return nil }

// given has the SDK take ids from us: they are those of the segments.
type given struct{}

type idKey struct{}

type ids struct {
	trace oteltrace.TraceID
	span  oteltrace.SpanID
}

// NewIDs implements sdktrace.IDGenerator.
func (given) NewIDs(ctx context.Context) (oteltrace.TraceID, oteltrace.SpanID) {
	i, _ := ctx.Value(idKey{}).(ids)
	return i.trace, i.span
}

// NewSpanID implements sdktrace.IDGenerator.
func (given) NewSpanID(ctx context.Context, _ oteltrace.TraceID) oteltrace.SpanID {
	i, _ := ctx.Value(idKey{}).(ids)
	return i.span
}
