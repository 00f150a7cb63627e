package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/apigatewayv2"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"

	"thaw/admin"
	"thaw/node"
	"thaw/runtimes"
)

func demoCommand(a *app) *cobra.Command {
	var keep, verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show functions running: cold, warm, restored from a snapshot, failing and timing out",
		Long: `Starts a server in a temporary data folder with the best sandbox of this host, installs the runtimes' clients into it, creates sample
functions and invokes them: cold, warm, with an error and with a timeout. With the sandboxes gvisor and firecracker it also publishes versions with SnapStart, shows
their restore beside the cold start, and puts a version under load whose snapshot is made anew meanwhile. Then everything is removed again.
When a server already runs on the data folder given by --data-dir, that one is used, and only the functions are removed.`,
		Args:    args(cobra.NoArgs),
		Example: "thaw demo --sandbox process -o json",
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "keep the server and the functions until Ctrl-C, to try them")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "also show each step's log and where its time went")
	addSettings(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.settings(cmd)
		if err != nil {
			return err
		}
		d := &demonstration{app: a, details: io.Discard, keep: keep}
		if verbose {
			d.details = a.words
		}
		err = d.start(cmd.Context(), c, flagsOf(cmd))
		if interrupted(cmd.Context(), err) {
			return errors.New("interrupted; nothing is left behind")
		}
		return err
	}
	return cmd
}

func flagsOf(cmd *cobra.Command) func(string) bool { return cmd.Flags().Changed }

// start shows the functions on the running server of c's data folder, or else on one of its own.
func (d *demonstration) start(ctx context.Context, c node.Config, given func(string) bool) (err error) {
	a := d.app
	if health, err := admin.Dial(c.DataDir).Health(ctx); err == nil && given("data-dir") {
		return d.show(ctx, c, health)
	}
	dir, err := os.MkdirTemp("", "thaw-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	c.MoveData(dir)
	if !given("offline") {
		c.Offline = true // show fetches what the samples need and says so; they use no SDK
	}
	if !given("listen") {
		c.Listen = "127.0.0.1:0"
	}
	if !given("log-level") {
		c.LogLevel = "warn"
	}
	began := time.Now()
	n, err := a.open(ctx, c)
	if err != nil {
		return err
	}
	defer func() {
		fmt.Fprintln(a.words, "\nThe server ends and its data folder is removed.")
		err = errors.Join(err, n.Close(a.force))
	}()
	fmt.Fprintf(a.words, "server       %s, started in %s, data in %s\n", n.Endpoint(), ago(time.Since(began)), dir)
	return d.show(ctx, c, n.Health())
}

// show creates the samples, runs them, prints what happened and removes them.
func (d *demonstration) show(ctx context.Context, c node.Config, health admin.Health) (err error) {
	a := d.app
	isolation := "which isolates nothing: for your own code only"
	if health.Isolates {
		isolation = "which isolates"
	}
	fmt.Fprintf(a.words, "sandbox      %s, %s\n", health.Sandbox, isolation)
	reg, err := openRuntimes(c)
	if err != nil {
		return err
	}
	id, secret, err := accessKey(c)
	if err != nil {
		return err
	}
	d.server, d.client = admin.Dial(c.DataDir), newClient(health.Endpoint, region(), aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: os.Getenv("AWS_SESSION_TOKEN")}, trusting(health))
	d.endpoint, d.awsEnv = health.Endpoint, awsEnvironment(id, secret)
	d.snapshots, d.strict = health.Saves, c.Strict
	if !d.snapshots {
		fmt.Fprintf(a.words, "left out     publish with SnapStart, restore and refresh: the %s sandbox saves no memory; as root, and with gvisor or firecracker, they are shown\n", health.Sandbox)
	}
	defer func() {
		if !d.keep || err != nil {
			err = errors.Join(err, d.clean())
		}
	}()
	for _, do := range acts {
		if !d.shows(do) {
			continue
		}
		identifier, err := pickRuntime(ctx, reg, do.family, func(step string) { fmt.Fprintf(a.words, "runtime      %s\n", step) })
		fmt.Fprintf(a.words, "running      %s\n", do.sample)
		left := err != nil // without its runtime: not installed, or not to be fetched now
		if err == nil {
			err = d.run(ctx, do, identifier)
			left = errors.As(err, new(unbuildableError))
		}
		switch {
		case err == nil:
		case left && ctx.Err() == nil:
			fmt.Fprintf(a.words, "\n%s is left out: %v\n", do.sample, err)
		default:
			return fmt.Errorf("%s: %w", do.sample, err)
		}
	}
	if len(d.steps) == 0 {
		return errors.New("no runtime can run here; type: thaw doctor")
	}
	fmt.Fprintln(a.words, "running      an API in front of the first function")
	key := credentials.StaticCredentialsProvider{Value: aws.Credentials{AccessKeyID: id, SecretAccessKey: secret,
		SessionToken: os.Getenv("AWS_SESSION_TOKEN")}}
	if err := d.throughAPI(ctx, key, health.HTTPClient()); err != nil {
		return fmt.Errorf("API: %w", err)
	}
	if err := a.print(d.steps, func(w io.Writer) { printSteps(w, d.steps) }); err != nil {
		return err
	}
	a.next(health, c.DataDir, d.steps, d.keep)
	if d.keep {
		<-ctx.Done()
		err = d.clean()
	}
	return err
}

