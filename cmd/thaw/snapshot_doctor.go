package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"thaw/admin"
)

func snapshotDoctorCommand(a *app) *cobra.Command {
	var event string
	cmd := &cobra.Command{
		Use:   "doctor FUNCTION[:VERSION]",
		Short: "Restore a snapshot twice and compare the copies",
		Long: `Restores the version's current snapshot twice, apart from what serves requests, sends both copies the same event, and tells what a user must know:
values that look drawn and are equal, a clock that stands still, credentials that have expired or are the same, equal names of temporary
files, broken connections, and the age of the generation. The handler runs twice, with all its effects.

It sees the answers, the logs and the configuration, not the memory. "unseen" is what it could not judge. The exit code is 1 when a finding is fail.`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: a.complete(aQualified),
		Example:           `thaw snapshot doctor hello:1 --event '{"name":"world"}'`,
	}
	cmd.Flags().StringVarP(&event, "event", "e", "{}", "event: JSON, @FILE, or - for stdin")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		body, err := a.readPayload(event)
		if err != nil {
			return err
		}
		if !json.Valid(body) {
			return misuse{errors.New("--event is not JSON")}
		}
		server, _, err := a.server(cmd)
		if err != nil {
			return err
		}
		d, err := server.SnapshotDoctor(cmd.Context(), names[0], body)
		if err != nil {
			return plainSnapshot(err, names[0])
		}
		if err := a.print(d, func(w io.Writer) { printDiagnosis(w, d) }); err != nil {
			return err
		}
		for _, f := range d.Findings {
			if f.Result == "fail" {
				return errSilent
			}
		}
		return nil
	}
	return cmd
}

func printDiagnosis(w io.Writer, d admin.Diagnosis) {
	fmt.Fprintf(w, "%s:%s, generation %d, restored twice:\n", d.Snapshot.Function, d.Snapshot.Version, d.Snapshot.Generation)
	for i, c := range d.Copies {
		fmt.Fprintf(w, "  copy %d: environment %s, ready after %.0f ms\n", i+1, short(c.Env), 1000*c.ReadySeconds)
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, f := range d.Findings {
		rows = append(rows, []string{f.Result, f.Check, f.Text})
	}
	table(w, rows)
}
