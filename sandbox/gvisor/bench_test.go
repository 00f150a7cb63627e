package gvisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"thaw/sandbox"
)

// BenchmarkLife reports the parts of a sandbox's life. Read the numbers as those of an otherwise idle machine.
func BenchmarkLife(b *testing.B) {
	for _, blank := range []int{1, -1} {
		name := "blank ready"
		if blank < 0 {
			name = "from nothing"
		}
		b.Run(name, func(b *testing.B) {
			be := open(b, func(o *Options) { o.Blank = blank })
			usr, err := filepath.EvalSymlinks("/usr/lib")
			if err != nil {
				b.Fatal(err)
			}
			part := make(map[string]time.Duration)
			kib := 0
			for b.Loop() {
				b.StopTimer()
				awaitBlanks(b, be)
				b.StartTimer()
				t := time.Now()
				lap := func(what string) { part[what] += time.Since(t); t = time.Now() }
				s, err := be.Create(testContext(b), sandbox.Spec{ID: "bench", MemoryMiB: 128, TmpMiB: 512, Mounts: []sandbox.Mount{{Source: usr, Target: "/usr/lib"}}})
				if err != nil {
					b.Fatal(err)
				}
				lap("create")
				for _, st := range s.Stages() {
					part["create: "+st.Name] += time.Duration(st.Seconds * 1e9)
				}
				g := adopt(b, s, 512)
				lap("hello and start")
				for range 20 {
					g.must("echo x")
				}
				part["20 echoes"] += time.Since(t)
				t = time.Now()
				if err := s.Freeze(); err != nil {
					b.Fatal(err)
				}
				lap("freeze")
				if err := s.Thaw(); err != nil {
					b.Fatal(err)
				}
				lap("thaw")
				g.must("echo x")
				lap("echo after thaw")
				kib += pss(b, s.PIDs())
				t = time.Now()
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
				lap("close")
			}
			b.ReportMetric(float64(kib)/float64(b.N), "pss-KiB")
			for what, d := range part {
				b.ReportMetric(float64(d.Microseconds())/float64(b.N), strings.ReplaceAll(what, " ", "-")+"-us/op")
			}
		})
	}
}

// pss is the proportional share of memory of processes, in KiB.
func pss(tb testing.TB, pids []int) int {
	sum := 0
	for _, pid := range pids {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue
		}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); f[0] == "Pss:" {
				n, err := strconv.Atoi(f[1])
				if err != nil {
					tb.Fatal(err)
				}
				sum += n
			}
		}
	}
	return sum
}

// BenchmarkStartOfAnInterpreter is what gVisor costs a runtime that opens many files: the same command inside, first and second time.
func BenchmarkStartOfAnInterpreter(b *testing.B) {
	be := open(b, nil)
	var mounts []sandbox.Mount
	for _, dir := range []string{"/usr", "/lib", "/lib64", "/bin"} {
		real, err := filepath.EvalSymlinks(dir)
		if err != nil {
			b.Skip(err)
		}
		mounts = append(mounts, sandbox.Mount{Source: real, Target: dir})
	}
	var first, second int64
	for b.Loop() {
		awaitBlanks(b, be)
		g := create(b, be, sandbox.Spec{MemoryMiB: 256, Mounts: mounts})
		const cmd = `run /usr/bin/python3 -c __import__("asyncio"),__import__("http.client")`
		first += number(b, g.must(cmd))
		second += number(b, g.must(cmd))
		if err := g.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(first)/float64(b.N), "first-us/op")
	b.ReportMetric(float64(second)/float64(b.N), "second-us/op")
}

// BenchmarkFreezer is the time to stop a sandbox with three threads that spin, and the time until it answers again.
func BenchmarkFreezer(b *testing.B) {
	be := open(b, nil)
	g := create(b, be, sandbox.Spec{})
	g.must("spin 3")
	group := g.Sandbox.(*Sandbox).group
	never := make(chan struct{})
	var freeze, thaw time.Duration
	for b.Loop() {
		t := time.Now()
		if err := group.SetFrozen(true, never); err != nil {
			b.Fatal(err)
		}
		freeze += time.Since(t)
		t = time.Now()
		if err := group.SetFrozen(false, never); err != nil {
			b.Fatal(err)
		}
		thaw += time.Since(t)
		g.must("echo x")
	}
	b.ReportMetric(float64(freeze.Microseconds())/float64(b.N), "freeze-us/op")
	b.ReportMetric(float64(thaw.Microseconds())/float64(b.N), "thaw-us/op")
}
