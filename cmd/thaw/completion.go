package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"
)

// operand is what an argument of a command names.
type operand int

const (
	aFunction     operand = iota // NAME
	aQualified                   // NAME, or NAME:VERSION or NAME:ALIAS
	aVersion                     // NAME:VERSION
	anAlias                      // NAME:ALIAS
	aNumber                      // VERSION of the function that the first argument names
	aQualifier                   // VERSION or ALIAS of it
	aLayer                       // LAYER
	aMapping                     // ID of an event source mapping
	aLayerVersion                // LAYER:VERSION
	aFile                        // a file or a folder
)

func (o operand) isOfFunction() bool { return o <= anAlias }

// completionLimit bounds what a shell waits for when a key is pressed.
const completionLimit = 3 * time.Second

func completionCommand(a *app) *cobra.Command {
	shells := map[string]func(*cobra.Command, io.Writer) error{
		"bash": func(root *cobra.Command, w io.Writer) error { return root.GenBashCompletionV2(w, true) },
		"zsh":  (*cobra.Command).GenZshCompletion,
		"fish": func(root *cobra.Command, w io.Writer) error { return root.GenFishCompletion(w, true) },
	}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish",
		Short: "Print what makes a shell complete commands, and names of functions, versions and aliases",
		Long: `Prints a script for a shell. Names of functions, versions, aliases and layers, and ids of event source mappings, come from the running server. To have it in every shell:
  bash: thaw completion bash > /etc/bash_completion.d/thaw      (needs the package bash-completion)
  zsh:  thaw completion zsh > "${fpath[1]}/_thaw"
  fish: thaw completion fish > ~/.config/fish/completions/thaw.fish`,
		Args:      args(cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs)),
		ValidArgs: []string{"bash", "zsh", "fish"},
		Example:   "thaw completion bash",
		RunE: func(cmd *cobra.Command, names []string) error {
			var script bytes.Buffer
			if err := shells[names[0]](cmd.Root(), &script); err != nil {
				return err
			}
			return a.print(map[string]string{"shell": names[0], "script": script.String()}, func(w io.Writer) { fmt.Fprint(w, script.String()) })
		},
	}
}

