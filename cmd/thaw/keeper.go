package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"thaw/access"
	"thaw/admin"
)

// keeper has the keys and roles of a server: its admin socket, or the folder where no server runs.
type keeper interface {
	Keys(context.Context) ([]access.Key, error)
	AddKey(context.Context, access.Key) (admin.NewKey, error)
	RemoveKey(context.Context, string) error
	Roles(context.Context) ([]access.Role, error)
	PutRole(context.Context, access.Role) (access.Role, error)
	RemoveRole(context.Context, string) error
}

// keeper finds what has the keys and roles.
func (a *app) keeper(cmd *cobra.Command) (keeper, error) {
	client, config, err := a.server(cmd)
	if err != nil {
		return nil, err
	}
	if _, err = client.Health(cmd.Context()); !errors.Is(err, admin.ErrNotRunning) {
		return client, err
	}
	s, err := access.Open(access.Options{Dir: config.AccessDir(), Account: config.AccountID, Log: a.logger(config)})
	return folder{s}, err
}

// folder is the keeper where no server runs.
type folder struct{ *access.Store }

func (f folder) Keys(context.Context) ([]access.Key, error) { return f.Store.Keys(), nil }

func (f folder) AddKey(_ context.Context, k access.Key) (made admin.NewKey, err error) {
	made.Key, made.SecretAccessKey, err = f.Store.AddKey(k)
	return made, err
}

func (f folder) RemoveKey(_ context.Context, id string) error { return f.Store.RemoveKey(id) }

func (f folder) Roles(context.Context) ([]access.Role, error) { return f.Store.Roles(), nil }

func (f folder) PutRole(_ context.Context, r access.Role) (access.Role, error) {
	return f.Store.PutRole(r)
}

func (f folder) RemoveRole(_ context.Context, name string) error { return f.Store.RemoveRole(name) }

// readPolicy reads a policy document; - is standard input.
func (a *app) readPolicy(flag, path string) ([]byte, error) {
	text, err := []byte(nil), error(nil)
	switch path {
	case "":
		return nil, misuse{fmt.Errorf("--%s FILE is missing: a policy document, or - for standard input", flag)}
	case "-":
		text, err = io.ReadAll(a.in)
	default:
		text, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, misuse{fmt.Errorf("--%s: %w", flag, err)}
	}
	return text, nil
}
