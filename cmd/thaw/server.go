package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"thaw/admin"
	"thaw/node"
)

func serverCommand(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "server",
		Short: "Run the server until it is interrupted",
		Long: `Serves the AWS Lambda API. Every flag can also be a variable THAW_NAME or a line NAME = VALUE of the config file.
The first Ctrl-C lets running invokes finish, for as long as --drain-timeout says; the second ends them.`,
		Args:    args(cobra.NoArgs),
		Example: "thaw server --data-dir ./thaw-data --listen 127.0.0.1:9600",
	}
	addSettings(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.settings(cmd)
		if err != nil {
			return err
		}
		n, err := a.open(cmd.Context(), c)
		if err != nil {
			return err
		}
		forget, err := admin.Announce(c.DataDir, n.Health())
		if err != nil { // commands then need --data-dir where they would not
			fmt.Fprintf(a.words, "thaw: %v\n", err)
			forget = func() error { return nil }
		}
		fmt.Fprintf(a.words, "thaw: serving the Lambda API at %s, data in %s; Ctrl-C ends it\n", n.Endpoint(), c.DataDir)
		select {
		case <-cmd.Context().Done():
			fmt.Fprintln(a.words, "thaw: letting running invokes finish; Ctrl-C again ends them")
		case <-n.Drained():
		}
		return errors.Join(forget(), n.Close(a.force))
	}
	return cmd
}

// open starts a server. Ctrl-C during the start gives it up, later it does not touch what the server does.
func (a *app) open(ctx context.Context, c node.Config) (*node.Node, error) {
	life, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	started := context.AfterFunc(ctx, giveUp)
	n, err := node.Open(life, c, a.logger(c))
	if err != nil {
		giveUp()
		return nil, err
	}
	started()
	return n, nil
}
