package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thaw/admin"
)

func snapshotInspectCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:               "inspect FUNCTION[:VERSION]",
		Short:             "Show all that is known of a version's snapshot",
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: a.complete(aQualified),
		Example:           "thaw snapshot inspect hello:1",
		RunE: func(cmd *cobra.Command, names []string) error {
			server, _, err := a.server(cmd)
			if err != nil {
				return err
			}
			s, err := findSnapshot(cmd.Context(), server, names[0])
			if err != nil {
				return plainSnapshot(err, names[0])
			}
			return a.print(s, func(w io.Writer) { table(w, inspectRows(s, time.Now())) })
		},
	}
}

// findSnapshot gives what is known of a version; of a function alone, the newest one.
func findSnapshot(ctx context.Context, server *admin.Client, name string) (admin.Snapshot, error) {
	list, err := server.Snapshots(ctx)
	if err != nil {
		return admin.Snapshot{}, err
	}
	for _, s := range slices.Backward(list) {
		if name == s.Function+":"+s.Version || name == s.ARN || name == s.Function {
			return s, nil
		}
	}
	return admin.Snapshot{}, fs.ErrNotExist
}

func inspectRows(s admin.Snapshot, now time.Time) [][]string {
	rows := [][]string{{"version", s.ARN}, {"state", s.State}}
	add := func(name, value string) { rows = append(rows, []string{name, value}) }
	if s.ID != "" {
		add("snapshot", s.ID)
		add("generation", fmt.Sprintf("%d, Init began %s ago", s.Generation, ago(now.Sub(s.Born))))
		add("expires", moment(s.Expires, now))
		if !s.StatedExpiry.IsZero() {
			add("stated expiry", moment(s.StatedExpiry, now))
		}
		add("next generation", moment(s.RefreshAt, now))
		add("size", fmt.Sprintf("%s of files; %d pages kept, %d of them (%s) used by other snapshots too; %s stored for it alone",
			size(s.Bytes), s.Pages, s.SharedPages, percent(s.SharedShare), size(s.OwnBytes)))
		add("environments", fmt.Sprint(s.Environments))
		add("made in", fmt.Sprintf("%.2f s", s.MakeSeconds))
		for _, st := range s.Stages {
			add("  "+st.Name, fmt.Sprintf("%.3f s", st.Seconds))
		}
		if s.Note != "" {
			add("note", s.Note)
		}
		if len(s.Hooks) > 0 {
			add("hooks", strings.Join(s.Hooks, ", "))
		}
		if s.Primed > 0 {
			add("primed", fmt.Sprintf("%d invokes", s.Primed))
		}
	}
	if s.Making > 0 {
		add("being made", fmt.Sprintf("generation %d", s.Making))
	}
	add("policy", policyText(s))
	if s.LastError != "" {
		add("last error", fmt.Sprintf("%s (%s ago, %d in a row)", s.LastError, ago(now.Sub(s.LastFailed)), s.Failures))
	}
	if k := s.Key; k != nil {
		add("key", s.KeyHash)
		add("  runtime", k.Runtime)
		add("  sandbox", k.Sandbox)
		add("  code", k.Package)
		add("  architecture", k.Architecture)
	}
	return rows
}

func moment(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.Local().Format(time.DateTime) + ", " + in(t, now)
}

func policyText(s admin.Snapshot) string {
	p := s.Policy
	var parts []string
	if p.Interval > 0 {
		parts = append(parts, "every "+p.Interval.String())
	}
	if p.MaxAge > 0 {
		parts = append(parts, "at most "+p.MaxAge.String()+" old")
	}
	if n := p.Primings(); n > 0 {
		parts = append(parts, fmt.Sprintf("%d priming invokes", n))
	}
	if len(parts) == 0 {
		parts = append(parts, "no refresh")
	}
	return strings.Join(parts, ", ") + " (from: " + s.PolicyFrom + ")"
}
