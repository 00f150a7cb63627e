package cloudwatch

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"

	"thaw/function"
	"thaw/pool"
)

// Usage is the concurrency that is in use, read when it is collected.
type Usage struct {
	InUse     func() pool.InUse
	View      func() *function.View // nil: it is not there yet
	Functions *Functions            // what has a series has a 0 here, too
}

var (
	executionsDesc = prometheus.NewDesc("thaw_lambda_concurrent_executions", "ConcurrentExecutions: invocations that count against concurrency.",
		[]string{"region", "function", "qualifier", "version"}, nil)
	unreservedDesc  = prometheus.NewDesc("thaw_lambda_unreserved_concurrent_executions", "UnreservedConcurrentExecutions: those of functions without reserved concurrency.", nil, nil)
	claimedDesc     = prometheus.NewDesc("thaw_lambda_claimed_account_concurrency", "ClaimedAccountConcurrency: what is not there for functions without a reservation.", nil, nil)
	provisionedDesc = prometheus.NewDesc("thaw_lambda_provisioned_concurrent_executions", "ProvisionedConcurrentExecutions: invocations on provisioned concurrency.",
		[]string{"region", "function", "version"}, nil)
	utilizationDesc = prometheus.NewDesc("thaw_lambda_provisioned_concurrency_utilization", "ProvisionedConcurrencyUtilization: the part of it that is in use, 0 to 1.",
		[]string{"region", "function", "version"}, nil)
)

// Describe implements prometheus.Collector.
func (Usage) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{executionsDesc, unreservedDesc, claimedDesc, provisionedDesc, utilizationDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (u Usage) Collect(ch chan<- prometheus.Metric) {
	view := u.View()
	if view == nil {
		return
	}
	used := u.InUse()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	unreserved := 0
	executions := u.Functions.known()
	maps.Copy(executions, used.Named)
	for r, n := range executions {
		if e := view.Get(r.Key); e != nil && e.Record.Reserved == nil {
			unreserved += n
		}
		if view.Has(r) {
			gauge(executionsDesc, float64(n), labelsOf(r)...)
		}
	}
	gauge(unreservedDesc, float64(unreserved))
	gauge(claimedDesc, float64(used.Unreserved+view.Reserved()+view.Provisioned()))
	for _, e := range view.All() {
		if len(e.Record.Provisioned) == 0 {
			continue
		}
		for _, record := range e.Versions() {
			number := record.Number
			wanted, v := e.ProvisionedOf(number), e.Serving(number)
			if wanted == 0 || v == nil {
				continue
			}
			n := used.Provisioned[v.ARN()]
			gauge(provisionedDesc, float64(n), v.Region, v.Name, string(number))
			gauge(utilizationDesc, float64(n)/float64(wanted), v.Region, v.Name, string(number))
		}
	}
}
