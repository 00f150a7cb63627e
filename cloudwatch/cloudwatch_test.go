package cloudwatch

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"thaw/function"
)

// gathered are the values of all series, by name and labels. Gather itself refuses two series that are the same.
func gathered(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			switch {
			case m.GetCounter() != nil:
				all[name] = m.GetCounter().GetValue()
			case m.GetGauge() != nil:
				all[name] = m.GetGauge().GetValue()
			case m.GetHistogram() != nil:
				all[name+" sum"], all[name+" count"] = m.GetHistogram().GetSampleSum(), float64(m.GetHistogram().GetSampleCount())
			case m.GetSummary() != nil:
				all[name+" sum"], all[name+" count"] = m.GetSummary().GetSampleSum(), float64(m.GetSummary().GetSampleCount())
			}
		}
	}
	return all
}

func resource(name string, q function.Qualifier, version function.VersionNumber) function.Resource {
	return function.Resource{Key: key(name), Qualifier: q, Version: version}
}

func key(name string) function.Key {
	return function.Key{Account: "1", Region: "r", Name: name}
}

func TestFunctionsCountByResource(t *testing.T) {
	t.Parallel()
	gone := map[function.Resource]bool{}
	f := NewFunctions(func(r function.Resource) bool { return !gone[r] })
	live := resource("f", "live", "3")
	f.Ended(live, Ended{Duration: 20 * time.Millisecond, Extensions: -1})
	f.Ended(live, Ended{Duration: 30 * time.Millisecond, Extensions: 10 * time.Millisecond, Error: true})
	f.Throttled(live)
	f.Provisioned(live, false)
	f.Provisioned(live, true)
	f.Ended(resource("f", "$LATEST", "$LATEST"), Ended{Extensions: -1})
	sent := resource("f", "live", "")
	f.Received(sent)
	f.Age(sent, time.Second)
	f.Dropped(sent)
	f.Undelivered(sent, true)
	f.Undelivered(sent, false)
	all := gathered(t, f)
	for name, want := range map[string]float64{
		"invocations_total": 2, "errors_total": 1, "throttles_total": 1, "provisioned_concurrency_invocations_total": 1,
		"provisioned_concurrency_spillover_invocations_total": 1, "duration_seconds sum": 0.05, "duration_seconds count": 2,
		"post_runtime_extensions_duration_seconds sum": 0.01, "post_runtime_extensions_duration_seconds count": 1,
	} {
		name, of, _ := strings.Cut(name, " ")
		if got, ok := all[strings.TrimSpace("thaw_lambda_"+name+" function=f qualifier=live region=r version=3 "+of)]; !ok || got < want-1e-9 || got > want+1e-9 {
			t.Errorf("%s %s: %v, want %v", name, of, got, want)
		}
	}
	for _, name := range []string{"async_events_received_total", "async_events_dropped_total", "dead_letter_errors_total", "destination_delivery_failures_total"} {
		if got := all["thaw_lambda_"+name+" function=f qualifier=live region=r"]; got != 1 {
			t.Errorf("%s: %v", name, got)
		}
	}
	if all["thaw_lambda_errors_total function=f qualifier=$LATEST region=r version=$LATEST"] != 0 || all["thaw_lambda_async_event_age_seconds function=f qualifier=live region=r sum"] != 1 {
		t.Errorf("%v", all)
	}
	gone[live], gone[sent] = true, true
	for name := range gathered(t, f) {
		if strings.Contains(name, "qualifier=live") {
			t.Errorf("%s is there after its alias went", name)
		}
	}
}

// Nobody may ever collect: what is kept must be bounded by what exists even so.
func TestSeriesOfDeletedFunctionsGoUnasked(t *testing.T) {
	t.Parallel()
	now := ""
	f := NewFunctions(func(r function.Resource) bool { return r.Name == now })
	e := NewEmbedded(func(k function.Key) bool { return k.Name == now })
	defer e.Close()
	for i := range 20 * fewSeries {
		now = fmt.Sprint("f", i)
		f.Throttled(resource(now, "$LATEST", "$LATEST"))
		e.mu.Lock()
		e.functionLocked(key(now))
		e.mu.Unlock()
	}
	if len(f.series) > fewSeries || len(e.of) > lookAtFunctions {
		t.Errorf("%d and %d are kept of one function", len(f.series), len(e.of))
	}
}