// complete gives the shell what can stand at an argument's place; the last operand stands for all further ones of a command
// that takes more. What cannot be learnt is not completed.
func (a *app) complete(of ...operand) cobra.CompletionFunc {
	return func(cmd *cobra.Command, given []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(of) == 0 || len(given) >= len(of) && !strings.HasSuffix(cmd.Use, "...") {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		o := of[min(len(given), len(of)-1)]
		if o == aFile {
			return nil, cobra.ShellCompDirectiveDefault
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionLimit)
		defer cancel()
		cmd.SetContext(ctx)
		var first string
		if len(given) > 0 {
			first, _ = nameOf(given[0])
		}
		all := a.candidates(cmd, o, first, typed)
		all = slices.DeleteFunc(all, func(one string) bool { return !strings.HasPrefix(one, typed) || slices.Contains(given, one) })
		directive := cobra.ShellCompDirectiveNoFileComp
		if len(all) == 1 && strings.HasSuffix(all[0], ":") {
			directive |= cobra.ShellCompDirectiveNoSpace
		}
		return all, directive
	}
}

// candidates are the names that the server knows. Errors leave some out.
func (a *app) candidates(cmd *cobra.Command, o operand, first, typed string) []string {
	t := target{}
	if f := cmd.Flags().Lookup("endpoint"); f != nil {
		t.endpoint, t.region = f.Value.String(), cmd.Flags().Lookup("region").Value.String()
	}
	name, _, qualified := strings.Cut(typed, ":")
	switch {
	case o == aMapping:
		return a.mappings(cmd, t)
	case o == aNumber:
		return a.qualifiers(cmd, t, first, aVersion)
	case o == aQualifier:
		return a.qualifiers(cmd, t, first, aQualified)
	case o == aLayer || o == aLayerVersion && !qualified:
		return each(a.layers(cmd, t), "", colon(o))
	case o == aLayerVersion:
		return a.layers(cmd, t, name)
	case !qualified:
		return each(a.functions(cmd, t), "", colon(o))
	case o == aFunction:
		return nil
	}
	return each(a.qualifiers(cmd, t, name, o), name+":", "")
}

// colon is what must follow the name in an operand that has more to it.
func colon(o operand) string {
	if o == aVersion || o == anAlias || o == aLayerVersion {
		return ":"
	}
	return ""
}

func each(names []string, before, behind string) []string {
	for i, name := range names {
		names[i] = before + name + behind
	}
	return names
}

// functions are the names of all functions: of every region where the server's socket tells, else of one.
func (a *app) functions(cmd *cobra.Command, t target) (names []string) {
	s, err := a.reach(cmd, t)
	if err != nil {
		return nil
	}
	if s.Client != nil {
		if list, err := s.Functions(cmd.Context()); err == nil {
			for _, f := range list {
				names = append(names, f.Name)
			}
			return names
		}
	}
	client, err := a.client(cmd, t, "")
	if err != nil {
		return nil
	}
	names, _ = functionsOf(cmd.Context(), client)
	return names
}

// qualifiers are the published versions and the aliases of a function, or one of the two.
func (a *app) qualifiers(cmd *cobra.Command, t target, function string, o operand) (all []string) {
	client, err := a.client(cmd, t, function)
	if err != nil {
		return nil
	}
	if o != anAlias {
		versions, _ := versionsOf(cmd.Context(), client, function)
		for _, v := range versions {
			all = append(all, aws.ToString(v.Version))
		}
	}
	if o != aVersion {
		aliases, _ := aliasesOf(cmd.Context(), client, function)
		for _, alias := range aliases {
			all = append(all, aws.ToString(alias.Name))
		}
	}
	return all
}

// layers are the names of all layers, or the versions of one.
func (a *app) layers(cmd *cobra.Command, t target, name ...string) (all []string) {
	client, err := a.client(cmd, t, "")
	if err != nil {
		return nil
	}
	list, _ := layersOf(cmd.Context(), client, name)
	for _, l := range list {
		if len(name) > 0 {
			all = append(all, l.name())
		} else {
			all = append(all, l.Layer)
		}
	}
	return all
}

// mappings are the ids of the region's event source mappings.
func (a *app) mappings(cmd *cobra.Command, t target) (all []string) {
	client, err := a.client(cmd, t, "")
	if err != nil {
		return nil
	}
	list, _ := mappingsOf(cmd.Context(), client, "")
	for _, m := range list {
		all = append(all, aws.ToString(m.UUID)+"\t"+aws.ToString(m.FunctionArn))
	}
	return all
}

// functionsOf are the names of the region's functions.
func functionsOf(ctx context.Context, client *lambda.Client) (names []string, err error) {
	for p := lambda.NewListFunctionsPaginator(client, &lambda.ListFunctionsInput{}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return names, err
		}
		for _, f := range page.Functions {
			names = append(names, aws.ToString(f.FunctionName))
		}
	}
	return names, nil
}

// versionsOf are the published versions of a function, ascending.
func versionsOf(ctx context.Context, client *lambda.Client, function string) (list []types.FunctionConfiguration, err error) {
	for p := lambda.NewListVersionsByFunctionPaginator(client, &lambda.ListVersionsByFunctionInput{FunctionName: &function}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return list, err
		}
		for _, v := range page.Versions {
			if _, err := strconv.Atoi(aws.ToString(v.Version)); err == nil {
				list = append(list, v)
			}
		}
	}
	return list, nil
}

// aliasesOf are the aliases of a function.
func aliasesOf(ctx context.Context, client *lambda.Client, function string) (list []types.AliasConfiguration, err error) {
	for p := lambda.NewListAliasesPaginator(client, &lambda.ListAliasesInput{FunctionName: &function}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			return list, err
		}
		list = append(list, page.Aliases...)
	}
	return list, nil
}
