package node

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thaw/admin"
	"thaw/eventsource/poller"
)

// depthLimit is how long a queue may take to say how much waits in it, when somebody looks.
const depthLimit = 2 * time.Second

// sourcesNow is what this server knows of event source mappings.
func (n *Node) sourcesNow(ctx context.Context) []admin.Source {
	ctx, cancel := context.WithTimeout(ctx, depthLimit)
	defer cancel()
	var list []admin.Source
	for _, st := range n.sources.Status(ctx) {
		m := st.Mapping
		s := admin.Source{ID: string(m.ID), Region: m.Function.Region, Kind: string(m.Kind), Pollers: st.Pollers,
			InFlight: st.InFlight, Lag: lagOf(st.Lag), BehindMs: behindOf(st.Behind),
			Held: st.Held, Oldest: st.Oldest}
		if e := st.Last; e != nil {
			s.Last = &admin.SourceBatch{At: e.At, Records: e.Records, Done: e.Done, RequestID: e.RequestID}
		}
		if t := st.Trouble; t != nil {
			s.Trouble = &admin.SourceTrouble{At: t.At, Cause: string(t.Cause), Code: t.Code, Text: t.Text, Detail: t.Detail}
		}
		for _, sh := range st.Shards {
			s.Shards = append(s.Shards, admin.SourceShard{ID: sh.ID, Lag: lagOf(sh.Lag), BehindMs: behindOf(sh.Behind), Held: sh.Held, Oldest: sh.Oldest})
		}
		list = append(list, s)
	}
	return list
}

// behindOf is nil for a time that nobody knows.
func behindOf(d time.Duration) *int64 {
	if d < 0 {
		return nil
	}
	return lagOf(d.Milliseconds())
}

// lagCollector tells, when it is scraped, how far this server's mappings are behind their sources. Queues are not asked.
type lagCollector func() []poller.Status

var (
	sourceLabels = []string{"region", "function", "mapping"}
	descLag      = prometheus.NewDesc("thaw_source_lag_records", "Records that wait in a source, in those shards and partitions that tell.", sourceLabels, nil)
	descBehind   = prometheus.NewDesc("thaw_source_behind_seconds", "How far reading is behind the end of a stream, in the shard that is farthest: MillisBehindLatest of Kinesis.", sourceLabels, nil)
)

// Describe implements prometheus.Collector.
func (lagCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- descLag
	ch <- descBehind
}

// Collect implements prometheus.Collector.
func (c lagCollector) Collect(ch chan<- prometheus.Metric) {
	for _, st := range c() {
		of := []string{st.Mapping.Function.Region, st.Mapping.Function.Name, string(st.Mapping.ID)}
		if st.Lag >= 0 {
			ch <- prometheus.MustNewConstMetric(descLag, prometheus.GaugeValue, float64(st.Lag), of...)
		}
		if st.Behind >= 0 {
			ch <- prometheus.MustNewConstMetric(descBehind, prometheus.GaugeValue, st.Behind.Seconds(), of...)
		}
	}
}

// lagOf is nil for a number that nobody knows.
func lagOf(n int64) *int64 {
	if n < 0 {
		return nil
	}
	return &n
}
