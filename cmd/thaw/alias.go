package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"
)

// shownAlias is an alias as -o json prints it.
type shownAlias struct {
	Function    string             `json:"function"`
	Name        string             `json:"name"`
	ARN         string             `json:"arn"`
	Version     string             `json:"version"`
	Weights     map[string]float64 `json:"weights,omitempty"` // of other versions, by number
	Description string             `json:"description,omitempty"`
}

func (s *shownAlias) qualified() string { return s.Function + ":" + s.Name }

// leadsTo says which versions the alias leads to: "1", or "1, 10 % to 2".
func (s *shownAlias) leadsTo() string {
	text := s.Version
	for _, v := range slices.Sorted(maps.Keys(s.Weights)) {
		text += fmt.Sprintf(", %s %% to %s", strconv.FormatFloat(100*s.Weights[v], 'g', 4, 64), v)
	}
	return text
}

func aliasOf(function string, name, arn, version, description *string, routing *types.AliasRoutingConfiguration) *shownAlias {
	s := &shownAlias{Function: function, Name: aws.ToString(name), ARN: aws.ToString(arn), Version: aws.ToString(version), Description: aws.ToString(description)}
	if routing != nil {
		s.Weights = routing.AdditionalVersionWeights
	}
	return s
}

func aliasCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "alias",
		Short: "Names of a function that lead to its versions",
		Long: `An alias leads to a version, or for a part of the invocations to a second one. It is named FUNCTION:ALIAS.
thaw deploy --alias NAME publishes a version and lets the alias lead there.`,
		Example: "thaw alias ls hello",
	}, aliasLsCommand(a), aliasShowCommand(a), aliasSetCommand(a), aliasRmCommand(a))
}

func aliasLsCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "ls FUNCTION",
		Aliases: []string{"list"},
		Short:   "List the aliases of a function",
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw alias ls hello -o json",
	}, []operand{aFunction}, func(c *call) error {
		name, _ := nameOf(c.names[0])
		all, err := aliasesOf(c, c.client, c.names[0])
		if err != nil {
			return err
		}
		list := []*shownAlias{}
		for _, one := range all {
			list = append(list, aliasOf(name, one.Name, one.AliasArn, one.FunctionVersion, one.Description, one.RoutingConfig))
		}
		return a.print(list, func(w io.Writer) {
			rows := [][]string{{"ALIAS", "VERSION", "DESCRIPTION"}}
			for _, s := range list {
				rows = append(rows, []string{s.qualified(), s.leadsTo(), cmp.Or(s.Description, "-")})
			}
			table(w, rows)
		})
	})
}

// wantsAlias refuses a first argument that is not of the form FUNCTION:ALIAS.
func wantsAlias(_ *cobra.Command, names []string) error {
	if function, alias := qualifiedName(names[0]); function == "" || alias == "" {
		return fmt.Errorf("%s is not of the form FUNCTION:ALIAS, such as hello:live", names[0])
	}
	return nil
}

func aliasShowCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "show FUNCTION:ALIAS",
		Short:   "Show where an alias leads",
		Args:    args(cobra.MatchAll(cobra.ExactArgs(1), wantsAlias)),
		Example: "thaw alias show hello:live",
	}, []operand{anAlias}, func(c *call) error {
		s, err := c.alias()
		if err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) {
			fields(w, "alias", s.qualified(), "version", s.leadsTo(), "description", s.Description, "ARN", s.ARN)
		})
	})
}

// alias is the one that the first argument names.
func (c *call) alias() (*shownAlias, error) {
	function, name := qualifiedName(c.names[0])
	out, err := c.client.GetAlias(c, &lambda.GetAliasInput{FunctionName: &function, Name: &name})
	if err != nil {
		return nil, err
	}
	plain, _ := nameOf(function)
	return aliasOf(plain, out.Name, out.AliasArn, out.FunctionVersion, out.Description, out.RoutingConfig), nil
}

func aliasSetCommand(a *app) *cobra.Command {
	var (
		description string
		weight      []string
		weights     map[string]float64
	)
	cmd := &cobra.Command{
		Use:   "set FUNCTION:ALIAS [VERSION]",
		Short: "Let an alias lead to a version; makes the alias when there is none",
		Long: `Lets the alias lead to a version. With --weight, a part of the invocations goes to a second version; without it, none does. Where no
VERSION is given the alias leads where it leads, and only the rest changes.`,
		Args:    args(cobra.MatchAll(cobra.RangeArgs(1, 2), wantsAlias)),
		Example: "thaw alias set hello:live 1 --description stable",
	}
	cmd.Flags().StringArrayVar(&weight, "weight", nil, "VERSION=SHARE: this share of the invocations, from 0 to 1, goes to that version")
	cmd.Flags().StringVar(&description, "description", "", "what the alias is for")
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		weights, err = weightsOf(weight)
		return err
	}
	return calling(a, cmd, []operand{anAlias, aNumber}, func(c *call) error {
		function, name := qualifiedName(c.names[0])
		in := &lambda.UpdateAliasInput{FunctionName: &function, Name: &name, RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: weights}}
		if len(c.names) == 2 {
			in.FunctionVersion = &c.names[1]
		}
		if cmd.Flags().Changed("description") {
			in.Description = &description
		}
		s, err := setAlias(c, c.client, in)
		if err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) { fmt.Fprintf(w, "%s leads to %s\n", s.qualified(), s.leadsTo()) })
	})
}

// setAlias changes an alias, or makes it.
func setAlias(ctx context.Context, client *lambda.Client, in *lambda.UpdateAliasInput) (*shownAlias, error) {
	name, _ := nameOf(*in.FunctionName)
	out, err := client.UpdateAlias(ctx, in)
	if err == nil {
		return aliasOf(name, out.Name, out.AliasArn, out.FunctionVersion, out.Description, out.RoutingConfig), nil
	}
	if !errors.As(err, new(*types.ResourceNotFoundException)) || in.FunctionVersion == nil {
		return nil, err
	}
	made, err := client.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: in.FunctionName, Name: in.Name, FunctionVersion: in.FunctionVersion,
		Description: in.Description, RoutingConfig: in.RoutingConfig})
	if err != nil {
		return nil, err
	}
	return aliasOf(name, made.Name, made.AliasArn, made.FunctionVersion, made.Description, made.RoutingConfig), nil
}

// weightsOf reads VERSION=SHARE.
func weightsOf(given []string) (map[string]float64, error) {
	weights := map[string]float64{}
	for _, text := range given {
		version, share, ok := strings.Cut(text, "=")
		part, err := strconv.ParseFloat(share, 64)
		if !ok || err != nil || part < 0 || part > 1 {
			return nil, misuse{fmt.Errorf("--weight %s is not of the form VERSION=SHARE with a share from 0 to 1, such as 2=0.1", text)}
		}
		weights[version] = part
	}
	return weights, nil
}

func aliasRmCommand(a *app) *cobra.Command {
	return calling(a, &cobra.Command{
		Use:     "rm FUNCTION:ALIAS",
		Aliases: []string{"delete"},
		Short:   "Delete an alias; the version stays",
		Args:    args(cobra.MatchAll(cobra.ExactArgs(1), wantsAlias)),
		Example: "thaw alias rm hello:live",
	}, []operand{anAlias}, func(c *call) error {
		s, err := c.alias() // AWS deletes an alias that is not there, too
		if err != nil {
			return err
		}
		name, alias := qualifiedName(c.names[0])
		if _, err := c.client.DeleteAlias(c, &lambda.DeleteAliasInput{FunctionName: &name, Name: &alias}); err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) { fmt.Fprintln(w, "deleted", s.qualified()) })
	})
}
