package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"thaw/admin"
)

func snapshotLsCommand(a *app) *cobra.Command {
	return listCommand(a, &cobra.Command{Short: "List the versions with SnapStart and their current generations", Example: "thaw snapshot ls -o json"},
		(*admin.Client).Snapshots, func(s admin.Snapshot) string { return s.Function }, snapshotRows)
}

// listCommand makes of a command one that lists what the server has, of one function or of all.
func listCommand[T any](a *app, c *cobra.Command, list func(*admin.Client, context.Context) ([]T, error), function func(T) string,
	rows func([]T, time.Time) [][]string) *cobra.Command {
	c.Use, c.Aliases, c.Args = "ls [FUNCTION]", []string{"list"}, args(cobra.MaximumNArgs(1))
	c.ValidArgsFunction = a.complete(aFunction)
	c.RunE = func(cmd *cobra.Command, names []string) error {
		server, _, err := a.server(cmd)
		if err != nil {
			return err
		}
		all, err := list(server, cmd.Context())
		if err != nil {
			return err
		}
		if len(names) == 1 {
			all = slices.DeleteFunc(all, func(one T) bool { return function(one) != names[0] })
		}
		return a.print(all, func(w io.Writer) { table(w, rows(all, time.Now())) })
	}
	return c
}

func snapshotRows(list []admin.Snapshot, now time.Time) [][]string {
	rows := [][]string{{"VERSION", "STATE", "GENERATION", "AGE", "EXPIRES", "REFRESH", "SIZE", "OWN", "SHARED", "ENVS", "POLICY", "LAST ERROR"}}
	for _, s := range list {
		row := []string{s.Function + ":" + s.Version, s.State, "-", "-", "-", "-", "-", "-", "-", "-", s.PolicyFrom, s.LastError}
		if s.ID != "" {
			row = []string{row[0], row[1], itoa(s.Generation), ago(now.Sub(s.Born)), in(s.Expires, now), in(s.RefreshAt, now), size(s.Bytes), size(s.OwnBytes),
				percent(s.SharedShare), strconv.Itoa(s.Environments), row[10], row[11]}
		}
		rows = append(rows, row)
	}
	return rows
}

// in says how far away a moment is.
func in(t, now time.Time) string {
	switch {
	case t.IsZero():
		return "never"
	case !t.After(now):
		return "now"
	}
	return "in " + ago(t.Sub(now))
}

func percent(share float64) string { return fmt.Sprintf("%.0f %%", 100*share) }