// preferred is what is taken of a family; without an entry it is the newest that is ready, or else can be fetched.
var preferred = map[string]string{"provided": "provided.al2023"}

// pickRuntime gives an identifier of a family that can run functions here, made ready if need be.
func pickRuntime(ctx context.Context, reg *runtimes.Registry, family string, progress func(string)) (string, error) {
	if p, ok := preferred[family]; ok {
		return p, reg.Check(p, "")
	}
	ready, fetchable := choose(reg, family)
	switch {
	case ready != "":
		return ready, nil
	case fetchable != "":
		return fetchable, reg.Install(ctx, fetchable, progress)
	}
	missing := &runtimes.NotInstalledError{Identifier: family}
	for _, row := range reg.Ls() {
		if ofFamily(row, family) && !row.Ready {
			missing.Missing, missing.Install = row.Missing, row.Install
		}
	}
	return "", missing
}

// choose gives the newest identifiers of a family that are ready, and that can be fetched, of those the ones that the
// least is fetched for; empty where there is none.
func choose(reg *runtimes.Registry, family string) (ready, fetchable string) {
	if p, ok := preferred[family]; ok {
		return p, ""
	}
	least := 0
	for _, row := range reg.Ls() {
		switch {
		case !ofFamily(row, family):
		case row.Ready:
			ready = row.Identifier
		case row.Fetchable && (family != "nodejs" || row.Identifier <= "nodejs22.x"):
			if fetchable == "" || len(row.Fetches) <= least {
				fetchable, least = row.Identifier, len(row.Fetches)
			}
		}
	}
	return ready, fetchable
}

func ofFamily(row runtimes.Row, family string) bool {
	return strings.HasPrefix(row.Identifier, family) && !strings.Contains(row.Identifier, ".al")
}

// next says what to type now; the first of the steps is with a function that works here.
func (a *app) next(health admin.Health, dataDir string, steps []step, keep bool) {
	say := func(format string, args ...any) { fmt.Fprintf(a.words, "  "+format+"\n", args...) }
	first, snapshot := steps[0], slices.IndexFunc(steps, func(st step) bool { return st.Version != "" })
	fmt.Fprintln(a.words, "\nWhat to type next:")
	if keep {
		folder := " --data-dir " + dataDir
		say("bin/thaw invoke %s --payload '{\"name\":\"you\"}' --tail%s", first.Function, folder)
		say("bin/thaw ps%s; bin/thaw logs %s%s", folder, first.Function, folder)
		if snapshot >= 0 {
			version := steps[snapshot].Function + ":" + steps[snapshot].Version
			say("bin/thaw snapshot inspect %s%s     # how long each stage of its making took", version, folder)
			say("bin/thaw snapshot doctor %s%s      # two copies side by side", version, folder)
		}
		say("AWS clients: --endpoint-url %s", health.Endpoint)
		say("in a browser, the function behind an API: %s", steps[len(steps)-1].URL)
		return
	}
	say("bin/thaw demo -v                    # the same, with each step's log and times")
	say("bin/thaw demo --keep                # the server stays, with an API to open in a browser")
	say("bin/thaw server                     # a server that stays; then, elsewhere:")
	if strings.HasPrefix(first.Runtime, "nodejs") {
		say(`mkdir -p hello`)
		say(`echo 'exports.handler = async (event) => ({ hello: event.name });' > hello/index.js`)
		say("bin/thaw deploy hello               # create it, or update it")
		say(`bin/thaw invoke hello --payload '{"name":"you"}' --tail`)
		if snapshot >= 0 {
			say("bin/thaw deploy hello --snapstart   # a version that starts from a snapshot")
			say("bin/thaw snapshot ls")
			say("bin/thaw snapshot inspect hello:1   # how long each stage of its making took")
			say("bin/thaw snapshot doctor hello:1    # two copies: equal random values, dead connections")
		}
	}
	say("AWS clients: --endpoint-url http://127.0.0.1:9600, any region and any key")
}

// demonstration is one showing of the samples.
type demonstration struct {
	app     *app
	details io.Writer // what only -v shows
	keep    bool      // the server and the functions stay until Ctrl-C

	server *admin.Client
	client *lambda.Client
	made   []string                          // functions, to be removed
	layers []*lambda.DeleteLayerVersionInput // to be removed, too
	steps  []step
	apis   *apigatewayv2.Client
	api    string // ID of the one that was made; empty: none

	endpoint string   // for AWS's command line
	awsEnv   []string // for it, too

	snapshots bool // the server makes them
	strict    bool // and only for the runtimes for which AWS does
}

// clean removes the functions, also when the demonstration was interrupted.
func (d *demonstration) clean() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	errs := []error{d.cleanAPI(ctx)}
	for _, name := range d.made {
		if _, err := d.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name}); err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", name, plainer(err)))
		}
	}
	d.made = nil
	for _, l := range d.layers {
		if _, err := d.client.DeleteLayerVersion(ctx, l); err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", *l.LayerName, plainer(err)))
		}
	}
	d.layers = nil
	return errors.Join(errs...)
}
