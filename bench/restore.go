package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"thaw/admin"
)

// measureRestore invokes versions of which no environment is left, one invoke after the other: from the request to the whole answer. Their snapshots are
// current and have been used before, as those of a function that scales from zero again and again. Beside it stand cold starts of $LATEST, which is
// the same code and runs Init.
func measureRestore(ctx context.Context, o options, s *server) ([]result, error) {
	var out []result
	for _, f := range []subject{nodeHeap, pythonImport, javaInit, javaPrimed} {
		p, err := s.makeAndPublish(ctx, f)
		if err == nil && f.tags != nil && p.snapshot.Primed == 0 {
			err = leftOut{"this server does not prime"}
		}
		var rs []result
		if err == nil {
			rs, err = s.restores(ctx, o, p)
		}
		if err != nil {
			rs, err = orWords(f.what, err)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, rs...)
	}
	return out, nil
}

// sample is the values of one line over all rounds.
type sample struct {
	name      string
	wall, cpu []float64
}

// samples keep the order in which the lines came first.
type samples []*sample

func (all *samples) add(name string, wall, cpu float64) {
	for _, s := range *all {
		if s.name == name {
			s.wall, s.cpu = append(s.wall, wall), append(s.cpu, cpu)
			return
		}
	}
	*all = append(*all, &sample{name, []float64{wall}, []float64{cpu}})
}

func (s *server) restores(ctx context.Context, o options, p published) ([]result, error) {
	var total []float64
	var stages samples
	before, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	for i := range o.rounds + 1 {
		if err := s.gone(ctx, p); err != nil {
			return nil, err
		}
		sums, _, err := s.stageSums(ctx)
		if err != nil {
			return nil, err
		}
		used := s.processorTime()
		began := time.Now()
		a, err := s.once(ctx, p, smallEvent)
		if err != nil {
			return nil, err
		}
		now := s.processorTime()
		after, _, err := s.stageSums(ctx)
		if err != nil {
			return nil, err
		}
		envs, err := s.environments(ctx, p)
		if err != nil {
			return nil, err
		}
		if len(envs) != 1 || envs[0].Created.Before(began) {
			return nil, fmt.Errorf("%d environments after one invoke", len(envs))
		}
		if i == 0 {
			continue // the first restore of a server
		}
		total = append(total, ms(a.took))
		rest := ms(a.took)
		for _, st := range stagesOf(envs[0], (after["place"]-sums["place"])*1000) {
			stages.add("stage "+st.name, st.wall, st.cpu)
			if !st.within {
				rest -= st.wall
			}
		}
		stages.add("rest: connection, signature, resolving, admission", rest, 0)
		for _, who := range s.parties() {
			stages.add("processor time, "+who, now.by(who, used), 0)
		}
	}
	now, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	if n := now[fallbacks] - before[fallbacks]; n > 0 {
		return nil, fmt.Errorf("%.0f restores became an Init", n)
	}
	cold := o
	if cold.rounds = max(3, o.rounds/2); emulated(s.kind) != "" {
		cold.rounds = 1
	}
	out := []result{{what: p.what + ", first answer", value: median(total), unit: "ms", aim: p.firstMs}}
	scratch, err := s.coldStarts(ctx, cold, p.name(), "")
	if errors.As(err, new(leftOut)) {
		out = append(out, result{what: p.what + ", first answer of a cold start", words: "left out: " + err.Error()})
	} else if err != nil {
		return nil, err
	} else {
		out = append(out, result{what: p.what + ", first answer of a cold start", value: scratch[0].value, unit: "ms"},
			result{what: p.what + ", Init Duration of it", value: scratch[1].value, unit: "ms"},
			result{what: p.what + ", cold start : restore", value: scratch[0].value / median(total), aim: p.ratio, atLeast: true})
	}
	for _, st := range stages {
		out = append(out, result{what: p.what + ", " + st.name, value: median(st.wall), unit: "ms", cpu: median(st.cpu)})
	}
	return out, nil
}

const (
	fallbacks = "thaw_restore_fallbacks_total"
	restored  = "thaw_restores_total"
)

// stage is a part of a restore, in milliseconds; cpu 0 is not known.
type stage struct {
	name      string
	wall, cpu float64
	within    bool // a point within the stage before it, counted from its beginning
}

// stagesOf tells where the time of an environment's first answer went: place, the steps of its sandbox, hooks, and the function itself.
func stagesOf(env admin.Environment, place float64) []stage {
	out := []stage{{name: "place", wall: place}}
	sandbox := 0.0
	for _, s := range env.Stages {
		name, isCPU := strings.CutSuffix(s.Name, ", cpu")
		if isCPU {
			out[len(out)-1].cpu = s.Seconds * 1000
			continue
		}
		st := stage{name: "sandbox: " + name, wall: s.Seconds * 1000, within: strings.Contains(name, ": ")}
		if out = append(out, st); !st.within {
			sandbox += st.wall
		}
	}
	for i, m := range env.Moves {
		wall := m.Seconds * 1000
		switch {
		case i == 0:
			out = append(out, stage{name: "sandbox: rest", wall: wall - sandbox})
		case m.From == "Restoring":
			out = append(out, stage{name: "hooks: from the word to the runtime's next", wall: wall})
		case m.From == "Invoking":
			return append(out, stage{name: "first byte: from the event to the answer", wall: wall})
		}
	}
	return out
}

// usage is the processor time of the processes below a server so far, by who they are and in nanoseconds.
type usage map[int]used

type used struct {
	who string
	ns  float64
}

// by is what one kind of process has used since before, in milliseconds. A process that is new counts from its beginning.
func (u usage) by(who string, before usage) (sum float64) {
	for pid, p := range u {
		if p.who == who {
			sum += p.ns - before[pid].ns
		}
	}
	return sum / 1e6
}

// processorTime reads the account of every thread that lives. Source: Documentation/scheduler/sched-stats, /proc/PID/task/TID/schedstat: time on the processor
// in nanoseconds comes first.
func (s *server) processorTime() usage {
	out := usage{}
	for _, pid := range append(children(s.cmd.Process.Pid), s.cmd.Process.Pid) {
		out[pid] = used{s.who(pid), threadsTime(pid)}
	}
	return out
}

func threadsTime(pid int) (ns float64) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, file := range tasks {
		if b, err := os.ReadFile(file); err == nil {
			first, _, _ := strings.Cut(string(b), " ")
			n, _ := strconv.ParseFloat(first, 64)
			ns += n
		}
	}
	return ns
}

// parties are what who tells of a server's processes.
func (s *server) parties() []string {
	if microVM(s.kind) {
		return []string{"server", "monitor", "function"}
	}
	return []string{"server", "launcher", "sandbox", "gofer", "function"}
}

// who tells what a process below the server is, by its command line: those that run the function's own code have none.
func (s *server) who(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	args := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
	switch {
	case pid == s.cmd.Process.Pid:
		return "server"
	case slices.Contains(args, "launch"):
		return "launcher"
	case microVM(s.kind) && (strings.Contains(args[0], "firecracker") || strings.Contains(args[0], "qemu-system")):
		return "monitor"
	case strings.HasPrefix(args[0], "runsc-"):
		return strings.TrimPrefix(args[0], "runsc-")
	}
	return "function"
}
