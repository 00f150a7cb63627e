package node

import (
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thaw/cloudwatch"
	"thaw/execenv"
	"thaw/function"
	"thaw/logstore"
	"thaw/pool"
)

// perFunction is what is counted of each function.
type perFunction struct {
	view      atomic.Pointer[function.View] // nil while the functions are not read yet: then all there may be are
	functions *cloudwatch.Functions
	tenants   *cloudwatch.Tenants
	embedded  *cloudwatch.Embedded
	sources   *cloudwatch.Sources
}

func newPerFunction(r *prometheus.Registry, used func() pool.InUse) *perFunction {
	p := &perFunction{}
	p.functions = cloudwatch.NewFunctions(func(r function.Resource) bool { v := p.view.Load(); return v == nil || v.Has(r) })
	there := func(k function.Key) bool { v := p.view.Load(); return v == nil || v.Get(k) != nil }
	p.embedded, p.tenants = cloudwatch.NewEmbedded(there), cloudwatch.NewTenants(there)
	p.sources = cloudwatch.NewSources()
	r.MustRegister(p.sources, p.functions, p.tenants, p.embedded, cloudwatch.Usage{InUse: used, View: p.view.Load, Functions: p.functions})
	return p
}

// reported makes what counts the reports of a version's environments.
func (p *perFunction) reported(v *function.Version) func(execenv.Reported) {
	return func(r execenv.Reported) {
		resource, ended := v.Resource(r.InvokedARN), cloudwatch.Ended{Error: r.Error, Duration: r.Duration, Extensions: r.Extensions}
		p.functions.Ended(resource, ended)
		p.tenants.Ended(resource.Key, r.TenantID, ended)
	}
}

// metered is a log stream whose lines may be metrics.
type metered struct {
	*logstore.Stream
	function function.Key
	to       *cloudwatch.Embedded
}

// Append implements execenv.LogSink.
func (m metered) Append(at time.Time, message string) {
	m.Stream.Append(at, message)
	m.to.Line(m.function, message)
}

// AppendLines implements execenv.LogSink.
func (m metered) AppendLines(at time.Time, text string) {
	m.Stream.AppendLines(at, text)
	if !strings.Contains(text, `"_aws"`) { // Line looks at each: this is for all at once
		return
	}
	for line := range strings.Lines(text) {
		m.to.Line(m.function, line)
	}
}
