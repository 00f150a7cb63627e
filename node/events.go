package node

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thaw/admin"
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

// eventsAdmin implements admin.Events: what `thaw async` shows and does.
type eventsAdmin struct{ q *async.Queue }

// List implements admin.Events.
func (e eventsAdmin) List(ctx context.Context) ([]admin.Backlog, error) {
	all, err := e.q.Backlog(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]admin.Backlog, 0, len(all))
	for _, b := range all {
		list = append(list, shownBacklog(b))
	}
	return list, nil
}

func shownBacklog(b async.Backlog) admin.Backlog {
	return admin.Backlog{Function: b.Lane.Name, Region: b.Lane.Region, Qualifier: string(b.Lane.Qualifier), Events: b.Events, Running: b.Running,
		Waiting: b.Waiting, Untold: b.Untold, Oldest: b.Oldest, Paused: b.Paused}
}

// Purge implements admin.Events.
func (e eventsAdmin) Purge(ctx context.Context, name string) ([]admin.Backlog, error) {
	name, qualifier, _ := strings.Cut(name, ":")
	all, err := e.q.Backlog(ctx)
	if err != nil {
		return nil, err
	}
	var list []admin.Backlog
	for _, b := range all {
		if b.Lane.Name != name || qualifier != "" && string(b.Lane.Qualifier) != qualifier {
			continue
		}
		if b.Events, err = e.q.Purge(ctx, b.Lane); err != nil {
			return nil, err
		}
		list = append(list, shownBacklog(b))
	}
	return list, nil
}
