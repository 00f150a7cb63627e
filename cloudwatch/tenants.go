package cloudwatch

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thaw/function"
)

// MostTenants is how many tenants of one function have series of their own. The others share one, of the tenant Others:
// senders name the tenants, and each name would cost memory here and in the Prometheus for good.
const MostTenants = 100

// Others stands for the tenants of a function beyond MostTenants. No tenant can be named so.
const Others = "*"

// Tenants count the invocations of functions with tenant isolation by tenant. Its metrics are not the service's: that
// has none by tenant.
type Tenants struct {
	exists func(function.Key) bool

	mu  sync.Mutex
	of  map[function.Key]map[string]*tenant
	all []*prometheus.Desc
}

// tenant is what is counted of one tenant of a function.
type tenant struct {
	invocations, errors, throttles uint64
	duration                       time.Duration
}

// NewTenants makes one. exists tells which functions there are.
func NewTenants(exists func(function.Key) bool) *Tenants {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("thaw_lambda_tenant_"+name, help, []string{"region", "function", "tenant"}, nil)
	}
	return &Tenants{exists: exists, of: map[function.Key]map[string]*tenant{}, all: []*prometheus.Desc{
		desc("invocations_total", "Invocations for one tenant of a function with tenant isolation; the tenants after the first hundred are counted together, as *."),
		desc("errors_total", "Those that ended in an error of the function."),
		desc("throttles_total", "Requests for the tenant that were refused with 429."),
		desc("duration_seconds_total", "Duration of the tenant's invocations, those of the REPORT lines together."),
	}}
}

// Ended counts an invocation that reached its function.
func (t *Tenants) Ended(k function.Key, id string, e Ended) {
	t.count(k, id, func(n *tenant) {
		n.invocations++
		n.duration += e.Duration
		if e.Error {
			n.errors++
		}
	})
}

// Throttled counts a request that was refused.
func (t *Tenants) Throttled(k function.Key, id string) {
	t.count(k, id, func(n *tenant) { n.throttles++ })
}

func (t *Tenants) count(k function.Key, id string, add func(*tenant)) {
	if id == "" { // the function does not tell tenants apart
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	tenants := t.of[k]
	if tenants == nil {
		tenants = map[string]*tenant{}
		t.of[k] = tenants
	}
	n := tenants[id]
	if n == nil && len(tenants) >= MostTenants {
		id = Others
		n = tenants[id]
	}
	if n == nil {
		n = &tenant{}
		tenants[id] = n
	}
	add(n)
}

// Describe implements prometheus.Collector.
func (t *Tenants) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range t.all {
		ch <- d
	}
}

// Collect implements prometheus.Collector. The series of functions that have gone go.
func (t *Tenants) Collect(ch chan<- prometheus.Metric) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, tenants := range t.of {
		if !t.exists(k) {
			delete(t.of, k)
			continue
		}
		for id, n := range tenants {
			for i, v := range []float64{float64(n.invocations), float64(n.errors), float64(n.throttles), n.duration.Seconds()} {
				ch <- prometheus.MustNewConstMetric(t.all[i], prometheus.CounterValue, v, k.Region, k.Name, id)
			}
		}
	}
}
