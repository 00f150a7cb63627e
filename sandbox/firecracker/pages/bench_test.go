package pages

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

// BenchmarkRestore serves what a machine touches after its restore: 16 MiB of 128, in 300 runs, with and without its working set.
// It says what that consists of, which is the same on any host, and what it takes here.
func BenchmarkRestore(b *testing.B) {
	const all, runs, each = 128 << 20 / Size, 300, 14 // 4,200 pages
	f, err := os.Create(filepath.Join(b.TempDir(), "memory"))
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	if _, err := newSaved(all).WriteTo(f); err != nil {
		b.Fatal(err)
	}
	var set WorkingSet
	for i := range int64(runs) {
		set = append(set, Run{i*(all/runs) + i%7, each})
	}
	for _, c := range []struct {
		name string
		set  WorkingSet
	}{{"on demand", nil}, {"working set", set}} {
		b.Run(c.name, func(b *testing.B) {
			var n Counts
			var took time.Duration
			for b.Loop() {
				b.StopTimer()
				trace := new(Trace)
				s, m := serve(b, Options{Source: file{f, all * Size}, WorkingSet: c.set, Trace: trace})
				b.StartTimer()
				began := time.Now()
				handOver(b, s, m)
				for _, r := range set {
					m.say("sum %d %d", r.Page, r.Count)
				}
				took += time.Since(began)
				b.StopTimer()
				n = trace.Counts()
				m.kill()
				s.Close()
				b.StartTimer()
			}
			b.ReportMetric(float64(n.Faults), "faults")
			b.ReportMetric(float64(n.Calls), "ioctls")
			b.ReportMetric(float64(n.Copied)/1e6, "MB-copied")
			b.ReportMetric(float64(took.Milliseconds())/float64(b.N), "ms/restore")
		})
	}
}

// file is a memory that lies in one.
type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }
