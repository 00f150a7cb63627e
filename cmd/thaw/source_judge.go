package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"thaw/eventsource"
)

// judged says what the filters of a mapping say of a record.
type judged struct {
	Record  int    `json:"record"` // from 1 on
	Passes  bool   `json:"passes"`
	Pattern string `json:"pattern,omitempty"` // the first that lets it pass
}

func sourceTestCommand(a *app) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "test MAPPING",
		Short: "Say which records of an event the filters of a mapping let pass",
		Long: `Holds the filters of an event source mapping against a record as its function would see it, or against every record of an event. Data that
handlers see in base64 (of Kinesis, Kafka and MQ) are decoded first, as the server does. Nothing is invoked.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw source test hello --event event.json",
	}
	cmd.Flags().StringVar(&file, "event", "", "the file with the event or record; - is stdin")
	cmd.MarkFlagFilename("event", "json") //nolint:errcheck // the flag is there
	var event []byte
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		switch file {
		case "":
			return misuse{fmt.Errorf("--event FILE says what is tested; type: %s --help", cmd.CommandPath())}
		case "-":
			event, err = io.ReadAll(a.in)
		default:
			event, err = os.ReadFile(file)
		}
		return err
	}
	return calling(a, cmd, []operand{aMapping}, func(c *call) error {
		s, err := c.mapping()
		if err != nil {
			return err
		}
		c.known(s)
		list, err := judge(eventsource.Kind(s.Kind), s.Filters, event)
		if err != nil {
			return misuse{fmt.Errorf("%s: %w", file, err)}
		}
		return a.print(list, func(w io.Writer) {
			if len(s.Filters) == 0 {
				fmt.Fprintf(w, "%s has no filters: every record passes\n", s.ID)
			}
			for _, j := range list {
				switch {
				case !j.Passes:
					fmt.Fprintf(w, "record %d does not pass\n", j.Record)
				case j.Pattern == "":
					fmt.Fprintf(w, "record %d passes\n", j.Record)
				default:
					fmt.Fprintf(w, "record %d passes: %s\n", j.Record, visibleLine(j.Pattern))
				}
			}
		})
	})
}

// judge holds the patterns of a mapping against every record of an event.
func judge(kind eventsource.Kind, patterns []string, event []byte) ([]judged, error) {
	records, err := eventsource.RecordsOf(event)
	if err != nil {
		return nil, err
	}
	filters := make([]*eventsource.Filter, len(patterns))
	for i, p := range patterns {
		if filters[i], err = eventsource.NewFilter(kind, []string{p}); err != nil {
			return nil, fmt.Errorf("%w: %s", err, p)
		}
	}
	list := []judged{}
	for n, r := range records {
		seen, err := eventsource.FilteredOf(kind, r)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", n+1, err)
		}
		j := judged{Record: n + 1, Passes: len(patterns) == 0}
		for i, f := range filters {
			if f.Passes(seen) {
				j.Passes, j.Pattern = true, patterns[i]
				break
			}
		}
		list = append(list, j)
	}
	return list, nil
}
