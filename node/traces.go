package node

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thaw/async"
	"thaw/function"
	"thaw/guest/wire"
	"thaw/invoke"
	"thaw/pool"
	"thaw/trace"
	"thaw/trace/otlp"
	"thaw/trace/xray"
)

// traces decides about traces, and has what is recorded sent to whom the server was told of: nobody, unless it was.
type traces struct {
	sampler *trace.Sampler
	to      []outlet
	xray    *trace.Queue // the one of them that takes datagrams of functions; nil: there is none
	once    sync.Once
	closed  error

	refused, flooded atomic.Uint64 // datagrams of functions
}

// outlet is a queue and its label in metrics.
type outlet struct {
	*trace.Queue
	name string
}

// spanLinger is how long spans wait for company: a request to a collector costs more than a datagram.
const spanLinger = time.Second

func openTraces(ctx context.Context, c Config, log *slog.Logger) (*traces, error) {
	t := &traces{sampler: trace.NewSampler()}
	open := func(name string, s trace.Sender, linger time.Duration) *trace.Queue {
		q := trace.OpenQueue(name, s, linger, log)
		t.to = append(t.to, outlet{q, name})
		return q
	}
	if c.XRayDaemon != "" {
		s, err := xray.Dial(c.XRayDaemon)
		if err != nil {
			return nil, err
		}
		t.xray = open("xray", s, 0)
	}
	if o, ok := c.otlp(); ok {
		s, err := otlp.Open(ctx, o)
		if err != nil {
			return nil, errors.Join(err, t.Close(ctx))
		}
		open("otlp", s, spanLinger)
	}
	return t, nil
}

// otlp says where spans go; false: nowhere. Source: OpenTelemetry specification, SDK environment variables.
func (c *Config) otlp() (otlp.Options, bool) {
	variable := func(names ...string) string {
		for _, name := range names {
			if c.variables != nil {
				if v, _ := c.variables(name); v != "" {
					return v
				}
			}
		}
		return ""
	}
	o := otlp.Options{Endpoint: c.OTLPEndpoint, Protocol: c.OTLPProtocol, Version: Version}
	if o.Protocol == "" {
		o.Protocol = variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
	}
	if o.Endpoint != "" {
		return o, true
	}
	exporter := variable("OTEL_TRACES_EXPORTER")
	told := variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT") != ""
	return o, told && variable("OTEL_SDK_DISABLED") != "true" && (exporter == "" || exporter == "otlp")
}

// flushLimit bounds how long a stopping server tries to send what is left. The whole stop has its own limit.
const flushLimit = 3 * time.Second

// Close sends what is left and ends the queues.
func (t *traces) Close(ctx context.Context) error {
	t.once.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, flushLimit)
		defer cancel()
		var all sync.WaitGroup
		errs := make([]error, len(t.to))
		for i, o := range t.to {
			all.Go(func() { errs[i] = o.Close(ctx) })
		}
		all.Wait()
		t.closed = errors.Join(errs...)
	})
	return t.closed
}

func (t *traces) offer(s *trace.Segment) {
	for _, o := range t.to {
		o.Offer(trace.Item{Segment: s})
	}
}

// environment makes what takes the datagrams of one environment; nil: nobody wants them. A sandbox may be an enemy's, and so
// may its guest: what is more than a guest lets through is dropped here, and does not crowd out that of others.
func (t *traces) environment() func(datagram []byte, dropped int64) {
	if t.xray == nil {
		return nil
	}
	budget := wire.Budget{Burst: 2 * wire.SegmentBurst, Rate: 2 * wire.SegmentRate}
	return func(datagram []byte, dropped int64) {
		if dropped > 0 {
			t.flooded.Add(uint64(dropped))
		}
		if len(datagram) == 0 {
			return
		}
		if !budget.Afford(len(datagram), time.Now()) {
			t.flooded.Add(1)
			return
		}
		if trace.Check(datagram) != nil {
			t.refused.Add(1)
			return
		}
		t.xray.Offer(trace.Item{Datagram: datagram})
	}
}

// Begin implements invoke.Tracer.
func (t *traces) Begin(v *function.Version, r *invoke.Request, i *function.Invocation) func(*function.Outcome, error) {
	i.TraceID, i.Segments = trace.Admit(v.Tracing, i.TraceID, i.RequestID, r.Attempt, func() bool { return t.sampler.Sample(r.Function) })
	if i.Segments.Service == "" || len(t.to) == 0 {
		return nil
	}
	given := trace.ParseHeader(r.TraceID)
	rec := &trace.Recorded{Of: recordedOf(v, r.RequestID, r.InvokedARN), Root: trace.ParseHeader(i.TraceID).Root, State: i.TraceState, Arrived: r.Arrived, IDs: i.Segments}
	if given.Root != "" {
		rec.Parent = given.Parent
	}
	rec.Async = r.Attempt > 0
	i.Timed = func(times *function.Timings) { t.offer(rec.Executed(times)) }
	if rec.Async {
		return nil // the queue knows of its other attempts
	}
	return func(o *function.Outcome, err error) { t.offer(rec.Answered(time.Now(), fateOf(o, err))) }
}

