package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/admin"
	"thaw/logstore"
	"thaw/samples"
)

// publishLayer publishes a layer of package samples, which goes with the demonstration's functions.
func (d *demonstration) publishLayer(ctx context.Context, sample string) (arn string, err error) {
	pkg, err := samples.Layer(sample)
	if err != nil {
		return "", err
	}
	name := functionName(sample)
	v, err := d.client.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{LayerName: &name, Content: &types.LayerVersionContentInput{ZipFile: pkg}})
	if err != nil {
		return "", fmt.Errorf("publish layer %s: %w", name, plainer(err))
	}
	d.layers = append(d.layers, &lambda.DeleteLayerVersionInput{LayerName: &name, VersionNumber: aws.Int64(v.Version)})
	fmt.Fprintf(d.details, "  published %s\n", aws.ToString(v.LayerVersionArn))
	return aws.ToString(v.LayerVersionArn), nil
}

// toldAtMost is how long the demonstration waits for what the extension writes into the log.
const toldAtMost = 30 * time.Second

// listen reads out of the function's log what the extension beside it heard of the platform: all of an Init and an
// invocation. It hears of the first invocation's report when the second thaws the environment.
func (d *demonstration) listen(ctx context.Context, name, identifier string) error {
	const mark = "[telemetry] "
	ctx, cancel := context.WithTimeout(ctx, toldAtMost)
	defer cancel()
	st := step{Function: name, Runtime: identifier, Step: "telemetry, in the log"}
	began := time.Now()
	for e, err := range d.server.Logs(ctx, admin.LogQuery{Query: logstore.Query{Group: "/aws/lambda/" + name}, Follow: true}) {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: nothing was logged", st.Step)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", st.Step, err)
		}
		_, event, ok := strings.Cut(strings.TrimSpace(e.Message), mark)
		if !ok {
			continue
		}
		fmt.Fprintf(d.details, "    | %s\n", visible(event))
		kind, _, _ := strings.Cut(event, " ")
		st.Told = append(st.Told, kind)
		if kind == "platform.report" {
			break
		}
	}
	if n := len(st.Told); n == 0 || st.Told[n-1] != "platform.report" {
		return fmt.Errorf("%s: the extension wrote no platform.report within %v", st.Step, toldAtMost)
	}
	st.ReadBy = "thaw logs"
	if told, err := d.tail(ctx, "/aws/lambda/"+name, mark); err == nil {
		st.ReadBy, st.Told = "aws logs tail", told
	} else if ctx.Err() == nil {
		fmt.Fprintf(d.app.words, "aws          aws logs tail is left out: %v\n", err)
	}
	st.ClientMs = milliseconds(time.Since(began))
	st.Answer = fmt.Sprintf("%s: %d events, %s to %s", st.ReadBy, len(st.Told), st.Told[0], st.Told[len(st.Told)-1])
	d.steps = append(d.steps, st)
	return nil
}

// awsPrograms are where AWS's command line is looked for. Version 1 has no logs tail.
var awsPrograms = []string{"aws", "/usr/bin/aws"}

// tail reads a log group by AWS's command line, and returns the first word of what stands behind the mark in each line.
func (d *demonstration) tail(ctx context.Context, group, mark string) (words []string, err error) {
	program := ""
	for _, p := range awsPrograms {
		if out, err := exec.CommandContext(ctx, p, "--version").CombinedOutput(); err == nil && strings.HasPrefix(string(out), "aws-cli/") && !strings.HasPrefix(string(out), "aws-cli/1.") {
			program = p
			break
		}
	}
	if program == "" {
		return nil, errors.New("AWS's command line, version 2, is not here")
	}
	cmd := exec.CommandContext(ctx, program, "--endpoint-url", d.endpoint, "logs", "tail", group, "--since", "1h", "--format", "short")
	cmd.Env = d.awsEnv
	out, err := cmd.Output()
	if err != nil {
		if exit := new(exec.ExitError); errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return nil, err
	}
	for line := range strings.Lines(string(out)) {
		if _, event, ok := strings.Cut(strings.TrimSpace(line), mark); ok {
			word, _, _ := strings.Cut(event, " ")
			words = append(words, word)
		}
	}
	if len(words) == 0 {
		return nil, fmt.Errorf("%s has no line with %q", group, mark)
	}
	return words, nil
}

// awsEnvironment is ours with these keys, and without what the user has set up for AWS's clients.
func awsEnvironment(id, secret string) []string {
	vars := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	return append(vars, "AWS_DEFAULT_REGION="+region(), "AWS_ACCESS_KEY_ID="+id, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_PAGER=",
		"AWS_CONFIG_FILE="+os.DevNull, "AWS_SHARED_CREDENTIALS_FILE="+os.DevNull, "NO_PROXY=*")
}
