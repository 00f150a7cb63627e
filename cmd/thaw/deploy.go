package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"

	"thaw/internal/project"
)

// deployment is what one call of thaw deploy was asked for, and what it prints with -o json.
type deployment struct {
	Function string `json:"function"`
	ARN      string `json:"arn"`
	Runtime  string `json:"runtime"`
	Handler  string `json:"handler"`
	Change   string `json:"change"`            // of $LATEST: created, updated, unchanged
	Version  string `json:"version,omitempty"` // published
	Alias    string `json:"alias,omitempty"`   // leads to the version
	URL      string `json:"url,omitempty"`
	API      string `json:"api,omitempty"` // its URL
	CodeSize int64  `json:"codeSize"`
	CodeHash string `json:"codeSha256"`
	Took     string `json:"took"`

	dir    string
	want   project.Settings  // of the file, and of flags, which win
	vars   map[string]string // of --env
	layers []string          // ARNs; nil: they stay
}

// defaultRole is the role of a function whose deployer names none: thaw grants nothing by it.
const defaultRole = "arn:aws:iam::000000000000:role/thaw"

func deployCommand(a *app) *cobra.Command {
	var (
		t     target
		flags project.Settings
		url   string
		env   []string
	)
	cmd := &cobra.Command{
		Use:   "deploy FOLDER",
		Short: "Create or update a function from a folder",
		Long: `Creates the function that a folder holds, or updates it, and waits until it can be invoked. Runtime and handler are told by the
folder's files, the function's name by the folder's name. A Go program is compiled; what needs another build has to be built before.
Deploying again changes only what is different: what is not given stays.

A file ` + project.SettingsFile + ` in the folder can say all of this, too; flags win over it:

  name: hello
  runtime: nodejs22.x              # also handler, role, description
  memory: 256                      # MiB; also tmp (MiB) and timeout (seconds)
  environment: {GREETING: hi}      # all variables; --env adds to them
  layers: [libs, "tools:2"]        # all layers: the newest version, a version, an ARN
  tags: {team: shop}
  alias: live                      # or publish: true, snapstart: true
  url: none                        # or iam, or {auth: none, stream: true, cors: {origins: ["*"]}}
  api: true                        # an HTTP API of the same name in front of it
  concurrency: 10                  # reserved
  provisioned: 2                   # environments of the alias`,
		Args:              args(cobra.ExactArgs(1)),
		ValidArgsFunction: a.complete(aFile),
		Example:           "thaw deploy ./hello --env GREETING=hi --memory 256 --alias live --url",
	}
	f := cmd.Flags()
	f.StringVar(&flags.Name, "name", "", "name of the function (default the folder's)")
	f.StringVar(&flags.Runtime, "runtime", "", "runtime identifier, such as nodejs22.x (default by the folder's files)")
	f.StringVar(&flags.Handler, "handler", "", "handler, such as index.handler (default by the folder's files)")
	f.StringArrayVar(&env, "env", nil, "environment variable NAME=VALUE; can be given several times")
	f.Int32Var((*int32)(&flags.Memory), "memory", 0, "memory in MiB (default 128, or what the function has)")
	f.Int32Var((*int32)(&flags.Timeout), "timeout", 0, "timeout in seconds (default 30, or what the function has)")
	f.StringVar(&flags.Role, "role", "", "ARN of the function's role (default "+defaultRole+")")
	f.StringSliceVar(&flags.Layers, "layer", nil, "LAYER, LAYER:VERSION or an ARN; all layers of the function; can be given several times")
	f.BoolVar(&flags.SnapStart, "snapstart", false, "publish a version that starts from a snapshot")
	f.BoolVar(&flags.Publish, "publish", false, "publish a version")
	f.StringVar(&flags.Alias, "alias", "", "publish a version and let this alias lead to it")
	f.StringVar(&url, "url", "", "give the function, or the alias, a URL that everybody may call; --url=iam: with signed requests")
	f.BoolVar(&flags.API, "api", false, "put an HTTP API in front of the function, or the alias; thaw api add makes one with routes")
	f.Lookup("url").NoOptDefVal = project.Auths[0]
	for flag, values := range map[string]cobra.CompletionFunc{"url": cobra.FixedCompletions(project.Auths, cobra.ShellCompDirectiveNoFileComp),
		"layer": a.complete(aLayer), "runtime": cobra.FixedCompletions(slices.Sorted(maps.Values(newest)), cobra.ShellCompDirectiveNoFileComp)} {
		cmd.RegisterFlagCompletionFunc(flag, values) //nolint:errcheck // the flag is there
	}
	t.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, dirs []string) error {
		d := deployment{dir: dirs[0]}
		var err error
		if d.vars, err = variables(env); err != nil {
			return misuse{err}
		}
		if url != "" {
			flags.URL = &project.URL{Auth: url}
		}
		if err := d.settings(flags); err != nil {
			return misuse{err}
		}
		return a.deploy(cmd, t, &d)
	}
	return cmd
}

