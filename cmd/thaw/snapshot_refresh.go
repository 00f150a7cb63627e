package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

func snapshotRefreshCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "refresh FUNCTION[:VERSION]",
		Short: "Make a new generation now",
		Long: `Runs Init again, saves and verifies the new generation, and returns when it is the current one. Requests are answered from the old one
meanwhile. When it fails the old one stays, and the exit code is 1.`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: a.complete(aQualified),
		Example:           "thaw snapshot refresh hello:1",
		RunE: func(cmd *cobra.Command, names []string) error {
			server, _, err := a.server(cmd)
			if err != nil {
				return err
			}
			began := time.Now()
			s, err := server.RefreshSnapshot(cmd.Context(), names[0])
			if err != nil {
				return plainSnapshot(err, names[0])
			}
			return a.print(s, func(w io.Writer) {
				fmt.Fprintf(w, "%s:%s is at generation %d, made in %.1f s\n", s.Function, s.Version, s.Generation, time.Since(began).Seconds())
			})
		},
	}
}
