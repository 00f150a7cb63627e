package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	st.ClientMs, st.Answer = milliseconds(time.Since(began)), fmt.Sprintf("%d events, %s to %s", len(st.Told), st.Told[0], st.Told[len(st.Told)-1])
	d.steps = append(d.steps, st)
	return nil
}
