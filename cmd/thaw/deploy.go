package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/spf13/cobra"

	"thaw/internal/project"
)

// deployment is what one call of thaw deploy was asked for, and what it prints with -o json.
type deployment struct {
	Function  string `json:"function"`
	ARN       string `json:"arn"`
	Runtime   string `json:"runtime"`
	Handler   string `json:"handler"`
	Change    string `json:"change"`            // created, updated, unchanged
	Version   string `json:"version,omitempty"` // published, with SnapStart
	CodeSize  int64  `json:"codeSize"`
	CodeHash  string `json:"codeSha256"`
	Took      string `json:"took"`
	dir, role string
	memory    int32
	timeout   int32
	vars      map[string]string
	snapStart bool
}

// defaultRole is the role of a function whose deployer names none: thaw grants nothing by it.
const defaultRole = "arn:aws:iam::000000000000:role/thaw"

func deployCommand(a *app) *cobra.Command {
	var (
		t   target
		d   deployment
		env []string
	)
	cmd := &cobra.Command{
		Use:   "deploy FOLDER",
		Short: "Create or update a function from a folder",
		Long: `Creates the function that a folder holds, or updates it, and waits until it can be invoked. Runtime and handler are told by the
folder's files, the function's name by the folder's name. A Go program is compiled; what needs another build has to be built before.
Deploying again changes only what is different: variables, memory and timeout stay unless they are given.`,
		Args:    args(cobra.ExactArgs(1)),
		Example: "thaw deploy ./hello --env GREETING=hi --memory 256",
	}
	f := cmd.Flags()
	f.StringVar(&d.Function, "name", "", "name of the function (default the folder's)")
	f.StringVar(&d.Runtime, "runtime", "", "runtime identifier, such as nodejs22.x (default by the folder's files)")
	f.StringVar(&d.Handler, "handler", "", "handler, such as index.handler (default by the folder's files)")
	f.StringArrayVar(&env, "env", nil, "environment variable NAME=VALUE; can be given several times")
	f.Int32Var(&d.memory, "memory", 0, "memory in MiB (default 128, or what the function has)")
	f.Int32Var(&d.timeout, "timeout", 0, "timeout in seconds (default 30, or what the function has)")
	f.StringVar(&d.role, "role", defaultRole, "ARN of the function's role")
	f.BoolVar(&d.snapStart, "snapstart", false, "publish a version that starts from a snapshot")
	t.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, dirs []string) error {
		var err error
		if d.vars, err = variables(env); err != nil {
			return misuse{err}
		}
		d.dir = dirs[0]
		return a.deploy(cmd, t, &d)
	}
	return cmd
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
			return nil, fmt.Errorf("--env %s: a variable's name has at least two letters, digits or underscores, and begins with a letter, as on AWS", name)
		}
		vars[name] = value
	}
	return vars, nil
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
	if d.snapStart {
		if err := a.publish(ctx, client, d); err != nil {
			return err
		}
	}
	d.Took = ago(time.Since(began))
	return a.print(d, func(io.Writer) { a.deployed(d) })
}

// read looks at the folder, as far as flags do not say already what it holds.
func (d *deployment) read() (*project.Function, error) {
	if info, err := os.Stat(d.dir); err != nil || !info.IsDir() {
		return nil, misuse{fmt.Errorf("%s is no folder", d.dir)}
	}
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

func (d *deployment) create(ctx context.Context, client *lambda.Client, code []byte) error {
	in := &lambda.CreateFunctionInput{FunctionName: &d.Function, Runtime: types.Runtime(d.Runtime), Handler: &d.Handler, Role: &d.role,
		Code: &types.FunctionCode{ZipFile: code}, Timeout: aws.Int32(30), SnapStart: d.applyOn()}
	if d.timeout != 0 {
		in.Timeout = &d.timeout
	}
	if d.memory != 0 {
		in.MemorySize = &d.memory
	}
	if len(d.vars) > 0 {
		in.Environment = &types.Environment{Variables: d.vars}
	}
	out, err := client.CreateFunction(ctx, in)
	if err != nil {
		return err
	}
	d.Change, d.ARN, d.CodeSize, d.CodeHash = "created", aws.ToString(out.FunctionArn), out.CodeSize, aws.ToString(out.CodeSha256)
	return nil
}

func (d *deployment) applyOn() *types.SnapStart {
	if !d.snapStart {
		return nil
	}
	return &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}
}

