package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// emulated is the sandbox that stands for Firecracker's where the host has no KVM: the same guest, images and backend, on
// a processor that is a program. Nothing that it takes is what a machine takes: see mark.
const emulated = "qemu"

// microVM reports whether a sandbox is one of microVMs.
func microVM(kind string) bool { return kind == "firecracker" || kind == emulated }

// microVMHere is firecracker where it can run, else its emulation.
func microVMHere(ctx context.Context, thaw string) (string, error) {
	dir, err := os.MkdirTemp("", "thaw-bench-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	if err := installMicroVM(ctx, thaw, "firecracker", dir); err != nil {
		return "", err
	}
	out, err := exec.CommandContext(ctx, thaw, "sandbox", "ls", "-o", "json", "--data-dir", dir).Output()
	if err != nil {
		return "", fmt.Errorf("thaw sandbox ls: %w", err)
	}
	var list []struct {
		Name, Detail string
		Usable       bool
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return "", fmt.Errorf("thaw sandbox ls: %w", err)
	}
	why := ""
	for _, s := range list {
		switch {
		case microVM(s.Name) && s.Usable && s.Name == emulated:
			fmt.Printf("EMULATED: firecracker cannot run here (%s). The same guest, images and backend run in QEMU without hardware. "+
				"These times say nothing of a machine with KVM but what they are in proportion to each other; counts are the real ones.\n", why)
			return s.Name, nil
		case microVM(s.Name) && s.Usable:
			return s.Name, nil
		case microVM(s.Name):
			why += s.Name + ": " + s.Detail + " "
		}
	}
	return "", fmt.Errorf("no microVMs here: %s", why)
}

func installMicroVM(ctx context.Context, thaw, kind, dir string) error {
	if out, err := exec.CommandContext(ctx, thaw, "sandbox", "install", kind, "--data-dir", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("thaw sandbox install %s: %w: %s", kind, err, out)
	}
	return nil
}

// mark says of every line of an emulation that it is one.
func mark(kind string, rs []result) []result {
	if kind == emulated {
		for i := range rs {
			rs[i].what = "EMULATED " + rs[i].what
			rs[i].aim, rs[i].none = 0, false // aims are for hardware
		}
	}
	return rs
}

// clones are how many environments of one snapshot are held at one time; those of an emulation take a core each.
var clones = map[string]int{"firecracker": 50, emulated: 4}

// measureMicroVMs boots and restores machines, and counts what a restore consists of.
func measureMicroVMs(ctx context.Context, o options, s *server) ([]result, error) {
	if s.kind == emulated {
		o.rounds, o.invokes = min(o.rounds, 3), min(o.invokes, 200)
	}
	if err := s.node(ctx, "warm-node"); err != nil {
		return nil, err
	}
	p50, p99, err := s.rounds(ctx, o, "warm-node", o.invokes)
	if err != nil {
		return nil, err
	}
	out := []result{{what: "Node echo, warm, p50", value: p50, unit: "ms"}, {what: "Node echo, warm, p99", value: p99, unit: "ms"}}
	p, err := s.makeAndPublish(ctx, microHeap)
	if err != nil {
		return nil, err
	}
	out = append(out, result{what: p.what + ", publish with a snapshot", value: ms(p.took), unit: "ms"},
		result{what: p.what + ", snapshot", value: float64(p.snapshot.Bytes) / 1e6, unit: "MB"})
	restores, err := s.restores(ctx, o, p)
	if err != nil {
		return nil, err
	}
	out = append(out, restores...)
	counts, err := s.countedSteps(ctx, p)
	if err != nil {
		return nil, err
	}
	out = append(out, counts...)
	held, err := s.heldByClones(ctx, p)
	return mark(s.kind, append(out, held...)), err
}

// microHeap is nodeHeap with the aim of a microVM.
var microHeap = subject{what: "Node, 40 MB of heap", family: "nodejs", handler: "index.handler", firstMs: 10, files: nodeHeap.files}

// countedSteps restores once, and says what the monitor's process did from its start to the first answer: this is what can be
// carried over to another machine, as times cannot.
func (s *server) countedSteps(ctx context.Context, p published) ([]result, error) {
	if err := s.gone(ctx, p); err != nil {
		return nil, err
	}
	if _, err := s.once(ctx, p, smallEvent); err != nil {
		return nil, err
	}
	envs, err := s.environments(ctx, p)
	if err != nil {
		return nil, err
	}
	if len(envs) != 1 || len(envs[0].PIDs) == 0 {
		return nil, fmt.Errorf("%d environments after one invoke", len(envs))
	}
	var out []result
	for _, c := range stepsOf(envs[0].PIDs[0]) {
		out = append(out, result{what: p.what + ", monitor until the first answer: " + c.what, value: c.n, unit: c.unit})
	}
	return out, nil
}

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

// heldByClones restores many copies of one snapshot and counts what each holds that no other does.
func (s *server) heldByClones(ctx context.Context, p published) ([]result, error) {
	if err := s.gone(ctx, p); err != nil {
		return nil, err
	}
	n := clones[s.kind]
	began := time.Now()
	if err := all(n, n, func(int) error { _, err := s.once(ctx, p, smallEvent); return err }); err != nil {
		return nil, err
	}
	took := time.Since(began)
	envs, err := s.environments(ctx, p)
	if err != nil {
		return nil, err
	}
	var each []float64
	by := map[string][]float64{}
	for _, e := range envs {
		held, pages, err := s.privateMB(e.PIDs)
		if err != nil {
			continue // it has gone meanwhile
		}
		sum := pages
		for who, mb := range held {
			sum += mb
			by[who] = append(by[who], mb)
		}
		each = append(each, sum)
	}
	if len(each) == 0 {
		return nil, fmt.Errorf("no copies are left after %v", took)
	}
	what := fmt.Sprintf("%s, %d copies at once", p.what, len(each))
	out := []result{{what: what + ", all answered", value: ms(took), unit: "ms"},
		{what: what + ", private memory of one", value: median(each), unit: "MB"},
		{what: what + ", 1,000 of them would hold", value: median(each) * 1000 * 1e6 / (1 << 30), unit: "GiB", aim: 8}}
	for _, who := range slices.Sorted(maps.Keys(by)) {
		out = append(out, result{what: what + ", process " + who, value: median(by[who]), unit: "MB"})
	}
	return out, nil
}
