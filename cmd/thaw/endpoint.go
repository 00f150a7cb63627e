package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"

	"thaw/internal/wholebody"
	"thaw/node"
)

// target is where a command's API calls go.
type target struct {
	endpoint string
	region   string
}

func (t *target) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&t.endpoint, "endpoint", "", "URL of the Lambda API (default THAW_ENDPOINT, or what the server of the data folder says)")
	cmd.Flags().StringVar(&t.region, "region", "", "region of the function (default AWS_REGION, AWS_DEFAULT_REGION, us-east-1)")
}

// client is an AWS client for the target. The key is a configured one when the configuration tells it, else that of AWS's own variables.
func (a *app) client(cmd *cobra.Command, t target) (*lambda.Client, error) {
	server, c, err := a.server(cmd)
	if err != nil {
		return nil, err
	}
	endpoint := cmp.Or(t.endpoint, os.Getenv("THAW_ENDPOINT"))
	if endpoint == "" {
		health, err := server.Health(cmd.Context())
		if err != nil {
			return nil, fmt.Errorf("%w, or give --endpoint URL", err)
		}
		endpoint = health.Endpoint
	}
	if u, err := url.Parse(endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, misuse{fmt.Errorf("endpoint %q is no URL such as http://127.0.0.1:9600", endpoint)}
	}
	id, secret, err := accessKey(c)
	if err != nil {
		return nil, err
	}
	return newClient(endpoint, cmp.Or(t.region, region()), id, secret), nil
}

func region() string {
	return cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), "us-east-1")
}

// newClient makes a client that asks once and waits as long as a function may run.
func newClient(endpoint, region, id, secret string) *lambda.Client {
	return lambda.New(lambda.Options{
		BaseEndpoint: &endpoint,
		Region:       region,
		Credentials:  credentials.NewStaticCredentialsProvider(id, secret, os.Getenv("AWS_SESSION_TOKEN")),
		Retryer:      aws.NopRetryer{},
		HTTPClient:   wholebody.Client(nil),
	})
}

// accessKey is the first configured key, else AWS's variables, else a made-up one: a server without credentials takes any.
func accessKey(c node.Config) (id, secret string, err error) {
	keys, err := c.Keys()
	if err != nil {
		return "", "", err
	}
	if c.AccessKeyID != "" {
		return c.AccessKeyID, c.SecretAccessKey, nil
	}
	for _, id := range slices.Sorted(maps.Keys(keys)) {
		return id, keys[id], nil
	}
	return cmp.Or(os.Getenv("AWS_ACCESS_KEY_ID"), "thaw"), cmp.Or(os.Getenv("AWS_SECRET_ACCESS_KEY"), "thaw"), nil
}

// interrupted tells an end by Ctrl-C from a failure.
func interrupted(ctx context.Context, err error) bool {
	return ctx.Err() != nil && errors.Is(err, context.Canceled)
}
