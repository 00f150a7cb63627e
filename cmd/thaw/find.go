package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"thaw/admin"
	"thaw/node"
)

// found is a running server, as a command found it.
type found struct {
	*admin.Client
	config   node.Config
	endpoint string
	closed   error // why its admin socket cannot be used, though it runs; nil otherwise
}

// find looks for the server that a command is meant for. A data folder that is named by a flag, a variable or the
// config file is the only one that is looked at. Else it is that of the default folder, and when nobody has that, the
// one server that runs on this host: somebody who started it with sudo, or with a data folder of its own, need not say
// so again. Which one it is then goes to stderr.
func (a *app) find(cmd *cobra.Command) (found, error) {
	c, err := a.settings(cmd)
	if err != nil {
		return found{}, err
	}
	s := found{Client: admin.Dial(c.DataDir), config: c}
	h, err := s.Health(cmd.Context())
	if err == nil {
		s.endpoint = h.Endpoint
		return s, nil
	}
	if a.namesFolder(cmd) || !errors.Is(err, admin.ErrNotRunning) && !errors.Is(err, admin.ErrNotOurs) {
		return s, err
	}
	running := admin.Running()
	switch len(running) {
	case 0:
		return s, err
	case 1:
		return a.elsewhere(cmd, c, running[0])
	}
	var list []string
	for _, r := range running {
		list = append(list, fmt.Sprintf("--data-dir %s (%s, %s)", r.DataDir, r.User, r.Endpoint))
	}
	return s, misuse{fmt.Errorf("several servers run here; say which by %s", strings.Join(list, " or "))}
}

// elsewhere goes to a server of another user or another folder than the default.
func (a *app) elsewhere(cmd *cobra.Command, c node.Config, r admin.Announcement) (found, error) {
	whose := ""
	if r.UID != os.Geteuid() {
		whose = " of " + r.User
	}
	fmt.Fprintf(a.words, "thaw: talking to the server%s at %s, data in %s\n", whose, r.Endpoint, r.DataDir)
	c.DataDir = r.DataDir
	s := found{Client: admin.Dial(r.DataDir), config: c, endpoint: r.Endpoint}
	_, s.closed = s.Health(cmd.Context())
	return s, nil
}

// namesFolder says whether a data folder was asked for.
func (a *app) namesFolder(cmd *cobra.Command) bool {
	if f := cmd.Flags().Lookup("data-dir"); f != nil && f.Changed || os.Getenv("THAW_DATA_DIR") != "" {
		return true
	}
	f := cmd.Flags().Lookup("config")
	return f != nil && f.Changed || os.Getenv("THAW_CONFIG") != ""
}

// server is the running server for what only its admin socket can do. Where none runs, each call of the client says so.
func (a *app) server(cmd *cobra.Command) (*admin.Client, node.Config, error) {
	s, err := a.find(cmd)
	if errors.Is(err, admin.ErrNotRunning) {
		err = nil
	}
	if err == nil {
		err = s.closed
	}
	return s.Client, s.config, err
}
