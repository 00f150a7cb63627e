package main

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thaw/admin"
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
	f.DurationVar(&since, "since", 0, "only events of the last 10m, 2h ...")
	f.StringVar(&q.PatternText, "filter", "", `CloudWatch Logs filter pattern: ERROR -debug "two words" ?a ?b, or { $.level = "ERROR" }`)
	f.StringVar(&q.StreamPrefix, "stream", "", "only log streams whose name begins so")
	f.BoolVar(&raw, "raw", false, "control characters and escape sequences as they were written")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if _, err := logstore.ParsePattern(q.PatternText); err != nil {
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
	return "/aws/lambda/" + name
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
