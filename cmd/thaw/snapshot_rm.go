package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

func snapshotRmCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "rm FUNCTION[:VERSION]",
		Short: "Let a version's snapshot go",
		Long: `Deletes the current snapshot. The version stays Active: its next cold invoke runs Init, and a new snapshot is made beside it. What runs in
environments of the old one finishes.`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: a.complete(aQualified),
		Example:           "thaw snapshot rm hello:1",
		RunE: func(cmd *cobra.Command, names []string) error {
			server, _, err := a.server(cmd)
			if err != nil {
				return err
			}
			s, err := server.RemoveSnapshot(cmd.Context(), names[0])
			if err != nil {
				return plainSnapshot(err, names[0])
			}
			return a.print(s, func(w io.Writer) { fmt.Fprintf(w, "%s:%s is %s\n", s.Function, s.Version, s.State) })
		},
	}
}
