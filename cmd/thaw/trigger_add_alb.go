package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"thaw/alb"
)

func triggerAddALBCommand(a *app) *cobra.Command {
	var (
		function string
		set      alb.Settings
	)
	cmd := &cobra.Command{
		Use:   "alb NAME --function FUNCTION",
		Short: "Put a load balancer in front of a function",
		Long: `Has the server take HTTP requests at /alb/NAME/, or at a port of its own, and send them to the function as an Application Load Balancer
does. The function gets the target group's event.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw trigger add alb shop --function hello --multi-value",
	}
	f := cmd.Flags()
	f.StringVar(&function, "function", "", "the function, or FUNCTION:QUALIFIER, that answers requests")
	f.BoolVar(&set.MultiValue, "multi-value", false, "events and answers have all values of headers and parameters")
	f.IntVar(&set.Port, "port", 0, "port of its own, on the server's address")
	f.IntVar(&set.IdleTimeout, "idle-timeout", 0, "seconds that the function may take (default 60)")
	f.StringVar(&set.HealthPath, "health-path", "", "path of health checks (default /)")
	f.IntVar(&set.HealthInterval, "health-interval", 0, "seconds between health checks, 35 to 300 (default none)")
	cmd.RegisterFlagCompletionFunc("function", a.complete(aQualified)) //nolint:errcheck // the flag is there
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if function == "" {
			return misuse{errors.New("--function says who answers")}
		}
		return nil
	}
	return calling(a, cmd, nil, func(c *call) error {
		made, err := c.add("alb", c.names[0], function, set)
		if err != nil {
			return err
		}
		return a.print(made, func(w io.Writer) {
			fmt.Fprintf(w, "%s goes to %s\n", made.At, shortFunction(made.Function))
		})
	})
}
