package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"thaw/node"
)

func configCommand(a *app) *cobra.Command {
	var running bool
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Show the effective settings and where each came from",
		Long: `Shows what a server started with the same flags, variables and files would use. Later places beat earlier ones:
the default, the config file (NAME = VALUE lines), the environment (THAW_NAME), the command line (--NAME).`,
		Args:    args(cobra.NoArgs),
		Example: "thaw config --listen 127.0.0.1:9700 -o json",
	}
	cmd.Flags().BoolVar(&running, "running", false, "show the settings of the running server instead")
	addSettings(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.settings(cmd)
		if err != nil {
			return err
		}
		values := c.Values()
		if running {
			server, _, err := a.server(cmd)
			if err != nil {
				return err
			}
			values = nil
			if err := server.Config(cmd.Context(), &values); err != nil {
				return err
			}
		}
		return a.print(values, func(w io.Writer) { table(w, configRows(values)) })
	}
	return cmd
}

func configRows(values []node.Value) [][]string {
	rows := [][]string{{"NAME", "VALUE", "UNIT", "FROM"}}
	for _, v := range values {
		from := string(v.Origin)
		if v.Where != "" {
			from = fmt.Sprintf("%s (%s)", v.Origin, v.Where)
		}
		rows = append(rows, []string{v.Name, v.Value, v.Unit, from})
	}
	return rows
}
