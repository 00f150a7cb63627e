package cloudwatch

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"thaw/cloudwatch/emf"
	"thaw/function"
)

// Bounds of what functions write. A function at its bound has no more of it; the others notice nothing.
const (
	queueBytes      = 8 << 20 // of lines that are not read yet, of all functions
	queueOneBytes   = 1 << 20 // of one
	seriesOne       = 1000    // of one function
	seriesAll       = 10_000
	labelBytesOne   = 1 << 20 // names and values, of one function
	labelBytesAll   = 16 << 20
	lookAtFunctions = 256 // with so many, those are looked for that have gone
)

// Embedded keeps the metrics that functions write into their logs. Lines are read by a goroutine of its own.
type Embedded struct {
	exists func(function.Key) bool
	wake   chan struct{} // buffered
	stop   chan struct{}
	done   chan struct{}

	mu    sync.Mutex
	lines []written // not read yet, oldest first
	bytes int
	of    map[function.Key]*embedded
	total struct{ series, bytes int }
	room  int // functions, before those that have gone are looked for

	refused map[string]uint64 // by reason
}

type written struct {
	key  function.Key
	line string
}

// embedded is what one function wrote.
type embedded struct {
	waiting int // bytes of its lines that are not read yet
	bytes   int // of labels
	series  map[string]*statistic
}

// statistic is one series.
type statistic struct {
	labels, values []string
	count          uint64
	sum, last      float64
}

// NewEmbedded makes one; Close ends it. exists tells which functions there are.
func NewEmbedded(exists func(function.Key) bool) *Embedded {
	e := &Embedded{exists: exists, wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}), of: map[function.Key]*embedded{},
		room: lookAtFunctions, refused: map[string]uint64{}}
	go e.read()
	return e
}

// Close ends the reading. Lines that come later go nowhere.
func (e *Embedded) Close() {
	close(e.stop)
	<-e.done
}

// Line takes a line of a function's log, whatever is in it. It does not wait.
func (e *Embedded) Line(k function.Key, line string) {
	if !emf.Looks(line) {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	f := e.functionLocked(k)
	if e.bytes+len(line) > queueBytes || f.waiting+len(line) > queueOneBytes {
		e.refused[tooFast]++
		return
	}
	e.lines = append(e.lines, written{k, line})
	e.bytes += len(line)
	f.waiting += len(line)
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Reasons why a document, or a part of one, does not count.
const (
	tooFast    = "too_fast"
	invalid    = "invalid"
	tooMany    = "too_many_series"
	refusedHow = "Documents of the Embedded Metric Format, or metrics of them, that do not count: invalid, written faster than they are read, or too many different ones."
)

func (e *Embedded) functionLocked(k function.Key) *embedded {
	f := e.of[k]
	if f != nil {
		return f
	}
	if len(e.of) >= e.room {
		e.pruneLocked()
		e.room = max(lookAtFunctions, 2*len(e.of))
	}
	f = &embedded{series: map[string]*statistic{}}
	e.of[k] = f
	return f
}

func (e *Embedded) pruneLocked() {
	for k, f := range e.of {
		if f.waiting == 0 && !e.exists(k) {
			e.total.series -= len(f.series)
			e.total.bytes -= f.bytes
			delete(e.of, k)
		}
	}
}

func (e *Embedded) read() {
	defer close(e.done)
	for {
		select {
		case <-e.stop:
			return
		case <-e.wake:
		}
		e.mu.Lock()
		batch := e.lines
		e.lines = nil
		e.mu.Unlock()
		for _, w := range batch {
			points, err := emf.Parse(w.line)
			e.mu.Lock()
			e.bytes -= len(w.line)
			f := e.of[w.key] // with lines that wait it is not pruned
			f.waiting -= len(w.line)
			if err != nil {
				e.refused[invalid]++
			}
			for _, p := range points {
				e.addLocked(w.key, f, p)
			}
			e.mu.Unlock()
		}
	}
}

func (e *Embedded) addLocked(k function.Key, f *embedded, p emf.Point) {
	labels, values := labelled(k, p)
	id := strings.Join(labels, "\x00") + "\x01" + strings.Join(values, "\x00")
	s := f.series[id]
	if s == nil {
		n := 2 * len(id)
		if len(f.series) >= seriesOne || f.bytes+n > labelBytesOne || e.total.series >= seriesAll || e.total.bytes+n > labelBytesAll {
			e.refused[tooMany]++
			return
		}
		s = &statistic{labels: labels, values: values}
		f.series[id] = s
		f.bytes += n
		e.total.series++
		e.total.bytes += n
	}
	for _, v := range p.Values {
		s.sum += v
		s.last = v
	}
	s.count += uint64(len(p.Values))
}

// labelled are the labels of a point. Names of dimensions become ones that Prometheus has; two that become the same are
// told apart by their place. That also two sets of dimensions may become the same does no harm: then they are one series.
func labelled(k function.Key, p emf.Point) (labels, values []string) {
	of := make(map[string]string, len(p.Dimensions))
	for _, d := range p.Dimensions {
		name := "dimension_" + strings.Map(labelRune, d.Name)
		for _, taken := of[name]; taken; _, taken = of[name] {
			name += "_"
		}
		of[name] = separable(d.Value)
	}
	labels = append(make([]string, 0, 5+len(of)), "region", "function", "namespace", "metric", "unit")
	values = append(make([]string, 0, 5+len(of)), k.Region, k.Name, separable(p.Namespace), separable(p.Name), p.Unit)
	for _, name := range slices.Sorted(maps.Keys(of)) {
		labels, values = append(labels, name), append(values, of[name])
	}
	return labels, values
}

func labelRune(r rune) rune {
	if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
		return r
	}
	return '_'
}

// separable takes out the characters that separate values in a series' identity.
func separable(s string) string {
	return strings.NewReplacer("\x00", "\uFFFD", "\x01", "\uFFFD").Replace(s)
}

var refusedDesc = prometheus.NewDesc("thaw_embedded_metrics_refused_total", refusedHow, []string{"reason"}, nil)

// Describe implements prometheus.Collector: nothing, because labels come with the documents.
func (e *Embedded) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (e *Embedded) Collect(ch chan<- prometheus.Metric) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pruneLocked()
	for _, reason := range []string{tooFast, invalid, tooMany} {
		ch <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(e.refused[reason]), reason)
	}
	for _, f := range e.of {
		for _, s := range f.series {
			all := prometheus.NewDesc("thaw_embedded_metric", "Metrics that functions wrote in the Embedded Metric Format: sum and number of their values.", s.labels, nil)
			last := prometheus.NewDesc("thaw_embedded_metric_last", "The last value of each.", s.labels, nil)
			ch <- prometheus.MustNewConstSummary(all, s.count, s.sum, nil, s.values...)
			ch <- prometheus.MustNewConstMetric(last, prometheus.GaugeValue, s.last, s.values...)
		}
	}
}