// update changes what is different, the configuration first: new code may need it.
func (d *deployment) update(ctx context.Context, client *lambda.Client, was *types.FunctionConfiguration, code []byte) error {
	d.Change, d.ARN = "unchanged", aws.ToString(was.FunctionArn)
	if in, differs := d.configuration(was); differs {
		if _, err := client.UpdateFunctionConfiguration(ctx, in); err != nil {
			return err
		}
		d.Change = "updated"
		if err := waitUpdated(ctx, client, d.Function); err != nil {
			return err
		}
	}
	dry, err := client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &d.Function, ZipFile: code, DryRun: true})
	if err != nil {
		return err
	}
	d.CodeSize, d.CodeHash = dry.CodeSize, aws.ToString(dry.CodeSha256)
	if d.CodeHash == aws.ToString(was.CodeSha256) {
		return nil
	}
	if _, err := client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: &d.Function, ZipFile: code}); err != nil {
		return err
	}
	d.Change = "updated"
	return nil
}

// configuration is the change that is asked for, and whether there is one.
func (d *deployment) configuration(was *types.FunctionConfiguration) (*lambda.UpdateFunctionConfigurationInput, bool) {
	in, differs := &lambda.UpdateFunctionConfigurationInput{FunctionName: &d.Function}, false
	if d.Runtime != string(was.Runtime) || d.Handler != aws.ToString(was.Handler) {
		in.Runtime, in.Handler, differs = types.Runtime(d.Runtime), &d.Handler, true
	}
	if d.memory != 0 && d.memory != aws.ToInt32(was.MemorySize) {
		in.MemorySize, differs = &d.memory, true
	}
	if d.timeout != 0 && d.timeout != aws.ToInt32(was.Timeout) {
		in.Timeout, differs = &d.timeout, true
	}
	vars := map[string]string{}
	if was.Environment != nil {
		maps.Copy(vars, was.Environment.Variables)
	}
	before := maps.Clone(vars)
	if maps.Copy(vars, d.vars); !maps.Equal(before, vars) {
		in.Environment, differs = &types.Environment{Variables: vars}, true
	}
	if d.snapStart && (was.SnapStart == nil || was.SnapStart.ApplyOn != types.SnapStartApplyOnPublishedVersions) {
		in.SnapStart, differs = d.applyOn(), true
	}
	return in, differs
}

// settleLimit bounds the wait for a function: its runtime may have to be fetched first.
const settleLimit = 15 * time.Minute

func waitUpdated(ctx context.Context, client *lambda.Client, name string) error {
	return lambda.NewFunctionUpdatedV2Waiter(client, func(o *lambda.FunctionUpdatedV2WaiterOptions) {
		o.MinDelay, o.MaxDelay = 50*time.Millisecond, time.Second
	}).
		Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, settleLimit)
}

// settled waits until the function, or the published version, can be invoked, and tells what it waits for when that
// takes a while.
func (a *app) settled(ctx context.Context, client *lambda.Client, d *deployment) error {
	in := &lambda.GetFunctionInput{FunctionName: &d.Function}
	if d.Version != "" {
		in.Qualifier = &d.Version
	}
	told, delay := "", 20*time.Millisecond
	for end := time.Now().Add(settleLimit); ; {
		out, err := client.GetFunction(ctx, in)
		if err != nil {
			return plainer(err)
		}
		c := out.Configuration
		switch {
		case c.State == types.StateFailed:
			return fmt.Errorf("%s is Failed: %s", d.Function, aws.ToString(c.StateReason))
		case c.LastUpdateStatus == types.LastUpdateStatusFailed:
			return fmt.Errorf("the update of %s failed, and what it was before still serves: %s", d.Function, aws.ToString(c.LastUpdateStatusReason))
		case c.State != types.StatePending && c.LastUpdateStatus != types.LastUpdateStatusInProgress:
			return nil
		case time.Now().After(end):
			return fmt.Errorf("%s is still %s after %v: %s", d.Function, c.State, settleLimit, aws.ToString(c.StateReason))
		}
		if why := aws.ToString(c.StateReason); why != "" && why != told && delay > 200*time.Millisecond {
			fmt.Fprintf(a.words, "waiting: %s\n", visible(why))
			told = why
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(delay):
		}
		delay = min(2*delay, 500*time.Millisecond)
	}
}

func (a *app) publish(ctx context.Context, client *lambda.Client, d *deployment) error {
	out, err := client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &d.Function})
	if err != nil {
		return plainer(err)
	}
	d.Version = aws.ToString(out.Version)
	return a.settled(ctx, client, d)
}

// deployed says what was done and what to type next.
func (a *app) deployed(d *deployment) {
	name := d.Function
	fmt.Fprintf(a.out, "%s %s in %s\n", name, d.Change, d.Took)
	if d.Version != "" {
		name += ":" + d.Version
		fmt.Fprintf(a.out, "version %s starts from a snapshot\n", d.Version)
	}
	fmt.Fprintf(a.words, "\nNext:\n  thaw invoke %s --payload '{}' --tail\n  thaw logs -f %s\n", name, d.Function)
}
