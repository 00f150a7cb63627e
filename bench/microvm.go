package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"thaw/internal/outer"
	"thaw/sandbox/firecracker/kvm"
)

// Kinds of sandboxes with microVMs. The second stands for the first where no processor can be had that runs machines,
// not even an emulated one: the same guest, images and backend on QEMU.
const (
	firecracker = "firecracker"
	qemu        = "qemu"
)

// microVM says whether a sandbox is one of microVMs.
func microVM(kind string) bool { return kind == firecracker || kind == qemu }

// emulated says why times of this run are not those of hardware; empty: they are.
func emulated(kind string) string {
	switch {
	case os.Getenv(outer.KindVar) != "":
		return "the real Firecracker, on a processor that QEMU emulates: counts are what they are on hardware"
	case kind == qemu:
		return "QEMU without hardware instead of Firecracker: counts are QEMU's own"
	}
	return ""
}

// patience is how many times longer than on hardware everything may take before it counts as lost.
var patience time.Duration = 1

// mark says of every line of an emulation that it is one. Aims are for hardware.
func mark(kind string, rs []result) []result {
	if emulated(kind) == "" {
		return rs
	}
	for i := range rs {
		rs[i].what = "EMULATED " + rs[i].what
		rs[i].aim, rs[i].none = 0, false
	}
	return rs
}

// benchMicroVMs measures microVMs where they can be had: on this host's KVM; else with the real Firecracker in an outer
// machine, whose processor is emulated with virtualisation; else with QEMU.
func benchMicroVMs(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "thaw-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if o.parts == "" {
		if err := installMicroVM(ctx, o.thaw, firecracker, dir); err != nil {
			return err
		}
		o.parts = filepath.Join(dir, "microvm")
	}
	why := kvm.Probe(ctx)
	if why == nil {
		return benchTables(ctx, o, firecracker)
	}
	lack := outer.Missing()
	if lack == nil {
		fmt.Printf("EMULATED: firecracker cannot run on this host (%v). It runs in an outer machine instead, whose processor is emulated.\n", why)
		return benchInside(ctx, o)
	}
	fmt.Printf("EMULATED: firecracker cannot run on this host (%v), nor in an outer machine (%v). QEMU runs the same guest, images and backend.\n", why, lack)
	return benchTables(ctx, o, qemu)
}

// benchTables measures with one kind of microVMs.
func benchTables(ctx context.Context, o options, kind string) error {
	o.sandboxes = []string{kind}
	if os.Getenv(outer.KindVar) != "" { // KVM's counters are there
		if err := unix.Mount("debugfs", "/sys/kernel/debug", "debugfs", 0, ""); err != nil {
			fmt.Fprintln(os.Stderr, "bench: no counters of KVM:", err)
		}
	}
	if how := emulated(kind); how != "" {
		patience = 10
		fmt.Printf("EMULATED: %s. Times say nothing of a machine with KVM but how they are in proportion to each other.\n", how)
	}
	return bench(ctx, o)
}

// outerMiB is the memory of the machine that all of it runs in.
const outerMiB = 4096

