package main

import (
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"thaw/node"
)

func defaultDataDir() string { return node.DefaultDataDir() }

// addSettings gives a command a flag for everything that can be set about a server.
func addSettings(cmd *cobra.Command) {
	c := node.Default()
	for _, v := range c.Values() {
		if v.NoFlag || v.Name == "data-dir" { // data-dir is a flag of every command
			continue
		}
		help := v.Help
		if v.Unit != "" {
			help += ", in " + v.Unit
		}
		if v.Switch {
			cmd.Flags().Bool(v.Name, v.Default == "true", help)
		} else {
			cmd.Flags().String(v.Name, v.Default, help)
		}
		f := cmd.Flags().Lookup(v.Name)
		f.Usage = strings.ReplaceAll(help, "`", "'")
		f.Annotations = map[string][]string{isSetting: nil}
	}
}

// isSetting marks a flag as a server's setting: a command may have a flag of the same name that means something else.
const isSetting = "thaw-setting"

// settings are the effective ones, from the command's flags and everything below them.
func (a *app) settings(cmd *cobra.Command) (node.Config, error) {
	src := node.Sources{File: a.configFile, Env: os.LookupEnv, Flags: map[string]string{}}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if _, is := f.Annotations[isSetting]; is || f.Name == "data-dir" {
			src.Flags[f.Name] = f.Value.String()
		}
	})
	c, err := node.Load(src)
	if err != nil {
		return c, misuse{err}
	}
	return c, nil
}

// logger is the server's own log, on stderr.
func (a *app) logger(c node.Config) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.Level()}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.words, o))
	}
	return slog.New(slog.NewTextHandler(a.words, o))
}
