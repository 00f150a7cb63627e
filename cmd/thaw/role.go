package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"thaw/access"
)

func roleCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:   "role",
		Short: "What functions may do with this server, by their role",
		Long: `A function gets temporary credentials of its role. With them it may do what the role's policy says, and with a role that has none
nothing. Roles are also what AssumeRole gives credentials of.`,
		Example: "thaw role ls",
	}, rolePutCommand(a), roleLsCommand(a), roleRmCommand(a))
}

func rolePutCommand(a *app) *cobra.Command {
	var path, trust string
	cmd := &cobra.Command{
		Use:   "put ROLE",
		Short: "Say what a role may do",
		Long: `Binds a policy document to the role arn:aws:iam::ACCOUNT:role/ROLE, in place of the one before. It counts at once, for credentials that are
in use, too. --trust says who may assume the role; else principals of the account may that have the permission sts:AssumeRole.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw role put orders --policy invoke.json",
	}
	cmd.Flags().StringVar(&path, "policy", "", "file of the policy document, - for standard input")
	cmd.Flags().StringVar(&trust, "trust", "", "file of the trust policy")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		r := access.Role{Name: names[0]}
		text, err := a.readPolicy("policy", path)
		if err != nil {
			return err
		}
		if r.Policy = text; trust != "" {
			if r.Trust, err = a.readPolicy("trust", trust); err != nil {
				return err
			}
		}
		keeper, err := a.keeper(cmd)
		if err != nil {
			return err
		}
		if r, err = keeper.PutRole(cmd.Context(), r); err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) { fmt.Fprintln(w, r.ARN) })
	}
	return cmd
}

func roleLsCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the roles that have a policy",
		Args:    args(cobra.NoArgs),
		Example: "thaw role ls",
		RunE: func(cmd *cobra.Command, _ []string) error {
			keeper, err := a.keeper(cmd)
			if err != nil {
				return err
			}
			list, err := keeper.Roles(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(list, func(w io.Writer) {
				rows := [][]string{{"ROLE", "TRUST", "ARN"}}
				for _, r := range list {
					trust := "the account"
					if len(r.Trust) > 0 {
						trust = "its policy"
					}
					rows = append(rows, []string{r.Name, trust, r.ARN})
				}
				table(w, rows)
			})
		},
	}
}

func roleRmCommand(a *app) *cobra.Command {
	return removing(a, &cobra.Command{Use: "rm ROLE", Short: "Remove a role; its sessions may do nothing from then on", Example: "thaw role rm orders"}, keeper.RemoveRole)
}
