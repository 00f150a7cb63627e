package main

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thaw/admin"
)

func psCommand(a *app) *cobra.Command {
	var moves int
	cmd := &cobra.Command{
		Use:               "ps [FUNCTION]",
		Short:             "List the execution environments",
		Args:              args(cobra.MaximumNArgs(1)),
		ValidArgsFunction: a.complete(aFunction),
		Example:           "thaw ps -o json",
	}
	cmd.Flags().IntVar(&moves, "moves", 0, "how many of the last moves to show, with how long each state lasted")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		server, _, err := a.server(cmd)
		if err != nil {
			return err
		}
		envs, err := server.Environments(cmd.Context())
		if err != nil {
			return err
		}
		if len(names) == 1 {
			name, region := nameOf(names[0])
			envs = slices.DeleteFunc(envs, func(e admin.Environment) bool { return e.Function != name || region != "" && e.Region != region })
			if len(envs) == 0 {
				if err := noFunction(cmd.Context(), server, names[0]); err != nil {
					return err
				}
			}
		}
		slices.SortFunc(envs, func(x, y admin.Environment) int {
			return cmp.Or(cmp.Compare(x.Function, y.Function), cmp.Compare(x.Qualifier, y.Qualifier), x.Created.Compare(y.Created))
		})
		return a.print(envs, func(w io.Writer) { table(w, psRows(envs, moves, time.Now())) })
	}
	return cmd
}

func psRows(envs []admin.Environment, moves int, now time.Time) [][]string {
	rows := [][]string{{"ENV", "FUNCTION", "VERSION", "STATE", "FOR", "AGE", "INVOKES", "MEMORY"}}
	regions := slices.ContainsFunc(envs, func(e admin.Environment) bool { return e.Region != envs[0].Region })
	if regions {
		rows[0] = append(rows[0], "REGION")
	}
	if moves > 0 {
		rows[0] = append(rows[0], "LAST MOVES")
	}
	for _, e := range envs {
		row := []string{short(e.ID), e.Function, e.Qualifier, stateOf(e), ago(now.Sub(e.Since)), ago(now.Sub(e.Created)), itoa(e.Invokes), mebibytes(e.MemoryBytes)}
		if regions {
			row = append(row, e.Region)
		}
		if moves > 0 {
			row = append(row, trail(e, moves))
		}
		rows = append(rows, row)
	}
	return rows
}

// stateOf marks what is there ahead of demand.
func stateOf(e admin.Environment) string {
	switch {
	case e.Spare:
		return e.State + ", spare"
	case e.Provisioned:
		return e.State + ", provisioned"
	}
	return e.State
}

// trail is the last moves as one line: each state with how long it lasted, then the present one.
func trail(e admin.Environment, n int) string {
	last := e.Moves[max(0, len(e.Moves)-n):]
	var parts []string
	for _, m := range last {
		parts = append(parts, m.From+" "+ago(time.Duration(m.Seconds*float64(time.Second))))
	}
	if len(last) > 0 {
		parts = append(parts, last[len(last)-1].To)
	}
	return strings.Join(parts, " > ")
}
