package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"

	"thaw/admin"
)

func triggerCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "trigger",
		Short: "What pushes events to functions: buckets, folders, topics, rules, APIs",
		Long: `A trigger sends events to a function. Buckets and folders are made here; topics, rules, schedules and APIs by the operations of their
services, and are shown here. A trigger is named by its kind and name, s3/images, or by its name where only one has it.`,
		Example: "thaw trigger ls",
	}, triggerLsCommand(a), triggerShowCommand(a), triggerAddCommand(a), triggerRmCommand(a))
}

// triggersOf are the server's triggers, of one function where that is named.
func (c *call) triggersOf(function string) ([]admin.Trigger, error) {
	if c.server == nil {
		return nil, errors.New("triggers are known to the server's own host: leave --endpoint away there")
	}
	all, err := c.server.Triggers(c)
	if err != nil || function == "" {
		return all, err
	}
	list := []admin.Trigger{}
	for _, t := range all {
		if shortFunction(t.Function) == function || strings.HasPrefix(shortFunction(t.Function), function+":") {
			list = append(list, t)
		}
	}
	return list, nil
}

// shortFunction is NAME or NAME:QUALIFIER of an ARN.
func shortFunction(arn string) string {
	name, qualifier := qualifiedName(arn)
	short, _ := nameOf(name)
	if qualifier != "" {
		short += ":" + qualifier
	}
	return short
}

func triggerLsCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "ls [FUNCTION]",
		Aliases: []string{"list"},
		Short:   "List what pushes events to a function, or to all functions",
		Long:    "Lists triggers. EVENTS is how many went to the function since the server began.",
		Args:    args(cobra.MaximumNArgs(1)),
		Example: "thaw trigger ls",
	}, []operand{aFunction}, func(c *call) error {
		function := ""
		if len(c.names) > 0 {
			function = c.names[0]
		}
		list, err := c.triggersOf(function)
		if err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) {
			rows := [][]string{{"TRIGGER", "FUNCTION", "FROM", "EVENTS", "LAST", "STATE"}}
			for i := range list {
				t := &list[i]
				rows = append(rows, []string{t.Kind + "/" + t.Name, shortFunction(t.Function), t.From,
					strconv.FormatUint(t.Events, 10), age(t.Last, time.Now()), triggerState(t)})
			}
			table(w, rows)
		})
	})
}

func triggerState(t *admin.Trigger) string {
	switch {
	case t.Disabled:
		return "disabled"
	case t.Trouble != "" && t.Troubled.After(t.Last):
		return "failing"
	}
	return "ok"
}

// trigger finds the one that is named KIND/NAME or NAME.
func (c *call) trigger(name string) (*admin.Trigger, error) {
	all, err := c.triggersOf("")
	if err != nil {
		return nil, err
	}
	var hits []*admin.Trigger
	for i := range all {
		if t := &all[i]; t.Kind+"/"+t.Name == name || t.Name == name {
			hits = append(hits, t)
		}
	}
	switch len(hits) {
	case 0:
		return nil, fmt.Errorf("there is no trigger %s; type: thaw trigger ls", name)
	case 1:
		return hits[0], nil
	}
	return nil, misuse{fmt.Errorf("several triggers are called %s; say which, such as %s/%s", name, hits[0].Kind, hits[0].Name)}
}

func triggerShowCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "show TRIGGER",
		Short:   "Show a trigger, and what went wrong last",
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw trigger show s3/images",
	}, nil, func(c *call) error {
		t, err := c.trigger(c.names[0])
		if err != nil {
			return err
		}
		return a.print(t, func(w io.Writer) {
			trouble := ""
			if t.Trouble != "" {
				trouble = age(t.Troubled, time.Now()) + " ago: " + t.Trouble
			}
			fields(w, "trigger", t.Kind+"/"+t.Name, "function", shortFunction(t.Function), "region", t.Region, "from", t.From,
				"at", t.At, "state", triggerState(t),
				"events", strconv.FormatUint(t.Events, 10), "last", age(t.Last, time.Now()), "last error", trouble)
		})
	})
}

func triggerRmCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "rm TRIGGER",
		Aliases: []string{"delete"},
		Short:   "Remove a trigger; events that were accepted still go to the function",
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw trigger rm s3/images",
	}, nil, func(c *call) error {
		t, err := c.trigger(c.names[0])
		if err != nil {
			return err
		}
		if t.Managed {
			return fmt.Errorf("%s/%s was made by the operations of its service and is removed by them, as by the aws command", t.Kind, t.Name)
		}
		if err := c.server.RemoveTrigger(c, t.Kind, t.Name); err != nil {
			return err
		}
		return a.print(t, func(w io.Writer) {
			fmt.Fprintf(w, "removed %s/%s, which told %s\n", t.Kind, t.Name, shortFunction(t.Function))
		})
	})
}

// functionARN is the ARN of NAME or NAME:QUALIFIER, of a function that is there.
func (c *call) functionARN(ctx context.Context, function string) (string, error) {
	name, qualifier := qualifiedName(function)
	out, err := c.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name, Qualifier: orNil(qualifier)})
	if err != nil {
		return "", err
	}
	arn := aws.ToString(out.FunctionArn)
	if q := arn[strings.LastIndexByte(arn, ':')+1:]; qualifier != "" && q != qualifier { // an alias answers as its version
		unqualified, _ := qualifiedName(arn)
		arn = unqualified + ":" + qualifier
	}
	return cmp.Or(arn, function), nil
}
