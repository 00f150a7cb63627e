package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"
)

func fnCommand(a *app) *cobra.Command {
	ls := lsCommand(a)
	ls.Example = "thaw fn ls -o json"
	return group(&cobra.Command{
		Use:     "fn",
		Short:   "List, show and delete functions",
		Aliases: []string{"function"},
		Long:    `thaw deploy makes functions and changes them.`,
		Example: "thaw fn show hello",
	}, ls, fnShowCommand(a), fnRmCommand(a))
}

// shownFunction is what there is to know of a function, as -o json prints it.
type shownFunction struct {
	Function    string            `json:"function"`
	ARN         string            `json:"arn"`
	Version     string            `json:"version"`
	Description string            `json:"description,omitempty"`
	State       string            `json:"state"`
	Reason      string            `json:"reason,omitempty"` // of a state that is not Active
	Update      string            `json:"lastUpdate,omitempty"`
	Runtime     string            `json:"runtime"`
	Handler     string            `json:"handler"`
	Role        string            `json:"role"`
	MemoryMiB   int32             `json:"memoryMiB"`
	TimeoutS    int32             `json:"timeoutSeconds"`
	TmpMiB      int32             `json:"tmpMiB"`
	Environment map[string]string `json:"environment,omitempty"`
	Layers      []string          `json:"layers,omitempty"`
	SnapStart   string            `json:"snapStart"`
	CodeSize    int64             `json:"codeSize"`
	CodeHash    string            `json:"codeSha256"`
	Modified    string            `json:"modified"`
	LogGroup    string            `json:"logGroup,omitempty"`
	Reserved    *int32            `json:"reservedConcurrency,omitempty"`
	Tags        map[string]string `json:"tags,omitempty"`
	Versions    []string          `json:"versions,omitempty"`
	Aliases     []*shownAlias     `json:"aliases,omitempty"`
	URLs        []*shownURL       `json:"urls,omitempty"`
}

func fnShowCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:   "show FUNCTION[:QUALIFIER]",
		Short: "Show a function, its versions, aliases and URLs",
		Long: `Shows a function, or one of its versions: its configuration, and what leads to it. Values of variables are in what -o json prints;
otherwise their names alone are shown.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw fn show hello",
	}, []operand{aQualified}, func(c *call) error {
		s, err := showFunction(c, c.client, c.names[0])
		if err != nil {
			return err
		}
		return a.print(s, s.print)
	})
}

func showFunction(ctx context.Context, client *lambda.Client, function string) (*shownFunction, error) {
	name, qualifier := qualifiedName(function)
	out, err := client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &name, Qualifier: orNil(qualifier)})
	if err != nil {
		return nil, err
	}
	s := functionOf(out.Configuration)
	s.Tags = out.Tags
	if out.Concurrency != nil {
		s.Reserved = out.Concurrency.ReservedConcurrentExecutions
	}
	versions, err := versionsOf(ctx, client, name)
	if err != nil {
		return nil, err
	}
	for _, v := range versions {
		s.Versions = append(s.Versions, aws.ToString(v.Version))
	}
	aliases, err := aliasesOf(ctx, client, name)
	if err != nil {
		return nil, err
	}
	for _, one := range aliases {
		s.Aliases = append(s.Aliases, aliasOf(name, one.Name, one.AliasArn, one.FunctionVersion, one.Description, one.RoutingConfig))
	}
	s.URLs, err = urlsOf(ctx, client, name)
	return s, err
}

func functionOf(c *types.FunctionConfiguration) *shownFunction {
	s := &shownFunction{
		Function: aws.ToString(c.FunctionName), ARN: aws.ToString(c.FunctionArn), Version: aws.ToString(c.Version), Description: aws.ToString(c.Description),
		State: string(c.State), Reason: cmp.Or(aws.ToString(c.StateReason), aws.ToString(c.LastUpdateStatusReason)), Update: string(c.LastUpdateStatus),
		Runtime: string(c.Runtime), Handler: aws.ToString(c.Handler), Role: aws.ToString(c.Role), MemoryMiB: aws.ToInt32(c.MemorySize), TimeoutS: aws.ToInt32(c.Timeout),
		CodeSize: c.CodeSize, CodeHash: aws.ToString(c.CodeSha256), Modified: aws.ToString(c.LastModified), SnapStart: "off",
	}
	if c.EphemeralStorage != nil {
		s.TmpMiB = aws.ToInt32(c.EphemeralStorage.Size)
	}
	if c.Environment != nil {
		s.Environment = c.Environment.Variables
	}
	for _, l := range c.Layers {
		s.Layers = append(s.Layers, aws.ToString(l.Arn))
	}
	if c.SnapStart != nil && c.SnapStart.ApplyOn == types.SnapStartApplyOnPublishedVersions {
		s.SnapStart = "on"
	}
	if c.LoggingConfig != nil {
		s.LogGroup = aws.ToString(c.LoggingConfig.LogGroup)
	}
	return s
}

// print shows the function to people.
func (s *shownFunction) print(w io.Writer) {
	state := s.State
	if s.Update == string(types.LastUpdateStatusFailed) || s.Update == string(types.LastUpdateStatusInProgress) {
		state += ", update " + s.Update
	}
	if s.Reason != "" {
		state += ": " + s.Reason
	}
	var aliases, urls, tags []string
	for _, one := range s.Aliases {
		aliases = append(aliases, fmt.Sprintf("%s (%s)", one.Name, one.leadsTo()))
	}
	for _, one := range s.URLs {
		urls = append(urls, one.URL)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Tags)) {
		tags = append(tags, name+"="+s.Tags[name])
	}
	reserved := ""
	if s.Reserved != nil {
		reserved = fmt.Sprint(*s.Reserved, " reserved")
	}
	fields(w, "function", s.Function, "version", s.Version, "description", s.Description, "state", state, "runtime", s.Runtime, "handler", s.Handler,
		"memory", fmt.Sprintf("%d MiB", s.MemoryMiB), "timeout", fmt.Sprintf("%d s", s.TimeoutS), "/tmp", fmt.Sprintf("%d MiB", s.TmpMiB),
		"variables", strings.Join(slices.Sorted(maps.Keys(s.Environment)), ", "), "layers", strings.Join(s.Layers, ", "), "SnapStart", s.SnapStart, "concurrency", reserved,
		"code", size(s.CodeSize), "changed", s.Modified, "log group", s.LogGroup, "tags", strings.Join(tags, ", "), "versions", strings.Join(s.Versions, ", "),
		"aliases", strings.Join(aliases, ", "), "URLs", strings.Join(urls, ", "), "ARN", s.ARN)
}

func fnRmCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "rm FUNCTION[:VERSION]",
		Aliases: []string{"delete"},
		Short:   "Delete a function with all that belongs to it, or one of its versions",
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw fn rm hello",
	}, []operand{aQualified}, func(c *call) error {
		name, version := qualifiedName(c.names[0])
		out, err := c.client.GetFunction(c, &lambda.GetFunctionInput{FunctionName: &name, Qualifier: orNil(version)})
		if err != nil {
			return err
		}
		if version != "" && version != aws.ToString(out.Configuration.Version) {
			return misuse{errors.New(version + " is an alias; type: thaw alias rm " + c.names[0])}
		}
		if _, err := c.client.DeleteFunction(c, &lambda.DeleteFunctionInput{FunctionName: &name, Qualifier: orNil(version)}); err != nil {
			return err
		}
		return a.print(functionOf(out.Configuration), func(w io.Writer) { fmt.Fprintln(w, "deleted", c.names[0]) })
	})
}
