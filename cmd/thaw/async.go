package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"thaw/admin"
)

func asyncCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "async",
		Short: "Look at the asynchronous events that are not done, and forget them",
		Long: `An event that was sent with InvocationType Event is kept until its function has run, was given up, and those who want to know were
told. Each qualifier of a function has a queue of its own.`,
		Example: "thaw async ls",
	}, asyncLsCommand(a), asyncPurgeCommand(a))
}

func asyncLsCommand(a *app) *cobra.Command {
	return listCommand(a, &cobra.Command{Short: "List the queues that have events", Example: "thaw async ls"},
		(*admin.Client).Backlog, func(b admin.Backlog) string { return b.Function }, backlogRows)
}

func backlogRows(list []admin.Backlog, now time.Time) [][]string {
	rows := [][]string{{"FUNCTION", "REGION", "EVENTS", "RUNNING", "WAITING", "UNTOLD", "OLDEST", "PAUSED"}}
	for _, b := range list {
		paused := "-"
		if !b.Paused.IsZero() {
			paused = in(b.Paused, now)
		}
		rows = append(rows, []string{b.Function + ":" + b.Qualifier, b.Region, strconv.Itoa(b.Events), strconv.Itoa(b.Running), strconv.Itoa(b.Waiting),
			strconv.Itoa(b.Untold), ago(now.Sub(b.Oldest)), paused})
	}
	return rows
}

func asyncPurgeCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "purge FUNCTION[:QUALIFIER]",
		Short: "Forget the events of a function",
		Long: `Deletes the events that are not done, of all qualifiers of the function unless one is named. Nobody is told of them. An event that is
running ends as it does.`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: a.complete(aQualified),
		Example:           "thaw async purge hello",
		RunE: func(cmd *cobra.Command, names []string) error {
			server, _, err := a.server(cmd)
			if err != nil {
				return err
			}
			list, err := server.PurgeEvents(cmd.Context(), names[0])
			if err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				if len(list) == 0 {
					fmt.Fprintf(w, "%s has no asynchronous events\n", names[0])
				}
				for _, b := range list {
					fmt.Fprintf(w, "%s:%s: %d events are forgotten\n", b.Function, b.Qualifier, b.Events)
				}
			})
		},
	}
}
