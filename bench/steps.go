package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// count is how often a process did something.
type count struct {
	what, unit string
	n          float64
}

// stepsOf reads a process's counters. Source: proc(5), and Linux, Documentation/virt/kvm/api.rst, for those of KVM, which are
// there when debugfs is mounted.
func stepsOf(pid int) []count {
	var out []count
	add := func(what, unit string, n float64) { out = append(out, count{what, unit, n}) }
	if b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil {
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 12 {
			add("page faults without I/O", "", number(f[7]))
			add("page faults with I/O", "", number(f[9]))
		}
	}
	fields := keyed(fmt.Sprintf("/proc/%d/io", pid))
	for _, c := range []struct{ key, what string }{{"syscr", "system calls that read"}, {"syscw", "system calls that write"}} {
		if v, ok := fields[c.key]; ok {
			add(c.what, "", v)
		}
	}
	for _, c := range []struct{ key, what string }{{"rchar", "copied by reads"}, {"wchar", "copied by writes"}} {
		if v, ok := fields[c.key]; ok {
			add(c.what, "kB", v/1e3)
		}
	}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	waits, preempted := 0.0, 0.0
	for _, file := range tasks {
		f := keyed(file)
		waits, preempted = waits+f["voluntary_ctxt_switches"], preempted+f["nonvoluntary_ctxt_switches"]
	}
	add("waits (switches that its threads asked for)", "", waits)
	add("switches that they did not ask for", "", preempted)
	files, _ := filepath.Glob(fmt.Sprintf("/sys/kernel/debug/kvm/%d-*/*", pid))
	for _, name := range []string{"exits", "io_exits", "mmio_exits", "halt_exits", "irq_exits", "pf_taken", "pf_fixed", "hypercalls"} {
		for _, file := range files {
			if b, err := os.ReadFile(file); err == nil && filepath.Base(file) == name {
				add("KVM's "+name, "", number(strings.TrimSpace(string(b))))
			}
		}
	}
	return out
}

func number(s string) float64 {
	n, _ := strconv.ParseFloat(s, 64)
	return n
}

// keyed reads a file of lines of the form KEY: NUMBER.
func keyed(path string) map[string]float64 {
	out := map[string]float64{}
	f, err := os.Open(path)
	if err != nil {
		return out
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if key, rest, ok := strings.Cut(lines.Text(), ":"); ok {
			if f := strings.Fields(rest); len(f) > 0 {
				out[key] = number(f[0])
			}
		}
	}
	return out
}
