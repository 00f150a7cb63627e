package node

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thaw/async"
	"thaw/destination"
)

// openEvents has asynchronous events taken and run, those of before first.
func (n *Node) openEvents(ctx context.Context) (err error) {
	n.events, err = async.Open(ctx, async.Options{Store: n.backlog, Invoker: n.plane.Invoker(), View: n.plane.View(), Sender: &destination.Sender{},
		Metrics: newEventMetrics(n.metrics.registry), Log: n.log, Concurrency: n.cfg.AsyncConcurrency, Delays: n.cfg.delays})
	if err != nil {
		return err
	}
	n.undo.Add(func() error { // when opening fails; Close has waited already
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		n.events.Close(ctx) //nolint:errcheck // what runs is told by who ends it
		return nil
	})
	n.api.Events = n.events
	return nil
}

// eventMetrics count what AWS calls AsyncEventsReceived, AsyncEventAge, AsyncEventsDropped and DestinationDeliveryFailures.
type eventMetrics struct {
	received, dropped, undelivered prometheus.Counter
	age                            prometheus.Histogram
}

func newEventMetrics(r *prometheus.Registry) *eventMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &eventMetrics{
		received:    counter("thaw_async_events_received_total", "Asynchronous events that were accepted."),
		dropped:     counter("thaw_async_events_dropped_total", "Asynchronous events that ended without success."),
		undelivered: counter("thaw_async_undelivered_total", "Destinations and dead-letter queues that were given up."),
		age: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "thaw_async_event_age_seconds",
			Help: "Time from the acceptance of an asynchronous event to its first attempt.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 13)}),
	}
	r.MustRegister(m.received, m.dropped, m.undelivered, m.age)
	return m
}

// Received implements async.Metrics, and so do the others.
func (m *eventMetrics) Received() { m.received.Inc() }

// Age is told how old an event is that goes to its function.
func (m *eventMetrics) Age(age time.Duration) { m.age.Observe(age.Seconds()) }

// Dropped counts an event that ended without success.
func (m *eventMetrics) Dropped() { m.dropped.Inc() }

// Undelivered counts a destination that was given up.
func (m *eventMetrics) Undelivered() { m.undelivered.Inc() }
