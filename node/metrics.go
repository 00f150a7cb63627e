package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"thaw/pool"
)

// metrics are what /metrics shows. Nothing is decided by them.
type metrics struct {
	registry            *prometheus.Registry
	stages              *prometheus.HistogramVec
	invokes             *prometheus.HistogramVec
	restores, fallbacks prometheus.Counter
	of                  *perFunction
}

// Stages of a cold start, a closed set; a backend's own stages keep their names behind "sandbox".
var stageNames = map[string]string{"place": "place", "guest up": "guest_up", "start runtime": "start_runtime", "init": "init",
	"load snapshot": "load_snapshot", "hooks": "restore_hooks"}

func newMetrics(p func() pool.Counts, used func() pool.InUse) *metrics {
	m := &metrics{registry: prometheus.NewRegistry(),
		stages: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "thaw_cold_start_stage_seconds", Help: "Time of each stage of a cold start.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16)}, []string{"stage"}),
		invokes: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "thaw_invoke_seconds", Help: "Time of invocations from their arrival to their answer, by outcome.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 20)}, []string{"outcome"})}
	m.restores = prometheus.NewCounter(prometheus.CounterOpts{Name: "thaw_restores_total", Help: "Environments that were restored from a snapshot, spares among them."})
	m.fallbacks = prometheus.NewCounter(prometheus.CounterOpts{Name: "thaw_restore_fallbacks_total", Help: "Restores that failed and became an Init."})
	m.registry.MustRegister(m.restores, m.fallbacks, m.stages, m.invokes, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), poolCollector(p))
	m.of = newPerFunction(m.registry, used)
	return m
}

// late is told how late schedules are fired.
func (m *metrics) late() func(time.Duration) {
	h := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "thaw_schedule_late_seconds", Help: "Time from when a schedule or a rule was due until what it sends was on disk.",
		Buckets: []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60}})
	m.registry.MustRegister(h)
	return func(late time.Duration) { h.Observe(late.Seconds()) }
}

func (m *metrics) stage(name string, took time.Duration) {
	label, ok := stageNames[name]
	if !ok {
		label = "sandbox"
	}
	m.stages.WithLabelValues(label).Observe(took.Seconds())
}

// poolCollector reads the pool's counts when it is scraped.
type poolCollector func() pool.Counts

var (
	descCold         = prometheus.NewDesc("thaw_cold_starts_total", "Environments that were started for an invocation.", nil, nil)
	descWarm         = prometheus.NewDesc("thaw_warm_invokes_total", "Invocations that found an environment ready.", nil, nil)
	descThrottled    = prometheus.NewDesc("thaw_throttles_total", "Invocations refused with 429.", nil, nil)
	descEnvironments = prometheus.NewDesc("thaw_environments", "Execution environments, in any state.", nil, nil)
	descIdle         = prometheus.NewDesc("thaw_environments_idle", "Execution environments that an invocation would find ready.", nil, nil)
	descWaiting      = prometheus.NewDesc("thaw_invokes_waiting", "Invocations that wait for an environment.", nil, nil)
	descSpares       = prometheus.NewDesc("thaw_spares", "Environments that were restored ahead of demand and wait for their first invocation.", nil, nil)
	descSpareStarts  = prometheus.NewDesc("thaw_spare_starts_total", "Restores ahead of demand.", nil, nil)
	descSpareClaims  = prometheus.NewDesc("thaw_spare_claims_total", "Invocations that found a spare ready; thaw_warm_invokes_total counts them, too.", nil, nil)
	descSpareLost    = prometheus.NewDesc("thaw_spare_failures_total", "Spares that could not be restored, or ended by themselves before anybody used them.", nil, nil)
	descInFlight     = prometheus.NewDesc("thaw_invokes_in_flight", "Invocations that count against concurrency.", nil, nil)
)

// Describe implements prometheus.Collector.
func (poolCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descCold, descWarm, descThrottled, descEnvironments, descIdle, descWaiting, descInFlight,
		descSpares, descSpareStarts, descSpareClaims, descSpareLost} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (p poolCollector) Collect(ch chan<- prometheus.Metric) {
	c := p()
	counter := func(d *prometheus.Desc, v uint64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v))
	}
	gauge := func(d *prometheus.Desc, v int) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v))
	}
	counter(descCold, c.Cold)
	counter(descWarm, c.Warm)
	counter(descThrottled, c.Throttled)
	gauge(descEnvironments, c.Environments)
	gauge(descIdle, c.Idle)
	gauge(descWaiting, c.Waiting)
	gauge(descInFlight, c.InFlight)
	gauge(descSpares, c.Spares)
	counter(descSpareStarts, c.SpareStarts)
	counter(descSpareClaims, c.SpareClaims)
	counter(descSpareLost, c.SpareFailures)
}