func recordedOf(v *function.Version, requestID string, invoked function.ARN) trace.Of {
	return trace.Of{Name: v.Name, Version: string(v.Number), Account: v.Account, Region: v.Region, ARN: string(invoked), MemoryMiB: v.MemoryMiB, RequestID: requestID}
}

// fateOf is how a sender sees the end of an invocation. The codes are those of api's answers.
func fateOf(o *function.Outcome, err error) trace.Fate {
	var restore *pool.RestoreFailedError
	switch {
	case err == nil:
		return trace.Fate{Status: 200, Error: o.FunctionError != "" || o.StreamErrorType != "", ErrorType: o.FunctionError}
	case errors.As(err, new(*pool.ThrottledError)):
		return trace.Fate{Status: 429, Error: true, Throttled: true, ErrorType: "TooManyRequestsException"}
	case errors.As(err, &restore) && restore.Timeout:
		return trace.Fate{Status: 408, Error: true, ErrorType: "SnapStartTimeoutException"}
	case errors.As(err, &restore):
		return trace.Fate{Status: 400, Error: true, ErrorType: "SnapStartException"}
	case errors.Is(err, context.Canceled): // the sender left
		return trace.Fate{Error: true}
	}
	return trace.Fate{Status: 500, Fault: true, ErrorType: "ServiceException"}
}

// traced implements async.Tracer.
type traced struct {
	*traces
	view *function.View
}

// Accepted implements async.Tracer.
func (t traced) Accepted(e *async.Event) string {
	if entry := t.view.Get(e.Lane.Key); entry != nil {
		if v := entry.Route(e.Lane.Qualifier, rand.Float64()); v != nil && v.Config.Tracing == trace.Active {
			return trace.Decide(e.TraceID, func() bool { return t.sampler.Sample(e.Lane.Key) }).String()
		}
	}
	return trace.Complete(e.TraceID)
}

// Tried implements async.Tracer.
func (t traced) Tried(e *async.Event, tries []async.Try, ended bool) {
	if len(t.to) == 0 || len(tries) == 0 {
		return
	}
	h := trace.ParseHeader(e.TraceID)
	entry := t.view.Get(e.Lane.Key)
	if entry == nil || h.Sampled != trace.Sampled {
		return
	}
	v := entry.Serving(tries[len(tries)-1].Answer.Version)
	if v == nil || v.Tracing != trace.Active {
		return
	}
	rec := &trace.Recorded{Of: recordedOf(v, e.RequestID, e.InvokedARN), Root: h.Root, Parent: h.Parent, State: e.TraceState, Arrived: e.Accepted,
		IDs: function.Segments{Service: trace.ServiceID(e.RequestID)}}
	rec.Async = true
	attempts := make([]trace.Attempt, len(tries))
	for i, a := range tries {
		attempts[i] = trace.Attempt{From: a.From, To: a.To, Status: a.Answer.Code, ErrorType: a.Answer.Error}
	}
	t.offer(rec.Tried(attempts, ended))
}

var (
	descTracesSent    = prometheus.NewDesc("thaw_traces_sent_total", "Segments that were sent, and datagrams of functions.", []string{"to"}, nil)
	descTracesFailed  = prometheus.NewDesc("thaw_traces_failed_total", "Segments that could not be sent.", []string{"to"}, nil)
	descTracesDropped = prometheus.NewDesc("thaw_traces_dropped_total", "Segments that came faster than they could be sent.", []string{"to"}, nil)
	descFlooded       = prometheus.NewDesc("thaw_function_segments_dropped_total", "Datagrams that functions sent to the daemon of X-Ray faster than they may.", nil, nil)
	descRefused       = prometheus.NewDesc("thaw_function_segments_refused_total", "Datagrams of functions to the daemon of X-Ray that were none of its protocol.", nil, nil)
)

// Describe implements prometheus.Collector.
func (t *traces) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descTracesSent, descTracesFailed, descTracesDropped, descFlooded, descRefused} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (t *traces) Collect(ch chan<- prometheus.Metric) {
	counter := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	for _, o := range t.to {
		c := o.Counts()
		counter(descTracesSent, c.Sent, o.name)
		counter(descTracesFailed, c.Failed, o.name)
		counter(descTracesDropped, c.Dropped, o.name)
	}
	if t.xray != nil {
		counter(descFlooded, t.flooded.Load())
		counter(descRefused, t.refused.Load())
	}
}
