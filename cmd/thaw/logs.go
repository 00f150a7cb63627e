package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"thaw/admin"
	"thaw/logpattern"
	"thaw/logstore"
)

// logQuery is what the command's flags say.
type logQuery struct {
	admin.LogQuery
	since time.Duration
	lines int
	raw   bool
}

func logsCommand(a *app) *cobra.Command {
	var q logQuery
	cmd := &cobra.Command{
		Use:   "logs FUNCTION...",
		Short: "Show what functions and the platform wrote about them",
		Long: `Shows the newest events of the log groups of one or several functions, oldest first. FUNCTION is a function's name, or the
name of a log group when it begins with a slash. With -o json each event is one line.

Control characters that a function wrote, escape sequences of colours among them, are shown as marks such as ^[[31m, also in a
pipe: they could command the terminal that shows them. --raw and -o json give them as they are. On a terminal, errors and
warnings and the platform's own lines have colours; NO_COLOR=1 turns them off.`,
		Args:              args(cobra.MinimumNArgs(1)),
		ValidArgsFunction: a.complete(aFunction),
		Example:           "thaw logs hello --since 10m --filter REPORT",
	}
	f := cmd.Flags()
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on with what comes, until interrupted")
	f.IntVarP(&q.lines, "lines", "n", 100, "how many of the newest events; 0: all")
	f.Var((*days)(&q.since), "since", "only events of the last 10m, 2h, 1d ...")
	f.StringVar(&q.PatternText, "filter", "", `CloudWatch Logs filter pattern: ERROR -debug "two words", ?a ?b, %regex%, { $.level = "ERROR" && $.n > 3 }, [a, ..., b = 4*]`)
	f.StringVar(&q.StreamPrefix, "stream", "", "only log streams whose name begins so")
	f.BoolVar(&q.raw, "raw", false, "control characters and escape sequences as they were written")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if _, err := logpattern.Parse(q.PatternText); err != nil {
			return misuse{err}
		}
		if q.lines < 0 || q.since < 0 {
			return misuse{errors.New("--lines and --since cannot be negative")}
		}
		if q.since > 0 {
			q.Since = time.Now().Add(-q.since)
		}
		server, _, err := a.server(cmd)
		if err != nil {
			return err
		}
		slices.Sort(names)
		l := &logReader{server: server, q: q, names: slices.Compact(names), printer: newLogPrinter(a, q.raw, names)}
		return l.run(cmd.Context(), a.words)
	}
	return cmd
}

// logReader shows the logs of some functions.
type logReader struct {
	server  *admin.Client
	q       logQuery
	names   []string
	printer *logPrinter
	groups  map[string]string // of functions, by name
}

// group is the log group of a name: a function's own, or the usual one.
func (l *logReader) group(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	name, _ = nameOf(name)
	if group := l.groups[name]; group != "" {
		return group
	}
	return "/aws/lambda/" + name
}

// look learns which groups functions write to. Without an answer the usual ones are taken.
func (l *logReader) look(ctx context.Context) {
	l.groups = map[string]string{}
	list, err := l.server.Functions(ctx)
	if err != nil {
		return
	}
	for _, f := range list {
		l.groups[f.Name] = f.Group
	}
}

// logLine is an event of one of the functions.
type logLine struct {
	name  string
	event logstore.Event
	err   error
}

func (l *logReader) run(ctx context.Context, words io.Writer) error {
	l.look(ctx)
	var all []logLine
	last := map[string]uint64{} // IDs, by name
	for _, name := range l.names {
		events, err := l.old(ctx, name)
		if errors.Is(err, fs.ErrNotExist) && (len(l.names) > 1 || l.q.Follow) {
			fmt.Fprintf(words, "nothing was logged to %s yet\n", l.group(name)) //nolint:errcheck // of stderr
			err = nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("nothing was logged to %s yet", l.group(name))
		}
		if err != nil {
			return err
		}
		for _, e := range events {
			all = append(all, logLine{name: name, event: e})
			last[name] = max(last[name], e.ID)
		}
	}
	if len(l.names) > 1 {
		slices.SortStableFunc(all, func(a, b logLine) int { return cmp.Compare(a.event.Time, b.event.Time) })
	}
	if l.q.lines > 0 && len(all) > l.q.lines {
		all = all[len(all)-l.q.lines:]
	}
	for _, line := range all {
		if err := l.printer.print(line.name, l.group(line.name), line.event); err != nil {
			return err
		}
	}
	if !l.q.Follow {
		return nil
	}
	return l.follow(ctx, last)
}

// old are the events of a function that are there. fs.ErrNotExist: none, though there is a function.
func (l *logReader) old(ctx context.Context, name string) (events []logstore.Event, err error) {
	q := l.q.LogQuery
	q.Group, q.Follow, q.Limit, q.Newest = l.group(name), false, l.q.lines, l.q.lines > 0
	for e, err := range l.server.Logs(ctx, q) {
		if errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(name, "/") {
			if err := noFunction(ctx, l.server, name); err != nil {
				return nil, err
			}
		}
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, nil
}

// follow shows what comes behind the last events.
func (l *logReader) follow(ctx context.Context, last map[string]uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	lines := make(chan logLine)
	var readers sync.WaitGroup
	for _, name := range l.names {
		q := l.q.LogQuery
		q.Group, q.After = l.group(name), last[name]
		readers.Go(func() {
			for e, err := range l.server.Logs(ctx, q) {
				select {
				case lines <- logLine{name, e, err}:
				case <-ctx.Done():
					return
				}
			}
		})
	}
	go func() { readers.Wait(); close(lines) }()
	var err error
	for line := range lines {
		if err == nil {
			if err = line.err; err == nil {
				err = l.printer.print(line.name, l.group(line.name), line.event)
			}
			if err != nil {
				cancel()
			}
		}
	}
	cancel()
	return err
}

// days is a duration that may also be given in days and weeks, as people say it of logs.
type days time.Duration

func (d *days) String() string {
	if *d == 0 {
		return "" // no default is shown
	}
	return time.Duration(*d).String()
}

func (*days) Type() string { return "duration" }

func (d *days) Set(text string) error {
	unit := map[string]time.Duration{"d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	if n := len(text); n > 1 && unit[text[n-1:]] > 0 {
		count, err := strconv.ParseFloat(text[:n-1], 64)
		if err != nil {
			return fmt.Errorf("%q is no number of days or weeks", text[:n-1])
		}
		*d = days(count * float64(unit[text[n-1:]]))
		return nil
	}
	parsed, err := time.ParseDuration(text)
	*d = days(parsed)
	return err
}
