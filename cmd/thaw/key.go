package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"thaw/access"
)

func keyCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "key",
		Short: "Access keys that may do what their policy says",
		Long: `A server that has access keys takes signed requests alone, from then on: also when the last key is removed. Commands of this host go on
without a key. What a key may do is a policy document as in AWS IAM: docs/operations.md has examples.`,
		Example: "thaw key ls",
	}, keyAddCommand(a), keyLsCommand(a), keyRmCommand(a))
}

func keyAddCommand(a *app) *cobra.Command {
	var (
		path string
		k    access.Key
	)
	cmd := &cobra.Command{
		Use:   "add USER",
		Short: "Make an access key for a user; its secret is shown once",
		Long: `Makes an access key whose requests are those of arn:aws:iam::ACCOUNT:user/USER. A user can have several, each with a policy of its own.
With --account the user is one of another account: then a function's resource policy must allow it, too.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw key add ci --policy invoke.json",
	}
	cmd.Flags().StringVar(&path, "policy", "", "file of the policy document, - for standard input")
	cmd.Flags().StringVar(&k.Account, "account", "", "account of the user (default the server's)")
	cmd.Flags().StringVar(&k.Organization, "organization", "", "organization of the account, for the condition aws:PrincipalOrgID")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		text, err := a.readPolicy("policy", path)
		if err != nil {
			return err
		}
		keeper, err := a.keeper(cmd)
		if err != nil {
			return err
		}
		k.User, k.Policy = names[0], text
		made, err := keeper.AddKey(cmd.Context(), k)
		if err != nil {
			return err
		}
		return a.print(made, func(w io.Writer) {
			fmt.Fprintf(w, "[%s]\naws_access_key_id = %s\naws_secret_access_key = %s\n", made.User, made.ID, made.SecretAccessKey)
			fmt.Fprintln(a.words, "\nThe secret is not shown again. The lines above are a profile of ~/.aws/credentials. Requests must be signed from now on.")
		})
	}
	return cmd
}

func keyLsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the access keys",
		Args:    args(cobra.NoArgs),
		Example: "thaw key ls",
		RunE: func(cmd *cobra.Command, _ []string) error {
			keeper, err := a.keeper(cmd)
			if err != nil {
				return err
			}
			list, err := keeper.Keys(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"KEY", "USER", "ACCOUNT", "AGE"}}
				for _, k := range list {
					rows = append(rows, []string{k.ID, k.User, k.Account, ago(time.Since(k.Created))})
				}
				table(w, rows)
			})
		},
	}
}

func keyRmCommand(a *app) *cobra.Command {
	return removing(a, &cobra.Command{Use: "rm KEY", Short: "Remove an access key; requests that it signs are refused at once", Example: "thaw key rm AKIAIOSFODNN7EXAMPLE"},
		keeper.RemoveKey)
}

// removing is a command that takes away what its argument names.
func removing(a *app, cmd *cobra.Command, remove func(keeper, context.Context, string) error) *cobra.Command {
	cmd.Aliases = []string{"delete"}
	cmd.Args = args(cobra.ExactArgs(1))
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		keeper, err := a.keeper(cmd)
		if err != nil {
			return err
		}
		if err := remove(keeper, cmd.Context(), names[0]); err != nil {
			return fmt.Errorf("%s: %w", names[0], err)
		}
		return a.print(struct {
			Removed string `json:"removed"`
		}{names[0]}, func(w io.Writer) { fmt.Fprintln(w, "removed", names[0]) })
	}
	return cmd
}
