package main

import (
	"io"
	"os"
	"strings"

	"github.com/charmbracelet/lipgloss"
	"golang.org/x/term"
)

// look is how a table appears to a person. Where nobody looks, in a pipe or a file, there are neither colours nor cut lines.
type look struct {
	width  int // of the terminal; 0: lines are never cut
	head   lipgloss.Style
	states map[string]lipgloss.Style // of cells, by their first word
}

// lookOf fits where w goes. Colours follow NO_COLOR, CLICOLOR and TERM as everywhere (package termenv).
func lookOf(w io.Writer) look {
	var l look
	f, ok := w.(*os.File)
	if !ok || !terminal(w) {
		return l
	}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil { //nolint:gosec // a descriptor
		l.width = width
	}
	r := lipgloss.NewRenderer(w)
	good, bad, under := r.NewStyle().Foreground(lipgloss.Color("2")), r.NewStyle().Foreground(lipgloss.Color("1")), r.NewStyle().Foreground(lipgloss.Color("3"))
	l.head = r.NewStyle().Bold(true)
	l.states = map[string]lipgloss.Style{"Active": good, "yes": good, "Current": good, "ok": good, "Enabled": good, "Failed": bad, "no": bad, "Pending": under, "Inactive": under, "Making": under, "Creating": under, "Enabling": under, "Updating": under, "Disabling": under, "Deleting": under}
	return l
}

// line puts cells into columns two spaces apart; the last is not padded. Colours are put on last: they take no room.
func (l look) line(cells []string, width []int, head bool) string {
	var b strings.Builder
	room := l.width
	for i, cell := range cells {
		last := i == len(cells)-1
		if l.width > 0 && last {
			cell = shorten(cell, max(room, 1))
		}
		padding := 0
		if !last {
			padding = width[i] - lipgloss.Width(cell) + 2
		}
		room -= lipgloss.Width(cell) + padding
		b.WriteString(l.coloured(cell, head))
		b.WriteString(strings.Repeat(" ", padding))
	}
	return strings.TrimRight(b.String(), " ")
}

func (l look) coloured(cell string, head bool) string {
	if l.states == nil || cell == "" {
		return cell
	}
	if head {
		return l.head.Render(cell)
	}
	word, _, _ := strings.Cut(cell, ",")
	if style, ok := l.states[word]; ok {
		return style.Render(cell)
	}
	return cell
}
