package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"thaw/admin"
)

func snapshotLsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls [FUNCTION]",
		Aliases: []string{"list"},
		Short:   "List the versions with SnapStart and their current generations",
		Args:    args(cobra.MaximumNArgs(1)),
		Example: "thaw snapshot ls -o json",
		RunE: func(cmd *cobra.Command, names []string) error {
			server, _, err := a.server(cmd)
			if err != nil {
				return err
			}
			list, err := server.Snapshots(cmd.Context())
			if err != nil {
				return err
			}
			if len(names) == 1 {
				list = slices.DeleteFunc(list, func(s admin.Snapshot) bool { return s.Function != names[0] })
			}
			return a.print(list, func(w io.Writer) { table(w, snapshotRows(list, time.Now())) })
		},
	}
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
