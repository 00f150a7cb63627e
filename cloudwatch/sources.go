package cloudwatch

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thaw/eventsource"
)

// Sources counts what event source mappings do, by mapping: PolledEventCount is thaw_lambda_polled_events_total, and so on.
// Source of what counts as what: Lambda Developer Guide, "Event source mapping metrics".
type Sources struct {
	counters []*prometheus.CounterVec
	age      *prometheus.HistogramVec
}

// The counters, by their place in Sources.
const (
	polled = iota
	filteredOut
	invoked
	failedInvoke
	deleted
	droppedRecords
	delivered
)

var sourceLabels = []string{"region", "function", "mapping"}

// NewSources makes one.
func NewSources() *Sources {
	s := &Sources{age: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "thaw_lambda_iterator_age_seconds",
		Help: "IteratorAge: how old the last record of a batch was when its function was first given it.", Buckets: prometheus.ExponentialBuckets(0.001, 4, 14)}, sourceLabels)}
	for _, c := range []struct{ name, help string }{
		polled:         {"polled_events_total", "PolledEventCount: records that were read."},
		filteredOut:    {"filtered_out_events_total", "FilteredOutEventCount: records that no filter let pass."},
		invoked:        {"invoked_events_total", "InvokedEventCount: records that a function was given, each time."},
		failedInvoke:   {"failed_invoke_events_total", "FailedInvokeEventCount: those of them that failed."},
		deleted:        {"deleted_events_total", "DeletedEventCount: messages that were deleted from their queue after success."},
		droppedRecords: {"dropped_events_total", "DroppedEventCount: records that were given up."},
		delivered:      {"on_failure_destination_delivered_events_total", "OnFailureDestinationDeliveredEventCount: those of them that a failure destination was told of."},
	} {
		s.counters = append(s.counters, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "thaw_lambda_" + c.name, Help: c.help}, sourceLabels))
	}
	return s
}

func (s *Sources) add(which int, m *eventsource.Mapping, n int) {
	s.counters[which].WithLabelValues(sourceOf(m)...).Add(float64(n))
}

func sourceOf(m *eventsource.Mapping) []string {
	return []string{m.Function.Region, m.Function.Name, string(m.ID)}
}

// Polled implements poller.Metrics, and so do the others.
func (s *Sources) Polled(m *eventsource.Mapping, n int) { s.add(polled, m, n) }

// FilteredOut counts records that no filter let pass.
func (s *Sources) FilteredOut(m *eventsource.Mapping, n int) { s.add(filteredOut, m, n) }

// Invoked counts records that a function was given.
func (s *Sources) Invoked(m *eventsource.Mapping, n int) { s.add(invoked, m, n) }

// FailedInvoke counts records with which the function failed.
func (s *Sources) FailedInvoke(m *eventsource.Mapping, n int) { s.add(failedInvoke, m, n) }

// Deleted counts messages that were deleted after success.
func (s *Sources) Deleted(m *eventsource.Mapping, n int) { s.add(deleted, m, n) }

// Dropped counts records that were given up.
func (s *Sources) Dropped(m *eventsource.Mapping, n int) { s.add(droppedRecords, m, n) }

// Delivered counts records that a failure destination was told of.
func (s *Sources) Delivered(m *eventsource.Mapping, n int) { s.add(delivered, m, n) }

// IteratorAge is told how old a record is that a function is first given.
func (s *Sources) IteratorAge(m *eventsource.Mapping, age time.Duration) {
	s.age.WithLabelValues(sourceOf(m)...).Observe(age.Seconds())
}

// Gone forgets a mapping that was deleted.
func (s *Sources) Gone(m *eventsource.Mapping) {
	l := sourceOf(m)
	for _, c := range s.counters {
		c.DeleteLabelValues(l...)
	}
	s.age.DeleteLabelValues(l...)
}

// Describe implements prometheus.Collector.
func (s *Sources) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range s.counters {
		c.Describe(ch)
	}
	s.age.Describe(ch)
}

// Collect implements prometheus.Collector.
func (s *Sources) Collect(ch chan<- prometheus.Metric) {
	for _, c := range s.counters {
		c.Collect(ch)
	}
	s.age.Collect(ch)
}
