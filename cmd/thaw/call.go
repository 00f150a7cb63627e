package main

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"

	"thaw/admin"
)

// call is one run of a command that calls the Lambda API.
type call struct {
	context.Context
	*app
	client *lambda.Client
	server *admin.Client // nil: the server was named by its URL
	names  []string      // the command's arguments

	anyRegion bool // nobody has named one, and the server can be asked which there are
}

// calling makes of a command one that calls the Lambda API. of says what its arguments name: a command of a function finds
// the function's region by itself, and one of event source mappings theirs, and the shell completes the names. What is wrong with the arguments themselves c.Args and
// c.PreRunE say, before a server is looked for.
func calling(a *app, c *cobra.Command, of []operand, do func(*call) error) *cobra.Command {
	var t target
	t.flags(c)
	if len(of) > 0 {
		c.ValidArgsFunction = a.complete(of...)
	}
	c.RunE = func(cmd *cobra.Command, names []string) error {
		function := ""
		if len(names) > 0 && len(of) > 0 && of[0].isOfFunction() {
			function = names[0]
		} else if f := cmd.Flags().Lookup("function"); f != nil {
			function = f.Value.String()
		}
		s, err := a.reach(cmd, t)
		if err != nil {
			return err
		}
		client, err := s.api(cmd.Context(), t, function)
		if err != nil {
			return err
		}
		return plainer(do(&call{Context: cmd.Context(), app: a, client: client, server: s.Client, names: names,
			anyRegion: s.Client != nil && t.region == "" && !regionIsSet()}))
	}
	return c
}
