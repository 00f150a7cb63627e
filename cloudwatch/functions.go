// Package cloudwatch counts what functions do in the metrics that CloudWatch has of Lambda, for a Prometheus to collect:
// Invocations is thaw_lambda_invocations_total, and so on, by function, by qualifier and by version. The metrics that
// functions themselves write, in the Embedded Metric Format, are thaw_embedded_metric.
//
// There is a series for what exists, and for nothing else: before each collection, and whenever many were added, those go
// whose function, alias or version has gone. Nothing is decided by any of it.
package cloudwatch

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thaw/function"
)

// Ended is an invocation that its environment has reported.
type Ended struct {
	Error    bool          // of the function: it failed, exited or timed out
	Duration time.Duration // that of the REPORT line: with extensions, without an Init before the invocation
	// Extensions is how long extensions went on when the runtime had finished; negative: there are none.
	Extensions time.Duration
}

// Functions count. Source of what counts as what: Lambda Developer Guide, "Types of metrics for Lambda functions".
type Functions struct {
	exists func(function.Resource) bool

	mu     sync.RWMutex
	series map[function.Resource]*series
	room   int // how many there may be before those are looked for whose function has gone

	invocations, errors, throttles, provisioned, spillover, looped *prometheus.CounterVec
	received, dropped, deadLetters, destinations                   *prometheus.CounterVec
	duration, extensions, age                                      *prometheus.HistogramVec
}

// series are those of one resource.
type series struct {
	invocations, errors, throttles, provisioned, spillover, looped prometheus.Counter
	received, dropped, deadLetters, destinations                   prometheus.Counter
	duration, extensions, age                                      prometheus.Observer
}

// fewSeries is how many resources are kept before anybody looks for those that have gone.
const fewSeries = 256

// NewFunctions makes one. exists tells which resources there are.
func NewFunctions(exists func(function.Resource) bool) *Functions {
	counter := func(name, help string, labels []string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "thaw_lambda_" + name, Help: help}, labels)
	}
	times := func(name, help string, buckets []float64, labels []string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "thaw_lambda_" + name, Help: help, Buckets: buckets}, labels)
	}
	ran, sent := []string{"region", "function", "qualifier", "version"}, []string{"region", "function", "qualifier"}
	return &Functions{exists: exists, series: map[function.Resource]*series{}, room: fewSeries,
		invocations: counter("invocations_total", "Invocations: the function ran, with or without an error; neither throttles nor failures of the platform.", ran),
		errors:      counter("errors_total", "Errors: invocations that ended in an error of the function, timeouts among them.", ran),
		throttles:   counter("throttles_total", "Throttles: requests that were refused with 429; they are no invocations.", ran),
		provisioned: counter("provisioned_concurrency_invocations_total", "ProvisionedConcurrencyInvocations: those that ran on provisioned concurrency.", ran),
		spillover:   counter("provisioned_concurrency_spillover_invocations_total", "ProvisionedConcurrencySpilloverInvocations: those that found all of it in use.", ran),
		looped:      counter("recursive_invocations_dropped_total", "RecursiveInvocationsDropped: those that the guard against loops stopped.", ran),
		duration:    times("duration_seconds", "Duration: that of the REPORT line.", prometheus.ExponentialBuckets(0.001, 2.5, 16), ran),
		extensions: times("post_runtime_extensions_duration_seconds", "PostRuntimeExtensionsDuration: what extensions took after the function had finished.",
			prometheus.ExponentialBuckets(0.0002, 4, 10), ran),
		received:    counter("async_events_received_total", "AsyncEventsReceived: events that were accepted.", sent),
		dropped:     counter("async_events_dropped_total", "AsyncEventsDropped: events that ended without success.", sent),
		deadLetters: counter("dead_letter_errors_total", "DeadLetterErrors: events that their dead-letter queue did not take.", sent),
		destinations: counter("destination_delivery_failures_total", "DestinationDeliveryFailures: events that their destination did not take.",
			sent),
		age: times("async_event_age_seconds", "AsyncEventAge: from the acceptance of an event to its first attempt.", prometheus.ExponentialBuckets(0.0005, 4, 13), sent),
	}
}

// Ended counts an invocation that reached its function.
func (f *Functions) Ended(r function.Resource, e Ended) {
	s := f.of(r)
	s.invocations.Inc()
	if e.Error {
		s.errors.Inc()
	}
	s.duration.Observe(e.Duration.Seconds())
	if e.Extensions >= 0 {
		s.extensions.Observe(e.Extensions.Seconds())
	}
}

