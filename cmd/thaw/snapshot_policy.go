package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"thaw/admin"
	"thaw/snapshot"
)

func snapshotPolicyCommand(a *app) *cobra.Command {
	var (
		interval, maxAge string
		prime            []string
		tags             bool
	)
	cmd := &cobra.Command{
		Use:   "policy FUNCTION[:VERSION]",
		Short: "Show or set when a version's snapshot is made anew",
		Long: `Without flags, shows the policy. With flags, sets the whole policy of the version; it then counts instead of the function's tags
` + snapshot.TagRefresh + ` and ` + snapshot.TagPrime + `, which are the way for Terraform and the aws command line. --interval off is a policy, too.`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: a.complete(aQualified),
		Example:           "thaw snapshot policy hello:1 --interval 10m --max-age 1h",
	}
	f := cmd.Flags()
	f.StringVar(&interval, "interval", "", `a new generation is current before the last is this old: 90s, 10m, 6h, 1d; "off": none`)
	f.StringVar(&maxAge, "max-age", "", "no invoke begins on a generation that is this old, even when refreshing fails (default: the interval)")
	f.StringArrayVar(&prime, "prime", nil, "event that is invoked before the snapshot is taken: NAME=JSON, NAME=@FILE, NAME:COUNT=JSON; the handler really runs")
	f.BoolVar(&tags, "tags", false, "forget the policy: the function's tags count again")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		sets := f.Changed("interval") || f.Changed("max-age") || f.Changed("prime")
		if tags && sets {
			return misuse{errors.New("--tags goes with no other flag of a policy")}
		}
		p, err := policyOf(interval, maxAge, prime)
		if err != nil {
			return misuse{err}
		}
		server, _, err := a.server(cmd)
		if err != nil {
			return err
		}
		var s admin.Snapshot
		switch {
		case sets:
			s, err = server.SetSnapshotPolicy(cmd.Context(), names[0], &p)
		case tags:
			s, err = server.SetSnapshotPolicy(cmd.Context(), names[0], nil)
		default:
			s, err = findSnapshot(cmd.Context(), server, names[0])
		}
		if err != nil {
			return plainSnapshot(err, names[0])
		}
		return a.print(map[string]any{"function": s.Function, "version": s.Version, "policy": s.Policy, "policyFrom": s.PolicyFrom, "expires": s.Expires},
			func(w io.Writer) {
				fmt.Fprintf(w, "%s:%s: %s; the current generation expires: %s\n", s.Function, s.Version, policyText(s), moment(s.Expires, time.Now()))
			})
	}
	return cmd
}

// policyOf reads the flags of a policy as the tag is read.
func policyOf(interval, maxAge string, prime []string) (p snapshot.Policy, err error) {
	type form struct {
		Interval string           `json:"interval,omitempty"`
		MaxAge   string           `json:"maxAge,omitempty"`
		Prime    []snapshot.Prime `json:"prime,omitempty"`
	}
	j := form{Interval: interval, MaxAge: maxAge}
	if interval == "off" {
		j.Interval = ""
	}
	for _, text := range prime {
		e, err := primeOf(text)
		if err != nil {
			return p, err
		}
		j.Prime = append(j.Prime, e)
	}
	b, err := json.Marshal(j)
	if err == nil {
		err = json.Unmarshal(b, &p)
	}
	if err == nil {
		err = p.Validate()
	}
	return p, err
}

// primeOf reads NAME[:COUNT]=JSON or =@FILE.
func primeOf(text string) (e snapshot.Prime, err error) {
	name, event, ok := strings.Cut(text, "=")
	if !ok {
		return e, fmt.Errorf("--prime %q is not of the form NAME=JSON, NAME=@FILE or NAME:COUNT=JSON", text)
	}
	e.Name, e.Count = name, 1
	if n, count, ok := strings.Cut(name, ":"); ok {
		e.Name = n
		if e.Count, err = strconv.Atoi(count); err != nil {
			return e, fmt.Errorf("--prime %q: the count is no number", text)
		}
	}
	if file, ok := strings.CutPrefix(event, "@"); ok {
		b, err := os.ReadFile(file)
		if err != nil {
			return e, fmt.Errorf("--prime: %w", err)
		}
		event = string(b)
	}
	if !json.Valid([]byte(event)) {
		return e, fmt.Errorf("--prime %s: the event is not JSON", e.Name)
	}
	e.Event = json.RawMessage(event)
	return e, nil
}
