package sandboxtest

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"thaw/guest/wire"
	"thaw/sandbox"
)

// BenchmarkRestores measures restores of the suite's functions, Node with 40 MB of heap among them, from the request for a sandbox to the guest's answer to wire.Restored and to
// the answer of an invoke. It logs the median of every stage.
func BenchmarkRestores(b *testing.B, open func(t testing.TB) sandbox.Backend, settle func()) {
	s := &suite{open: open}
	be := s.backend(b)
	list := append([]*function(nil), functions(b)...)
	for _, f := range list {
		if f.name == "Node" {
			list = append(list, &function{name: "Node with 40 MB", mounts: f.mounts, argv: f.argv, vars: append([]string{"BALLAST_MB=40"}, f.vars...)})
		}
	}
	for _, f := range list {
		name := f.name
		b.Run(strings.ReplaceAll(name, " ", "-"), func(b *testing.B) {
			x := f.begin(b, s, be)
			x.ask(b, "before")
			began := time.Now()
			d := x.checkpoint(b)
			b.ReportMetric(time.Since(began).Seconds()*1e3, "checkpoint-ms")
			x.Close()
			table := make(map[string][]float64)
			var order []string
			note := func(stage string, seconds float64) {
				if _, ok := table[stage]; !ok {
					order = append(order, stage)
				}
				table[stage] = append(table[stage], seconds*1e3)
			}
			b.ResetTimer()
			for range b.N {
				b.StopTimer()
				spec := s.spec(b)
				spec.Mounts = f.mounts
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				settle()
				b.StartTimer()
				began := time.Now()
				sb, err := be.Restore(ctx, spec, d)
				if err != nil {
					b.Fatal(err)
				}
				running := time.Now()
				c := &box{Sandbox: sb, Host: NewHost(b, sb), backend: be, spec: spec}
				c.restored()
				told := time.Now()
				c.ask(b, "after")
				answered := time.Now()
				b.StopTimer()
				for _, st := range sb.Stages() {
					note(st.Name, st.Seconds)
				}
				note("guest answered Restored", told.Sub(running).Seconds())
				note("invoke answered", answered.Sub(told).Seconds())
				note("TOTAL", answered.Sub(began).Seconds())
				c.Send(wire.KindPing, wire.Ping{Seq: 1}, nil)
				c.Take(wire.KindPong, nil)
				if err := c.Freeze(); err != nil {
					b.Fatal(err)
				}
				if used, err := c.MemoryUsed(); err == nil {
					note("(memory used, MB)", float64(used)/1e6/1e3)
				}
				c.end(b)
				cancel()
				b.StartTimer()
			}
			b.StopTimer()
			var text strings.Builder
			for _, stage := range order {
				v := table[stage]
				sort.Float64s(v)
				fmt.Fprintf(&text, "%-45s p50 %8.2f ms  (min %.2f, max %.2f)\n", stage, v[len(v)/2], v[0], v[len(v)-1])
			}
			if b.N > 1 {
				fmt.Printf("%d restores of %s\n%s", b.N, name, &text) // a log would be cut
			}
		})
	}
}
