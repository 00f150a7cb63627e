package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thaw/admin"
	"thaw/logpattern"
	"thaw/logstore"
)

func logsCommand(a *app) *cobra.Command {
	var (
		q     admin.LogQuery
		since time.Duration
		lines int
		raw   bool
	)
	cmd := &cobra.Command{
		Use:   "logs FUNCTION",
		Short: "Show what a function and the platform wrote about it",
		Long: `Shows the newest events of a function's log group, oldest first. FUNCTION is a function's name, or the name of a log group
when it begins with a slash. With -o json each event is one line.

Control characters that a function wrote, escape sequences of colours among them, are shown as marks such as ^[[31m, also in a
pipe: they could command the terminal that shows them. --raw and -o json give them as they are.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw logs hello --since 10m --filter REPORT",
	}
	f := cmd.Flags()
	f.BoolVarP(&q.Follow, "follow", "f", false, "go on with what comes, until interrupted")
	f.IntVarP(&lines, "lines", "n", 100, "how many of the newest events; 0: all")
	f.Var((*days)(&since), "since", "only events of the last 10m, 2h, 1d ...")
	f.StringVar(&q.PatternText, "filter", "", `CloudWatch Logs filter pattern: ERROR -debug "two words", ?a ?b, %regex%, { $.level = "ERROR" && $.n > 3 }, [a, ..., b = 4*]`)
	f.StringVar(&q.StreamPrefix, "stream", "", "only log streams whose name begins so")
	f.BoolVar(&raw, "raw", false, "control characters and escape sequences as they were written")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if _, err := logpattern.Parse(q.PatternText); err != nil {
			return misuse{err}
		}
		if lines < 0 || since < 0 {
			return misuse{errors.New("--lines and --since cannot be negative")}
		}
		q.Group = groupOf(names[0])
		q.Limit, q.Newest = lines, lines > 0
		if since > 0 {
			q.Since = time.Now().Add(-since)
		}
		server, _, err := a.server(cmd)
		if err != nil {
			return err
		}
		for e, err := range server.Logs(cmd.Context(), q) {
			if errors.Is(err, fs.ErrNotExist) {
				if !strings.HasPrefix(names[0], "/") {
					if err := noFunction(cmd.Context(), server, names[0]); err != nil {
						return err
					}
				}
				return fmt.Errorf("nothing was logged to %s yet", q.Group)
			}
			if err != nil {
				return err
			}
			if err := a.printEvent(e, raw); err != nil {
				return err
			}
		}
		return nil
	}
	return cmd
}

func groupOf(name string) string {
	if strings.HasPrefix(name, "/") {
		return name
	}
	name, _ = nameOf(name)
	return "/aws/lambda/" + name
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

func (a *app) printEvent(e logstore.Event, raw bool) error {
	if a.output == "json" {
		return writeJSON(a.out, e, "")
	}
	env, message := short(e.Stream[strings.LastIndexByte(e.Stream, ']')+1:]), strings.TrimRight(e.Message, "\r\n")
	if !raw {
		env, message = visibleLine(env), visible(message)
	}
	_, err := fmt.Fprintf(a.out, "%s  %s  %s\n", time.UnixMilli(e.Time).Format("2006-01-02 15:04:05.000"), env, message)
	return err
}
