package main

import "github.com/spf13/cobra"

// command makes one subcommand for an app.
type command = func(*app) *cobra.Command

// commands are the subcommands of thaw.
var commands = []command{
	aliasCommand, apiCommand, asyncCommand, backupCommand, completionCommand, configCommand, configureCommand, demoCommand, deployCommand, doctorCommand, eventCommand, fnCommand, invokeCommand,
	keyCommand, layerCommand, logsCommand, lsCommand, psCommand, restoreCommand, roleCommand, runtimeCommand, sandboxCommand, serverCommand, snapshotCommand, sourceCommand, triggerCommand, urlCommand, versionCommand,
}
