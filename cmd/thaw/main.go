// Thaw is the server and its command line. One file per command; they parse flags and print, the rest is done elsewhere.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"thaw/node"
)

func main() {
	ctx, force, done := signals()
	code := run(ctx, force, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	done()
	os.Exit(code)
}

// signals gives two contexts: the first ends with the first SIGINT or SIGTERM (finish what runs), the second with the second (finish
// now). A third ends the process as if nobody listened.
func signals() (ctx, force context.Context, done func()) {
	ctx, ask := context.WithCancel(context.Background())
	force, insist := context.WithCancel(context.Background())
	got := make(chan os.Signal, 2)
	signal.Notify(got, os.Interrupt, syscall.SIGTERM)
	stop := make(chan struct{})
	go func() {
		for _, end := range []context.CancelFunc{ask, insist} {
			select {
			case <-got:
				end()
			case <-stop:
				return
			}
		}
		signal.Stop(got)
	}()
	return ctx, force, func() { close(stop); signal.Stop(got); ask(); insist() }
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitMisuse = 2 // the command line or the configuration makes no sense
)

// misuse marks an error as the caller's: exit code 2.
type misuse struct{ error }

func (m misuse) Unwrap() error { return m.error }

// errSilent is an error whose words have been printed already.
var errSilent = errors.New("")

// run is the whole program but for the process around it. When ctx ends the command finishes what it does; when force ends it stops now.
func run(ctx, force context.Context, args []string, in io.Reader, out, words io.Writer) int {
	root := newRoot(&app{force: force, out: out, words: words, in: in})
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(words)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case err == errSilent:
		return exitFailed
	case errors.As(err, new(misuse)):
		fmt.Fprintf(words, "thaw: %s\n", visible(err.Error()))
		return exitMisuse
	}
	fmt.Fprintf(words, "thaw: %s\n", visible(err.Error())) // it may tell what a function said
	return exitFailed
}

// app is what every command has at hand.
type app struct {
	force      context.Context
	in         io.Reader
	out, words io.Writer
	output     string // -o
	configFile string
	dataDir    string
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "thaw",
		Short: "A self-hosted platform that speaks the AWS Lambda API",
		Long: `thaw runs functions in isolated execution environments behind the AWS Lambda API.
Clients work by setting an endpoint URL.`,
		Example:           "thaw version",
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true}, // completion.go has ours
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return misuse{fmt.Errorf("unknown command %q; %s", args[0], didYouMean(cmd, args[0]))}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cmd.Help(); err != nil {
				return err
			}
			return nil
		},
		PersistentPreRunE: func(*cobra.Command, []string) error {
			if a.output != "text" && a.output != "json" {
				return misuse{fmt.Errorf("--output %s: neither text nor json", a.output)}
			}
			return nil
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return misuse{fmt.Errorf("%w; type: %s --help", err, cmd.CommandPath())}
	})
	root.SetUsageTemplate(usageTemplate)
	root.SuggestionsMinimumDistance = 2
	root.Version = node.Version
	root.SetVersionTemplate("thaw {{.Version}}\n")
	flags := root.PersistentFlags()
	flags.StringVarP(&a.output, "output", "o", "text", "form of what is printed: text or json")
	root.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)) //nolint:errcheck // the flag is there
	flags.StringVar(&a.dataDir, "data-dir", "", "the server's data folder (default "+defaultDataDir()+", or THAW_DATA_DIR)")
	flags.StringVar(&a.configFile, "config", "", "config file of NAME = VALUE lines (default DATA-DIR/thaw.conf, or THAW_CONFIG)")
	for _, c := range commands {
		root.AddCommand(c(a))
	}
	return root
}

// didYouMean says what somebody may have meant by a command that there is not.
func didYouMean(cmd *cobra.Command, typed string) string {
	if near := cmd.SuggestionsFor(typed); len(near) > 0 {
		return fmt.Sprintf("did you mean %s? or type: %s --help", strings.Join(near, " or "), cmd.CommandPath())
	}
	return "type: " + cmd.CommandPath() + " --help"
}

// group is a command that only has others below it.
func group(c *cobra.Command, below ...*cobra.Command) *cobra.Command {
	c.Args = func(cmd *cobra.Command, given []string) error {
		if len(given) > 0 {
			return misuse{fmt.Errorf("unknown command %q of %s; %s", given[0], cmd.CommandPath(), didYouMean(cmd, given[0]))}
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	c.SuggestionsMinimumDistance = 2
	c.AddCommand(below...)
	return c
}

// args checks the number of arguments; too many or too few are misuse.
func args(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if err := check(cmd, given); err != nil {
			return misuse{fmt.Errorf("%w; type: %s --help", err, cmd.CommandPath())}
		}
		return nil
	}
}

// usageTemplate is cobra's, with the example at the end.
const usageTemplate = `Usage:
  {{if .Runnable}}{{.UseLine}}{{else}}{{.CommandPath}} COMMAND{{end}}
{{- if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if .IsAvailableCommand}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}
{{- end}}
{{- if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}
{{- end}}
{{- if .HasAvailableInheritedFlags}}

Flags of every command:
{{.InheritedFlags.FlagUsages | trimTrailingWhitespaces}}
{{- end}}

Example:
  {{.Example}}
`
