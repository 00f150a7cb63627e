package main

import "github.com/spf13/cobra"

// command makes one subcommand for an app.
type command = func(*app) *cobra.Command

// commands are the subcommands of thaw.
var commands = []command{
	configCommand, demoCommand, doctorCommand, invokeCommand, logsCommand, psCommand, runtimeCommand, serverCommand, snapshotCommand, versionCommand,
}
