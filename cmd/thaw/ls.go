package main

import (
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"thaw/admin"
)

func lsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the functions",
		Args:    args(cobra.NoArgs),
		Example: "thaw ls -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			server, _, err := a.server(cmd)
			if err != nil {
				return err
			}
			list, err := server.Functions(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) { table(w, functionRows(list, time.Now())) })
		},
	}
}

func functionRows(list []admin.Function, now time.Time) [][]string {
	regions := slices.CompactFunc(slices.Clone(list), func(x, y admin.Function) bool { return x.Region == y.Region })
	rows := [][]string{{"FUNCTION", "RUNTIME", "STATE", "MEMORY", "VERSIONS", "CHANGED", "REGION"}}
	for _, f := range list {
		versions := "-"
		if n := len(f.Versions); n > 0 {
			versions = fmt.Sprintf("%d, to %d", n, f.Versions[n-1])
		}
		if f.SnapStart {
			versions += ", SnapStart"
		}
		rows = append(rows, []string{f.Name, f.Runtime, f.State, fmt.Sprintf("%d MiB", f.MemoryMiB), versions, ago(now.Sub(f.Modified)), f.Region})
	}
	if len(regions) < 2 {
		for i := range rows {
			rows[i] = rows[i][:len(rows[i])-1]
		}
	}
	return rows
}
