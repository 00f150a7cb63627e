package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"thaw/node"
)

// finding is what one check of the doctor gave.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, warn, fail
	Detail string `json:"detail"`
	Repair string `json:"repair,omitempty"` // what to type; only when not ok
}

// Results of a check. A warning costs something, a failure means that no server would run here.
const (
	ok   = "ok"
	warn = "warn"
	fail = "fail"
)

func doctorCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say what can run on this host, and how to repair what cannot",
		Long: `Checks sandboxes, kernel, disk, clock, ports and interpreters. Each check that is not ok prints the command that repairs it.
The exit code is 1 when a server could not run here at all.`,
		Args:    args(cobra.NoArgs),
		Example: "thaw doctor -o json",
	}
	addSettings(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.settings(cmd)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), time.Minute)
		defer cancel()
		findings := examine(ctx, c)
		err = a.print(findings, func(w io.Writer) { table(w, doctorRows(findings)) })
		for _, f := range findings {
			if f.Result == fail && err == nil {
				err = errSilent
			}
		}
		return err
	}
	return cmd
}

// examine runs every check; it changes nothing on the host.
func examine(ctx context.Context, c node.Config) []finding {
	var all []finding
	for _, check := range checks {
		for _, f := range check(ctx, c) {
			if f.Result == ok {
				f.Repair = ""
			}
			all = append(all, f)
		}
	}
	return all
}

func doctorRows(findings []finding) [][]string {
	rows := [][]string{{"CHECK", "RESULT", "DETAIL"}}
	for _, f := range findings {
		detail := f.Detail
		if f.Repair != "" {
			detail += fmt.Sprintf("; type: %s", f.Repair)
		}
		rows = append(rows, []string{f.Check, f.Result, detail})
	}
	return rows
}
