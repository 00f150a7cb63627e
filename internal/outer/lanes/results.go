package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// event is a line of go test -json. Source: go doc test2json.
type event struct {
	Action, Package, Test, Output string
	Elapsed                       float64
}

// results are what became of the tests of a lane.
type results struct {
	out     io.Writer
	verbose bool
	tests   []*outcome
	broken  []string // packages that failed beside their tests: they do not compile, or their process died
	retried int      // boots of machines that hung, and were tried once more
}

// retry is what the suite of monitors, and the outer machine, say of a machine that hung: emulated ones do, rarely. It is
// never passed over.
var retry = regexp.MustCompile(`is tried once more|; retry 1 of 1$`)

// outcome is what became of one test.
type outcome struct {
	pkg, name, action string
	output            []string
	elapsed           float64
}

// missingError says why a lane could run nothing.
type missingError struct{ reason string }

func (e *missingError) Error() string { return e.reason }

// read takes the output of go test -json. What is no event is printed.
func (r *results) read(from io.Reader) error {
	open := map[[2]string]*outcome{}
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Action == "" {
			fmt.Fprintln(r.out, lines.Text())
			continue
		}
		r.take(e, open)
	}
	for _, o := range open { // began, and nobody heard of their end
		if o.name != "" {
			o.action = "fail"
			r.done(o)
		}
	}
	return lines.Err()
}

func (r *results) take(e event, open map[[2]string]*outcome) {
	key := [2]string{e.Package, e.Test}
	o := open[key]
	if o == nil {
		o = &outcome{pkg: e.Package, name: e.Test}
		open[key] = o
	}
	switch e.Action {
	case "output":
		o.output = append(o.output, e.Output)
		hung := retry.MatchString(strings.TrimSpace(e.Output))
		if hung {
			r.retried++
		}
		if r.verbose || hung {
			fmt.Fprint(r.out, e.Output)
		}
	case "build-output":
		fmt.Fprint(r.out, e.Output)
	case "pass", "fail", "skip":
		delete(open, key)
		o.action, o.elapsed = e.Action, e.Elapsed
		if e.Test != "" {
			r.done(o)
		} else if e.Action == "fail" {
			r.broken = append(r.broken, e.Package)
			r.show(o)
		}
	}
}

func (r *results) done(o *outcome) {
	r.tests = append(r.tests, o)
	if o.action == "fail" {
		r.show(o)
	}
}

// show prints what a test has printed, unless that was done as it came.
func (r *results) show(o *outcome) {
	if !r.verbose {
		fmt.Fprint(r.out, strings.Join(o.output, ""))
	}
}

func (r *results) failed() bool {
	return len(r.broken) > 0 || slices.ContainsFunc(r.tests, func(o *outcome) bool { return o.action == "fail" })
}

// leaves are the tests that have no parts: a test with parts is counted by them.
func (r *results) leaves() (all []*outcome) {
	parents := map[[2]string]bool{}
	for _, o := range r.tests {
		for name := o.name; ; {
			i := strings.LastIndexByte(name, '/')
			if i < 0 {
				break
			}
			name = name[:i]
			parents[[2]string{o.pkg, name}] = true
		}
	}
	for _, o := range r.tests {
		if !parents[[2]string{o.pkg, o.name}] {
			all = append(all, o)
		}
	}
	return all
}

var place = regexp.MustCompile(`^\S+_test\.go:\d+: `)

// reason is why a test was skipped: the last that it said.
func (o *outcome) reason() string {
	for _, line := range slices.Backward(o.output) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "--- ") || strings.HasPrefix(line, "=== ") {
			continue
		}
		return place.ReplaceAllString(line, "")
	}
	return "without a reason"
}

// table prints each test with what became of it.
func (r *results) table() {
	for _, o := range r.leaves() {
		line := fmt.Sprintf("  %-4s %6.1f s  %s %s", o.action, o.elapsed, strings.TrimPrefix(o.pkg, "thaw/"), o.name)
		if o.action == "skip" {
			line += ": " + o.reason()
		}
		fmt.Fprintln(r.out, line)
	}
}

// line is what the lane ends with.
func (r *results) line(err error) string {
	var missing *missingError
	if errors.As(err, &missing) {
		return "skipped: " + missing.reason
	}
	ran, failed, skipped := 0, 0, map[string]int{}
	for _, o := range r.leaves() {
		switch o.action {
		case "skip":
			skipped[o.reason()]++
		case "fail":
			failed++
			fallthrough
		default:
			ran++
		}
	}
	total := 0
	var reasons []string
	for _, reason := range slices.SortedFunc(maps.Keys(skipped), func(a, b string) int {
		return cmp.Or(cmp.Compare(skipped[b], skipped[a]), cmp.Compare(a, b))
	}) {
		total += skipped[reason]
		reasons = append(reasons, fmt.Sprintf("%s: %d", reason, skipped[reason]))
	}
	line := fmt.Sprintf("%d ran, %d skipped", ran, total)
	if total > 0 {
		line += " (" + strings.Join(reasons, "; ") + ")"
	}
	if r.retried > 0 {
		line += fmt.Sprintf(", %d boots hung and were tried once more", r.retried)
	}
	if failed > 0 {
		line += fmt.Sprintf(", %d FAILED", failed)
	}
	if len(r.broken) > 0 {
		line += ", FAILED: " + strings.Join(r.broken, " ")
	}
	if err != nil {
		line += ", FAILED: " + err.Error()
	}
	return line
}