// benchInside runs this program in an outer machine.
func benchInside(ctx context.Context, o options) error {
	m, err := outer.Find(ctx, outer.Nested, outerMiB)
	if err != nil {
		return fmt.Errorf("outer machine: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	var files []outer.File
	for _, program := range []string{"node", "mkfs.ext4", "debugfs"} {
		with, err := outer.Program(program)
		if err != nil {
			return err
		}
		files = append(files, with...)
	}
	program, err := copyProgram(ctx) // there is no Go inside
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "thaw-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	echo := filepath.Join(dir, "echo")
	if err := os.WriteFile(echo, program, 0o755); err != nil {
		return err
	}
	const thaw, parts, copier = "/test/thaw", "/test/microvm", "/test/echo"
	files = append(files, outer.File{Here: o.thaw, There: thaw}, outer.File{Here: o.parts, There: parts}, outer.File{Here: echo, There: copier})
	code, err := outer.Run(ctx, m, outer.Job{Program: self, Files: files, Limit: time.Hour, Output: os.Stdout, Notes: os.Stderr,
		Args: []string{"-thaw", thaw, "-parts", parts, "-copy", copier, "-only", o.only, "-rounds", strconv.Itoa(o.rounds), "-invokes", strconv.Itoa(o.invokes)}})
	if err == nil && code != 0 {
		err = fmt.Errorf("in the outer machine: exit code %d", code)
	}
	return err
}

func installMicroVM(ctx context.Context, thaw, kind, dir string) error {
	if out, err := exec.CommandContext(ctx, thaw, "sandbox", "install", kind, "--data-dir", dir).CombinedOutput(); err != nil {
		return fmt.Errorf("thaw sandbox install %s: %w: %s", kind, err, out)
	}
	return nil
}

// clones are how many environments of one snapshot are held at one time; those of an emulation take a core each.
func clones(kind string) int {
	if emulated(kind) != "" {
		return 4
	}
	return 50
}

// measureMicroVMs restores and boots machines, and counts what a restore consists of.
func measureMicroVMs(ctx context.Context, o options, s *server) ([]result, error) {
	if emulated(s.kind) != "" {
		o.rounds, o.invokes = min(o.rounds, 3), min(o.invokes, 200)
	}
	p, err := s.makeAndPublish(ctx, microHeap)
	for revision := 1; err != nil && emulated(s.kind) != "" && ctx.Err() == nil && revision <= 5; revision++ {
		// Beside other work an emulated machine takes longer than the minute that a sandbox has to be made.
		if err = s.revise(ctx, microHeap, revision); err == nil {
			p, err = s.publish(ctx, microHeap)
		}
	}
	if err != nil {
		return nil, err
	}
	out := mark(s.kind, []result{{what: p.what + ", publish with a snapshot", value: ms(p.took), unit: "ms"},
		{what: p.what + ", snapshot", value: float64(p.snapshot.Bytes) / 1e6, unit: "MB"}})
	for _, part := range []struct {
		what    string
		measure func() ([]result, error)
	}{
		{p.what + ", counts", func() ([]result, error) { return s.countedSteps(ctx, p) }},
		{p.what + ", copies", func() ([]result, error) { return s.heldByClones(ctx, p) }},
		{p.what + ", restores", func() ([]result, error) { return s.restores(ctx, o, p) }},
		{"Node echo, warm", func() ([]result, error) { return s.warmEcho(ctx, o) }},
		{"memory by userfaultfd", func() ([]result, error) { return s.lateRestores(ctx, o, p) }}, // last: it pushes the files of p out
	} {
		rs, err := part.measure()
		if err != nil && emulated(s.kind) != "" && ctx.Err() == nil { // one that is too slow for a part may have the rest
			err = leftOut{err.Error()}
		}
		if err != nil {
			rs, err = orWords(part.what, err)
		}
		if err != nil {
			return nil, err
		}
		rs = mark(s.kind, rs)
		for _, r := range rs { // an emulation takes long, and may be ended before the table is there
			if emulated(s.kind) != "" {
				fmt.Fprintf(os.Stderr, "bench: %s: %s\n", r.what, r)
			}
		}
		out = append(out, rs...)
	}
	return out, nil
}

// microHeap is nodeHeap with the aim of a microVM.
var microHeap = subject{what: "Node, 40 MB of heap", family: "nodejs", handler: "index.handler", firstMs: 10, files: nodeHeap.files}

func (s *server) warmEcho(ctx context.Context, o options) ([]result, error) {
	if err := s.node(ctx, "warm-node"); err != nil {
		return nil, err
	}
	p50, p99, err := s.rounds(ctx, o, "warm-node", o.invokes)
	return []result{{what: "Node echo, warm, p50", value: p50, unit: "ms"}, {what: "Node echo, warm, p99", value: p99, unit: "ms"}}, err
}

// microDisk leaves room for the plain files of one snapshot with 512 MB: those of a second push them out.
const microDisk = "700"

// crowd is what pushes the files of another snapshot out.
var crowd = subject{what: "Go echo beside", family: "provided", handler: "bootstrap", files: goCopy.files}

// lateRestores restores from chunks: the machine goes on before its memory is there, and gets it by userfaultfd. Each page
// is a way from the machine to the server and back, so an emulation restores a function that touches few.
func (s *server) lateRestores(ctx context.Context, o options, p published) ([]result, error) {
	if s.kind != firecracker {
		return nil, leftOut{"QEMU's machines have their memory before they go on"}
	}
	var out []result
	if emulated(s.kind) != "" {
		var err error
		if p, err = s.makeAndPublish(ctx, goCopy); err != nil {
			return nil, err
		}
		var took []float64
		for range o.rounds {
			if err := s.gone(ctx, p); err != nil {
				return nil, err
			}
			a, err := s.once(ctx, p, smallEvent)
			if err != nil {
				return nil, err
			}
			took = append(took, ms(a.took))
		}
		out = append(out, result{what: p.what + ", memory from its file, first answer", value: median(took), unit: "ms"})
	}
	other, err := s.makeAndPublish(ctx, crowd)
	if err != nil {
		return out, err
	}
	var took []float64
	var counts []count
	for range o.rounds {
		for _, v := range []published{p, other} {
			if err := s.gone(ctx, v); err != nil {
				return nil, err
			}
		}
		if _, err := s.once(ctx, other, smallEvent); err != nil {
			return nil, err
		}
		files := filepath.Join(s.dir, "snapshots", "cache", p.snapshot.ID)
		err := s.until(ctx, "pushed out of the cache", time.Minute, func() (bool, error) {
			_, err := os.Stat(files)
			return os.IsNotExist(err), nil
		})
		if err != nil {
			return nil, leftOut{err.Error()}
		}
		a, err := s.once(ctx, p, smallEvent)
		if err != nil {
			return nil, err
		}
		took = append(took, ms(a.took))
		envs, err := s.environments(ctx, p)
		if err != nil {
			return nil, err
		}
		if len(envs) == 1 && len(envs[0].PIDs) > 0 {
			counts = stepsOf(envs[0].PIDs[0])
		}
	}
	out = append(out, result{what: p.what + ", memory by userfaultfd, first answer", value: median(took), unit: "ms"})
	for _, c := range counts {
		out = append(out, result{what: p.what + ", memory by userfaultfd, monitor until the first answer: " + c.what, value: c.n, unit: c.unit})
	}
	return out, nil
}

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

// heldByClones restores many copies of one snapshot and counts what each holds that no other does.
func (s *server) heldByClones(ctx context.Context, p published) ([]result, error) {
	if err := s.gone(ctx, p); err != nil {
		return nil, err
	}
	n := clones(s.kind)
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