// Throttled counts a request that was refused.
func (f *Functions) Throttled(r function.Resource) { f.of(r).throttles.Inc() }

// Provisioned counts an invocation of a version with provisioned concurrency; spilled: all of it was in use.
func (f *Functions) Provisioned(r function.Resource, spilled bool) {
	if spilled {
		f.of(r).spillover.Inc()
		return
	}
	f.of(r).provisioned.Inc()
}

// Looped counts an invocation that the guard against loops stopped.
func (f *Functions) Looped(r function.Resource) { f.of(r).looped.Inc() }

// Received counts an asynchronous event. Of events, resources have no version.
func (f *Functions) Received(r function.Resource) { f.of(r).received.Inc() }

// Age is told how old an event is that goes to its function for the first time.
func (f *Functions) Age(r function.Resource, age time.Duration) { f.of(r).age.Observe(age.Seconds()) }

// Dropped counts an event that ended without success.
func (f *Functions) Dropped(r function.Resource) { f.of(r).dropped.Inc() }

// Undelivered counts a destination or dead-letter queue that was given up.
func (f *Functions) Undelivered(r function.Resource, deadLetter bool) {
	if deadLetter {
		f.of(r).deadLetters.Inc()
		return
	}
	f.of(r).destinations.Inc()
}

// of returns a resource's series, which begin at 0 all together.
func (f *Functions) of(r function.Resource) *series {
	f.mu.RLock()
	s := f.series[r]
	f.mu.RUnlock()
	if s != nil {
		return s
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.series[r]; s != nil {
		return s
	}
	if len(f.series) >= f.room {
		f.pruneLocked()
		f.room = max(fewSeries, 2*len(f.series))
	}
	l := labelsOf(r)
	if r.Version == "" {
		s = &series{received: f.received.WithLabelValues(l...), dropped: f.dropped.WithLabelValues(l...), age: f.age.WithLabelValues(l...),
			deadLetters: f.deadLetters.WithLabelValues(l...), destinations: f.destinations.WithLabelValues(l...)}
	} else {
		s = &series{invocations: f.invocations.WithLabelValues(l...), errors: f.errors.WithLabelValues(l...), throttles: f.throttles.WithLabelValues(l...),
			provisioned: f.provisioned.WithLabelValues(l...), spillover: f.spillover.WithLabelValues(l...), looped: f.looped.WithLabelValues(l...),
			duration: f.duration.WithLabelValues(l...), extensions: f.extensions.WithLabelValues(l...)}
	}
	f.series[r] = s
	return s
}

// labelsOf are a resource's label values, with the version only where there is one.
func labelsOf(r function.Resource) []string {
	l := []string{r.Region, r.Name, string(r.Qualifier)}
	if r.Version != "" {
		l = append(l, string(r.Version))
	}
	return l
}

func (f *Functions) pruneLocked() {
	for r := range f.series {
		if f.exists(r) {
			continue
		}
		delete(f.series, r)
		for _, v := range f.vectors() {
			v.DeleteLabelValues(labelsOf(r)...) // nothing where the number of labels is another
		}
	}
}

// vector is what all of them have.
type vector interface {
	prometheus.Collector
	DeleteLabelValues(...string) bool
}

func (f *Functions) vectors() []vector {
	return []vector{f.invocations, f.errors, f.throttles, f.provisioned, f.spillover, f.looped, f.received, f.dropped, f.deadLetters, f.destinations, f.duration, f.extensions, f.age}
}

// Describe implements prometheus.Collector.
func (f *Functions) Describe(ch chan<- *prometheus.Desc) {
	for _, v := range f.vectors() {
		v.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (f *Functions) Collect(ch chan<- prometheus.Metric) {
	f.mu.Lock()
	f.pruneLocked()
	f.mu.Unlock()
	for _, v := range f.vectors() {
		v.Collect(ch)
	}
}

// known are the resources that something ran for, with 0.
func (f *Functions) known() map[function.Resource]int {
	f.mu.RLock()
	defer f.mu.RUnlock()
	all := make(map[function.Resource]int, len(f.series))
	for r := range f.series {
		if r.Version != "" {
			all[r] = 0
		}
	}
	return all
}
