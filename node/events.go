package node

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thaw/admin"
	"thaw/async"
	"thaw/cloudwatch"
	"thaw/function"
)

// openEvents has asynchronous events taken and run, those of before first.
func (n *Node) openEvents(ctx context.Context) (err error) {
	n.events, err = async.Open(ctx, async.Options{Store: n.backlog, Invoker: n.plane.Invoker(), View: n.plane.View(),
		Tracer: traced{n.traces, n.plane.View()}, Sender: n.sender,
		Metrics: newEventMetrics(n.metrics.registry, n.metrics.of.functions), Log: n.log, Concurrency: n.cfg.AsyncConcurrency, Delays: n.cfg.delays})
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

// eventMetrics count events: of all functions, also of those that are deleted, and by function.
type eventMetrics struct {
	of                             *cloudwatch.Functions
	received, dropped, undelivered prometheus.Counter
	age                            prometheus.Histogram
}

func newEventMetrics(r *prometheus.Registry, of *cloudwatch.Functions) *eventMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	m := &eventMetrics{
		of:          of,
		received:    counter("thaw_async_events_received_total", "Asynchronous events that were accepted."),
		dropped:     counter("thaw_async_events_dropped_total", "Asynchronous events that ended without success."),
		undelivered: counter("thaw_async_undelivered_total", "Destinations and dead-letter queues that were given up."),
		age: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "thaw_async_event_age_seconds",
			Help: "Time from the acceptance of an asynchronous event to its first attempt.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 13)}),
	}
	r.MustRegister(m.received, m.dropped, m.undelivered, m.age)
	return m
}

// sender is how the events of a lane name their function.
func sender(l async.Lane) function.Resource {
	return function.Resource{Key: l.Key, Qualifier: l.Qualifier}
}

// Received implements async.Metrics, and so do the others.
func (m *eventMetrics) Received(l async.Lane) {
	m.received.Inc()
	m.of.Received(sender(l))
}

// Age is told how old an event is that goes to its function.
func (m *eventMetrics) Age(l async.Lane, age time.Duration) {
	m.age.Observe(age.Seconds())
	m.of.Age(sender(l), age)
}

// Dropped counts an event that ended without success.
func (m *eventMetrics) Dropped(l async.Lane) {
	m.dropped.Inc()
	m.of.Dropped(sender(l))
}

// Undelivered counts a destination that was given up.
func (m *eventMetrics) Undelivered(l async.Lane, deadLetter bool) {
	m.undelivered.Inc()
	m.of.Undelivered(sender(l), deadLetter)
}

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