func document(metric, members string, dimensions ...string) string {
	set := ""
	for _, d := range dimensions {
		set += fmt.Sprintf("%q,", d)
	}
	return fmt.Sprintf(`{"_aws":{"Timestamp":1,"CloudWatchMetrics":[{"Namespace":"shop","Dimensions":[[%s]],"Metrics":[{"Name":%q,"Unit":"Count"}]}]}%s}`,
		strings.TrimSuffix(set, ","), metric, members)
}

func TestEmbeddedMetrics(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		exists := true
		e := NewEmbedded(func(function.Key) bool { return exists })
		defer e.Close()
		for _, line := range []string{
			document("orders", `,"orders":2,"Service":"a"`, "Service"), document("orders", `,"orders":[3,4],"Service":"a"`, "Service"), document("orders", `,"orders":1`),
			// Names that are the same to Prometheus, in every order.
			document("m", `,"m":1,"a-b":"x","a_a":"y"`, "a-b", "a_a"), document("m", `,"m":1,"a_b":"x","a_a":"y"`, "a_b", "a_a"), document("m", `,"m":1,"a-":"x","a_":"y"`, "a-", "a_"),
			document("m", "", "a") + "\n", `{"_aws":1}`, "hello", document("größe\x01", `,"größe\u0001":1`),
		} {
			e.Line(key("f"), line)
		}
		synctest.Wait()
		all := gathered(t, e)
		const of = "function=f metric=orders namespace=shop region=r unit=Count"
		for name, want := range map[string]float64{
			"thaw_embedded_metric dimension_Service=a " + of + " sum": 9, "thaw_embedded_metric dimension_Service=a " + of + " count": 3,
			"thaw_embedded_metric_last dimension_Service=a " + of: 4, "thaw_embedded_metric_last " + of: 1,
			"thaw_embedded_metric dimension_a_a=y dimension_a_b=x function=f metric=m namespace=shop region=r unit=Count count": 2,
			"thaw_embedded_metric dimension_a_=x dimension_a__=y function=f metric=m namespace=shop region=r unit=Count count":  1,
			"thaw_embedded_metrics_refused_total reason=invalid":                                                                2,
		} {
			if got, ok := all[name]; !ok || got != want {
				t.Errorf("%s: %v, want %v, in\n%s", name, got, want, strings.Join(slices.Sorted(maps.Keys(all)), "\n"))
			}
		}
		exists = false
		if all := gathered(t, e); len(all) != 3 || e.total.series != 0 || e.total.bytes != 0 {
			t.Errorf("after the function went: %v, %+v", all, e.total)
		}
	})
}

// A function that writes more than is kept or read harms no other.
func TestEmbeddedMetricsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := NewEmbedded(func(function.Key) bool { return true })
		defer e.Close()
		for i := range seriesOne + 50 {
			e.Line(key("many"), document("m", fmt.Sprintf(`,"m":1,"d":"%d"`, i), "d"))
			synctest.Wait()
		}
		long := strings.Repeat("x", 1000)
		for i := range 1000 {
			e.Line(key("long"), document("m", fmt.Sprintf(`,"m":1,"d":"%d%s"`, i, long), "d"))
			synctest.Wait()
		}
		e.Line(key("other"), document("m", `,"m":1`))
		synctest.Wait()
		if many, l, other := e.of[key("many")], e.of[key("long")], e.of[key("other")]; len(many.series) != seriesOne || l.bytes > labelBytesOne || len(l.series) < 400 || len(other.series) != 1 {
			t.Errorf("%d series, %d of %d bytes, %d of the other", len(many.series), len(l.series), l.bytes, len(other.series))
		}
		if e.refused[tooMany] < 50 {
			t.Errorf("%d were refused", e.refused[tooMany])
		}
		e.mu.Lock() // nothing is read meanwhile
		f := e.functionLocked(key("fast"))
		f.waiting = queueOneBytes
		e.mu.Unlock()
		e.Line(key("fast"), document("m", `,"m":1`))
		e.Line(key("other"), document("m", `,"m":1`))
		synctest.Wait()
		if e.refused[tooFast] != 1 || e.bytes != 0 || slices.Collect(maps.Values(e.of[key("other")].series))[0].count != 2 {
			t.Errorf("%v, %d bytes wait", e.refused, e.bytes)
		}
		f.waiting = 0
	})
}
