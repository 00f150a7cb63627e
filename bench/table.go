package main

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// environment says on one line what was measured on what.
func environment(ctx context.Context, thaw string) string {
	said := func(program string, args ...string) string {
		out, err := exec.CommandContext(ctx, program, args...).Output()
		if err != nil {
			return program + " missing"
		}
		first, _, _ := strings.Cut(string(out), "\n")
		return strings.TrimSpace(first)
	}
	var u unix.Utsname
	unix.Uname(&u)
	return fmt.Sprintf("%d cores, %s %s %s; %s; node %s; %s", runtime.NumCPU(), unix.ByteSliceToString(u.Sysname[:]),
		unix.ByteSliceToString(u.Release[:]), runtime.GOARCH, runtime.Version(), said("node", "--version"), said(thaw, "version"))
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile of values, the nearest one.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	return s[min(len(s)-1, int(q*float64(len(s))))]
}

// printTables writes Markdown, one table for each measurement, one column for each sandbox.
func printTables(all []result, sandboxes []string) {
	seen := map[string]bool{}
	for _, r := range all {
		if seen[r.table] {
			continue
		}
		seen[r.table] = true
		fmt.Printf("\n%s\n\n| | aim |", r.table)
		for _, s := range sandboxes {
			fmt.Printf(" %s |", s)
		}
		if len(sandboxes) == 2 {
			fmt.Printf(" %s : %s |", sandboxes[1], sandboxes[0])
		}
		fmt.Printf("\n|---|---|%s\n", strings.Repeat("---|", len(sandboxes)+len(sandboxes)/2))
		printTable(all, r.table, sandboxes)
	}
}

func printTable(all []result, table string, sandboxes []string) {
	done := map[string]bool{}
	for _, r := range all {
		if r.table != table || done[r.what] {
			continue
		}
		done[r.what] = true
		fmt.Printf("| %s | %s |", r.what, aims(all, table, r.what))
		var values []float64
		for _, s := range sandboxes {
			cell, value := "", 0.0
			for _, x := range all {
				if x.table == table && x.what == r.what && (x.sandbox == s || x.sandbox == "") {
					cell, value = x.String(), x.value
				}
			}
			values = append(values, value)
			fmt.Printf(" %s |", cell)
		}
		if len(values) == 2 {
			if ratio := ""; values[0] > 0 && values[1] > 0 && r.sandbox != "" {
				ratio = fmt.Sprintf("%.2f", values[1]/values[0])
				fmt.Printf(" %s |", ratio)
			} else {
				fmt.Print(" |")
			}
		}
		fmt.Println()
	}
}

// aims are the bounds of a line, which may differ between sandboxes.
func aims(all []result, table, what string) string {
	var out []string
	for _, r := range all {
		if r.table != table || r.what != what || r.aim == 0 && !r.none {
			continue
		}
		sign := "≤"
		switch {
		case r.atLeast:
			sign = "≥"
		case r.exact:
			sign = "="
		}
		if a := strings.TrimSpace(fmt.Sprintf("%s %g %s", sign, r.aim, r.unit)); !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return strings.Join(out, ", ")
}

// String is the value with its unit, and a mark when it misses its aim.
func (r result) String() string {
	if r.words != "" {
		return r.words
	}
	text := strings.TrimSpace(fmt.Sprintf("%.2f %s", r.value, r.unit))
	if r.value >= 100 || r.unit == "" && r.value == math.Trunc(r.value) {
		text = strings.TrimSpace(fmt.Sprintf("%.0f %s", r.value, r.unit))
	}
	if r.cpu > 0 {
		text += fmt.Sprintf(" (cpu %.1f)", r.cpu)
	}
	if r.missed() {
		text = "**" + text + "** (misses)"
	}
	return text
}

// missed says whether a value does not meet its aim.
func (r result) missed() bool {
	switch {
	case r.none:
		return r.value > 0
	case r.aim == 0:
		return false
	case r.atLeast:
		return r.value < r.aim
	case r.exact:
		return r.value != r.aim
	}
	return r.value > r.aim
}