// settings reads the file, and puts what flags say over it.
func (d *deployment) settings(flags project.Settings) (err error) {
	if info, err := os.Stat(d.dir); err != nil || !info.IsDir() {
		return fmt.Errorf("%s is no folder", d.dir)
	}
	if d.want, err = project.ReadSettings(d.dir); err != nil {
		return err
	}
	w := &d.want
	w.Name, w.Runtime, w.Handler, w.Role = cmp.Or(flags.Name, w.Name), cmp.Or(flags.Runtime, w.Runtime), cmp.Or(flags.Handler, w.Handler), cmp.Or(flags.Role, w.Role)
	w.Memory, w.Timeout, w.Alias = cmp.Or(flags.Memory, w.Memory), cmp.Or(flags.Timeout, w.Timeout), cmp.Or(flags.Alias, w.Alias)
	w.SnapStart, w.Publish, w.API = w.SnapStart || flags.SnapStart, w.Publish || flags.Publish, w.API || flags.API
	if flags.Layers != nil {
		w.Layers = flags.Layers
	}
	if flags.URL != nil {
		if w.URL == nil {
			w.URL = &project.URL{}
		}
		w.URL.Auth = flags.URL.Auth
	}
	for name := range w.Environment {
		if !variableName.MatchString(name) {
			return badVariable(project.SettingsFile, name)
		}
	}
	d.Function, d.Runtime, d.Handler = w.Name, w.Runtime, w.Handler
	return w.Validate()
}

// variableName is AWS's pattern of a variable's name. Its own message shows neither the name nor the value.
var variableName = regexp.MustCompile(`^[a-zA-Z]([a-zA-Z0-9_])+$`)

func variables(env []string) (map[string]string, error) {
	vars := map[string]string{}
	for _, e := range env {
		name, value, ok := strings.Cut(e, "=")
		if !ok {
			return nil, fmt.Errorf("--env %s: not of the form NAME=VALUE", e)
		}
		if !variableName.MatchString(name) {
			return nil, badVariable("--env", name)
		}
		vars[name] = value
	}
	return vars, nil
}

func badVariable(where, name string) error {
	return fmt.Errorf("%s: %s: a variable's name has at least two letters, digits or underscores, and begins with a letter, as on AWS", where, name)
}

func (a *app) deploy(cmd *cobra.Command, t target, d *deployment) error {
	began, ctx := time.Now(), cmd.Context()
	read, err := d.read()
	if err != nil {
		return err
	}
	client, err := a.client(cmd, t, d.Function)
	if err != nil {
		return err
	}
	var existing *types.FunctionConfiguration
	got, err := client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &d.Function})
	switch {
	case err == nil:
		existing = got.Configuration
	case !errors.As(err, new(*types.ResourceNotFoundException)):
		return plainer(err)
	}
	if d.Runtime == "" {
		if d.Runtime, err = a.runtimeFor(cmd, read.Family, existing); err != nil {
			return err
		}
	}
	if d.Handler == "" && strings.HasPrefix(d.Runtime, "java") {
		return misuse{fmt.Errorf("%s: a jar does not say what its handler is; give --handler, for example com.example.App::handleRequest", d.dir)}
	}
	for _, hint := range read.Hints {
		fmt.Fprintf(a.words, "note: %s\n", hint)
	}
	fmt.Fprintf(a.words, "%s: %s, handler %s, from %s\n", d.Function, d.Runtime, visible(d.Handler), visible(filepath.Join(d.dir, read.Source)))
	code, err := read.Package(ctx, d.dir)
	if err != nil {
		return fmt.Errorf("package of %s: %w", d.dir, err)
	}
	if d.layers, err = layerARNs(ctx, client, d.want.Layers); err != nil {
		return plainer(err)
	}
	if existing == nil {
		err = d.create(ctx, client, code)
	} else {
		err = d.update(ctx, client, existing, code)
	}
	if err != nil {
		return plainer(err)
	}
	if err := a.settled(ctx, client, d); err != nil {
		return err
	}
	if err := a.release(ctx, client, d); err != nil {
		return plainer(err)
	}
	d.Took = ago(time.Since(began))
	return a.print(d, func(io.Writer) { a.deployed(d) })
}

// read looks at the folder, as far as flags do not say already what it holds.
func (d *deployment) read() (*project.Function, error) {
	read, err := project.Read(d.dir)
	if unknown := (*project.UnknownError)(nil); errors.As(err, &unknown) && d.Runtime != "" && d.Handler != "" {
		read, err = &project.Function{Name: project.Name(d.dir)}, nil
	} else if unknown != nil {
		return nil, misuse{unknown}
	}
	if err != nil {
		return nil, err
	}
	if d.Function == "" {
		d.Function = read.Name
	}
	if d.Handler == "" {
		d.Handler = read.Handler
	}
	return read, nil
}

// runtimeFor chooses the identifier of a family: that of the function as it is, else what this host runs best.
func (a *app) runtimeFor(cmd *cobra.Command, family string, existing *types.FunctionConfiguration) (string, error) {
	if existing != nil && strings.HasPrefix(string(existing.Runtime), family) {
		return string(existing.Runtime), nil
	}
	_, c, err := a.server(cmd)
	if err != nil { // another host's server, or another user's: its folder says nothing to us
		return newest[family], nil
	}
	reg, err := openRuntimes(c)
	if err != nil {
		return newest[family], nil
	}
	ready, fetchable := choose(reg, family)
	for _, id := range []string{ready, fetchable} {
		if id != "" {
			return id, nil
		}
	}
	return newest[family], nil
}

// newest is what a family is deployed to where nothing is known of the server's host.
var newest = map[string]string{"nodejs": "nodejs22.x", "python": "python3.13", "java": "java21", "provided": "provided.al2023"}
