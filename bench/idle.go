package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc/PID/stat. Source: proc(5), sysconf(_SC_CLK_TCK), 100 on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// stat is what /proc says of a process.
type stat struct {
	parent int
	cpu    time.Duration
}

func readStat(pid int) (stat, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // f[0] is field 3 of proc(5)
	if len(f) < 13 {
		return stat{}, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(f))
	}
	parent, _ := strconv.Atoi(f[1])
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return stat{parent, time.Duration(user+system) * tick}, nil
}

// cpu is the time that processes have used so far; those that are gone count nothing.
func cpu(pids []int) (sum time.Duration) {
	for _, pid := range pids {
		if s, err := readStat(pid); err == nil {
			sum += s.cpu
		}
	}
	return sum
}

// memoryMiB is the sum of the processes' proportional shares, or of what is resident where the kernel keeps those from us.
func memoryMiB(pids []int) (sum float64) {
	for _, pid := range pids {
		for _, from := range []struct{ file, line string }{{"smaps_rollup", "Pss:"}, {"status", "VmRSS:"}} {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, from.file))
			if err != nil {
				continue
			}
			_, rest, found := strings.Cut(string(b), "\n"+from.line)
			if f := strings.Fields(rest); found && len(f) > 0 {
				kib, _ := strconv.ParseFloat(f[0], 64)
				sum += kib / 1024
				break
			}
		}
	}
	return sum
}

// children are the processes below pid.
func children(pid int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	parent := map[int]int{}
	for _, e := range entries {
		if p, err := strconv.Atoi(e.Name()); err == nil {
			if s, err := readStat(p); err == nil {
				parent[p] = s.parent
			}
		}
	}
	var out []int
	for p := range parent {
		for up := parent[p]; up > 1; up = parent[up] {
			if up == pid {
				out = append(out, p)
				break
			}
		}
	}
	return out
}

// share is the part of one core, in percent, that processes use over d.
func share(ctx context.Context, pids []int, d time.Duration) (float64, error) {
	before, began := cpu(pids), time.Now()
	select {
	case <-time.After(d):
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return 100 * (cpu(pids) - before).Seconds() / time.Since(began).Seconds(), nil
}

func measureIdle(ctx context.Context, o options, s *server) ([]result, error) {
	select {
	case <-time.After(3 * time.Second): // its start is over
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	self := []int{s.cmd.Process.Pid}
	below := children(self[0])
	used, err := share(ctx, self, o.idle)
	if err != nil {
		return nil, err
	}
	usedBelow, err := share(ctx, below, o.idle)
	return []result{
		{what: "server, CPU", value: used, unit: "% of a core", aim: 1},
		{what: "server, memory", value: memoryMiB(self), unit: "MiB", aim: 150},
		{what: "its blank sandboxes, CPU", value: usedBelow, unit: "% of a core"},
		{what: "its blank sandboxes, memory", value: memoryMiB(below), unit: "MiB"},
	}, err
}

// measureFrozen runs a function that keeps a timer busy, and counts what its environment uses between invokes.
func measureFrozen(ctx context.Context, o options, s *server) ([]result, error) {
	rt, err := hostNode(ctx)
	if err != nil {
		return nil, err
	}
	busy := `setInterval(() => { const end = Date.now() + 5; while (Date.now() < end); }, 10); exports.handler = async (event) => event;`
	if err := s.create(ctx, "busy", rt, "index.handler", "index.js", []byte(busy)); err != nil {
		return nil, err
	}
	raw, err := s.prepare(ctx, "busy", "", []byte(smallEvent), false)
	if err != nil {
		return nil, err
	}
	l, err := dialLoad(ctx, s.host, raw)
	if err != nil {
		return nil, err
	}
	defer l.close()
	if _, err := l.once(); err != nil {
		return nil, err
	}
	time.Sleep(500 * time.Millisecond) // longer than the grace before freezing
	envs, err := s.admin.Environments(ctx)
	if err != nil {
		return nil, err
	}
	for _, e := range envs {
		if e.Function != "busy" {
			continue
		}
		if len(e.PIDs) == 0 {
			return nil, fmt.Errorf("environment %s (%s) tells no processes", e.ID, e.State)
		}
		// The guest's children are in no list: take whoever is below as well.
		pids := slices.Clone(e.PIDs)
		for _, pid := range e.PIDs {
			pids = append(pids, children(pid)...)
		}
		slices.Sort(pids)
		pids = slices.Compact(pids)
		used, err := share(ctx, pids, o.idle)
		return []result{
			{what: "environment with a busy timer, CPU", value: used, unit: "% of a core", aim: 0.1},
			{what: "its memory", value: memoryMiB(pids), unit: "MiB"},
		}, err
	}
	return nil, fmt.Errorf("no environment of the function among %d", len(envs))
}
