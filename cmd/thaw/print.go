package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/charmbracelet/lipgloss"
)

// print writes v as JSON, or calls text for the form that people read.
func (a *app) print(v any, text func(io.Writer)) error {
	if a.output == "json" {
		return writeJSON(a.out, v, "  ")
	}
	text(a.out)
	return nil
}

// table writes rows in columns. Cells are text: what commands a terminal in them is shown as marks.
func table(w io.Writer, rows [][]string) {
	var width []int
	for _, row := range rows {
		for i, cell := range row {
			cell = visibleLine(cell)
			row[i] = cell
			if i == len(width) {
				width = append(width, 0)
			}
			width[i] = max(width[i], lipgloss.Width(cell))
		}
	}
	l := lookOf(w)
	for i, row := range rows {
		fmt.Fprintln(w, l.line(row, width, i == 0))
	}
}

// ago is a duration as people say it: two digits and a unit.
func ago(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Millisecond:
		return fmt.Sprintf("%dµs", d.Microseconds())
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func mebibytes(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%d MiB", (n+1<<19)>>20)
}

// size is a number of bytes with the unit that fits it.
func size(n int64) string {
	if n > 0 && n < 10<<20 {
		return fmt.Sprintf("%d KiB", (n+1<<9)>>10)
	}
	return mebibytes(n)
}

// short is as much of an environment's ID as people need.
func short(id string) string { return id[:min(len(id), 12)] }

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }

// fields writes names and their values, one pair a line; those without a value are left out.
func fields(w io.Writer, pairs ...string) {
	width := 0
	for i := 0; i < len(pairs); i += 2 {
		width = max(width, len(pairs[i]))
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(w, "%-*s  %s\n", width, pairs[i], visibleLine(pairs[i+1]))
		}
	}
}
