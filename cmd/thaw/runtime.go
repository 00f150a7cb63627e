package main

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"thaw/node"
	"thaw/runtimes"
)

func runtimeCommand(a *app) *cobra.Command {
	return group(&cobra.Command{
		Use:     "runtime",
		Short:   "Say what serves each runtime identifier, and install what is missing",
		Example: "thaw runtime ls",
	}, runtimeLsCommand(a), runtimeInstallCommand(a))
}

// openRuntimes opens the registry in the data folder.
func openRuntimes(c node.Config) (*runtimes.Registry, error) {
	return runtimes.Open(runtimes.Options{Dir: filepath.Join(c.DataDir, "runtimes"), InstallCommand: c.InstallCommand()})
}

func runtimeLsCommand(a *app) *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List the runtimes that are ready here, with interpreter and client",
		Args:    args(cobra.NoArgs),
		Example: "thaw runtime ls --all",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, c, err := a.server(cmd)
			if err != nil {
				return err
			}
			reg, err := openRuntimes(c)
			if err != nil {
				return err
			}
			list := reg.Ls()
			return a.print(list, func(w io.Writer) { a.printRuntimes(w, list, all) })
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every runtime identifier, and what is missing for it; -o json always has all")
	return cmd
}

func (a *app) printRuntimes(w io.Writer, list []runtimes.Row, all bool) {
	shown := list
	if !all {
		shown = slices.DeleteFunc(slices.Clone(list), func(r runtimes.Row) bool { return !r.Ready })
	}
	table(w, runtimeRows(shown, all))
	if n := len(list) - len(shown); n > 0 {
		fmt.Fprintf(a.words, "%d more are not ready; type: thaw runtime ls --all\n", n)
	}
}

func runtimeRows(list []runtimes.Row, all bool) [][]string {
	if !all { // every one is ready
		rows := [][]string{{"RUNTIME", "INTERPRETER", "CLIENT"}}
		for _, r := range list {
			rows = append(rows, []string{r.Identifier, from(r.InterpreterVersion, r.Interpreter, r.InterpreterSource), clientOf(r)})
		}
		return rows
	}
	rows := [][]string{{"RUNTIME", "READY", "INTERPRETER", "CLIENT", "MISSING"}}
	for _, r := range list {
		ready, missing := "yes", ""
		if !r.Ready {
			ready, missing = "no", r.Missing
		}
		if r.Install != "" && !r.Ready {
			missing += "; type: " + r.Install
		}
		rows = append(rows, []string{r.Identifier, ready, from(r.InterpreterVersion, r.Interpreter, r.InterpreterSource), clientOf(r), missing})
	}
	return rows
}

// clientOf is what stands between the interpreter and the function: AWS's client or ours, and AWS's SDK.
func clientOf(r runtimes.Row) string {
	text := from(r.ClientVersion, r.Client, r.ClientSource)
	if r.SDK != "" {
		text += ", " + r.SDK + " " + r.SDKVersion
	}
	return text
}

// from is a part of a runtime, its version and where it came from.
func from(version, name, source string) string {
	text := strings.TrimSpace(name + " " + version)
	if source != "" {
		text += " (" + source + ")"
	}
	return text
}

func runtimeInstallCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "install NAME...",
		Short: "Put a runtime's interpreter and client into the data folder",
		Long: `Fetches what a runtime needs from the public registries (npm, PyPI, Maven Central), in pinned versions whose hashes are
checked, into the data folder. Nothing outside of it changes.`,
		Args:    args(cobra.MinimumNArgs(1)),
		Example: "thaw runtime install python3.11",
		RunE: func(cmd *cobra.Command, names []string) error {
			_, c, err := a.server(cmd)
			if err != nil {
				return err
			}
			reg, err := openRuntimes(c)
			if err != nil {
				return err
			}
			for _, name := range names {
				if err := reg.Install(cmd.Context(), name, func(step string) { fmt.Fprintln(a.words, step) }); err != nil {
					return fmt.Errorf("install %s: %w", name, err)
				}
			}
			return nil
		},
	}
}
