package cloudwatch_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thaw/cloudwatch"
	"thaw/function"
)

// However many tenants senders name, a function has a bounded number of series, and none when it has gone.
func TestTenants(t *testing.T) {
	here := true
	tenants := cloudwatch.NewTenants(func(function.Key) bool { return here })
	r := prometheus.NewRegistry()
	r.MustRegister(tenants)
	k := function.Key{Account: "1", Region: "r", Name: "f"}
	const many = 3 * cloudwatch.MostTenants
	for i := range many {
		tenants.Ended(k, fmt.Sprint("tenant-", i), cloudwatch.Ended{Error: i%2 == 0, Duration: time.Second})
	}
	tenants.Ended(k, "tenant-0", cloudwatch.Ended{Duration: time.Second})
	tenants.Throttled(k, "tenant-1")
	tenants.Ended(k, "", cloudwatch.Ended{}) // of a function without tenants
	sums, series := map[string]float64{}, map[string]int{}
	of := map[string]float64{}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			sums[f.GetName()] += m.GetCounter().GetValue()
			series[f.GetName()]++
			for _, l := range m.GetLabel() {
				if l.GetName() == "tenant" {
					of[f.GetName()+" "+l.GetValue()] = m.GetCounter().GetValue()
				}
			}
		}
	}
	const prefix = "thaw_lambda_tenant_"
	for name, want := range map[string]float64{"invocations_total": many + 1, "errors_total": many / 2, "throttles_total": 1, "duration_seconds_total": many + 1} {
		if got := sums[prefix+name]; got != want || series[prefix+name] != cloudwatch.MostTenants+1 {
			t.Errorf("%s: %v in %d series, want %v in %d", name, got, series[prefix+name], want, cloudwatch.MostTenants+1)
		}
	}
	if of[prefix+"invocations_total tenant-0"] != 2 || of[prefix+"invocations_total *"] != many-cloudwatch.MostTenants || of[prefix+"throttles_total tenant-1"] != 1 {
		t.Errorf("tenant-0 %v, * %v, throttles %v", of[prefix+"invocations_total tenant-0"], of[prefix+"invocations_total *"], of[prefix+"throttles_total tenant-1"])
	}
	here = false
	if families, err := r.Gather(); err != nil || len(families) > 0 {
		t.Errorf("of a function that has gone: %v, %v", families, err)
	}
}
