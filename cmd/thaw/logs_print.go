package main

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/charmbracelet/lipgloss"

	"thaw/logstore"
)

// logPrinter prints events for people, or as JSON.
type logPrinter struct {
	a       *app
	raw     bool
	width   int // of the names; 0: there is one function, which is not named
	colours bool
	names   map[string]lipgloss.Style
	time    lipgloss.Style
	levels  map[string]lipgloss.Style
}

// nameColours tell functions apart; red and yellow are those of errors and warnings.
var nameColours = []string{"6", "5", "4", "2", "14", "13", "12", "10"}

// newLogPrinter knows the names that will be printed. Colours follow NO_COLOR, CLICOLOR and TERM (package termenv).
func newLogPrinter(a *app, raw bool, names []string) *logPrinter {
	p := &logPrinter{a: a, raw: raw}
	if len(names) > 1 {
		for _, n := range names {
			p.width = max(p.width, lipgloss.Width(visibleLine(n)))
		}
	}
	if terminal(a.out) {
		p.colour(lipgloss.NewRenderer(a.out), names)
	}
	return p
}

func (p *logPrinter) colour(r *lipgloss.Renderer, names []string) {
	style := func(colour string) lipgloss.Style { return r.NewStyle().Foreground(lipgloss.Color(colour)) }
	p.colours = true
	p.names, p.time = map[string]lipgloss.Style{}, r.NewStyle().Faint(true)
	for i, n := range names {
		p.names[n] = style(nameColours[i%len(nameColours)])
	}
	p.levels = map[string]lipgloss.Style{"ERROR": style("1"), "WARN": style("3"), "PLATFORM": r.NewStyle().Faint(true)}
}

// print prints an event of a function.
func (p *logPrinter) print(name, group string, e logstore.Event) error {
	if p.a.output == "json" {
		return writeJSON(p.a.out, struct {
			Group string `json:"group"`
			logstore.Event
		}{group, e}, "")
	}
	env, message := short(e.Stream[strings.LastIndexByte(e.Stream, ']')+1:]), strings.TrimRight(e.Message, "\r\n")
	if !p.raw {
		env, message = visibleLine(env), visible(message)
	}
	who := ""
	if p.width > 0 {
		who = visibleLine(name)
		who += strings.Repeat(" ", p.width-lipgloss.Width(who)) + "  "
	}
	when := time.UnixMilli(e.Time).Format("2006-01-02 15:04:05.000")
	if p.colours {
		when = p.time.Render(when)
		if who != "" {
			who = p.names[name].Render(who)
		}
		if style, ok := p.levels[levelOf(e.Message)]; ok {
			message = rendered(style, message)
		}
	}
	_, err := fmt.Fprintf(p.a.out, "%s  %s%s  %s\n", when, who, env, message)
	return err
}

// rendered colours each line by itself: a style pads a text of several lines to a block.
func rendered(style lipgloss.Style, text string) string {
	lines := strings.Split(text, "\n")
	for i, l := range lines {
		lines[i] = style.TabWidth(lipgloss.NoTabConversion).Render(l)
	}
	return strings.Join(lines, "\n")
}

var (
	platformLine = regexp.MustCompile(`^(START|END|REPORT|INIT_START|INIT_REPORT|RESTORE_START|RESTORE_REPORT|EXTENSION|TELEMETRY|LOGS|XRAY)\b|^\{"time":"[^"]*","type":"platform\.`)
	levelWord    = regexp.MustCompile(`^\{.*"level":\s*"(\w+)"|^\[(\w+)\]|^\S+\t\S+\t(\w+)\t`)
)

// levelOf is ERROR, WARN, PLATFORM for the platform's own lines, or empty, by the forms that runtimes write.
func levelOf(message string) string {
	head := message[:min(len(message), 2<<10)]
	if platformLine.MatchString(head) {
		return "PLATFORM"
	}
	m := levelWord.FindStringSubmatch(head)
	if m == nil {
		if strings.Contains(head, "Task timed out after") || strings.Contains(head, "Error: Runtime exited") {
			return "ERROR"
		}
		return ""
	}
	switch strings.ToUpper(m[1] + m[2] + m[3]) {
	case "ERROR", "FATAL", "CRITICAL":
		return "ERROR"
	case "WARN", "WARNING":
		return "WARN"
	}
	return ""
}
