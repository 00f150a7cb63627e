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
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"

	"thaw/admin"
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

// client is an AWS client for the target, and for one function. The region is the one that is asked for, else that of the
// function's ARN; where nobody names one, it is the function's own.
// The key is a configured one when the configuration tells it, else that of AWS's own variables.
func (a *app) client(cmd *cobra.Command, t target, function string) (*lambda.Client, error) {
	s, err := a.reach(cmd, t)
	if err != nil {
		return nil, err
	}
	return s.api(cmd.Context(), t, function)
}

// api is a client of the server that was found.
func (s found) api(ctx context.Context, t target, function string) (*lambda.Client, error) {
	if t.region == "" {
		_, t.region = nameOf(function)
	}
	if s.Client != nil && t.region == "" && !regionIsSet() {
		t.region = s.regionOf(ctx, function)
	}
	key, err := s.signer(ctx)
	if err != nil {
		return nil, err
	}
	return newClient(s.endpoint, cmp.Or(t.region, region()), key, s.transport(ctx)), nil
}

// signer is what requests to a server are signed with. On this host a server that wants signatures, and was given no key by
// its configuration, gives credentials of its own for an hour.
func (s found) signer(ctx context.Context) (aws.Credentials, error) {
	if keys, err := s.config.Keys(); err == nil && len(keys) == 0 && s.Client != nil && s.closed == nil {
		if h, err := s.Health(ctx); err == nil && h.Signed {
			t, err := s.Session(ctx)
			return aws.Credentials{AccessKeyID: t.AccessKeyID, SecretAccessKey: t.SecretAccessKey, SessionToken: t.SessionToken}, err
		}
	}
	id, secret, err := accessKey(s.config)
	return aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: os.Getenv("AWS_SESSION_TOKEN")}, err
}

// reach finds the server of a target. One that is named by its URL has no admin socket here.
func (a *app) reach(cmd *cobra.Command, t target) (s found, err error) {
	if s.endpoint = cmp.Or(t.endpoint, os.Getenv("THAW_ENDPOINT")); s.endpoint == "" {
		if s, err = a.find(cmd); err != nil {
			return s, fmt.Errorf("%w, or give --endpoint URL", err)
		}
	} else if s.config, err = a.settings(cmd); err != nil {
		return s, err
	}
	if u, err := url.Parse(s.endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return s, misuse{fmt.Errorf("endpoint %q is no URL such as http://127.0.0.1:9600", s.endpoint)}
	}
	return s, nil
}

func regionIsSet() bool {
	return os.Getenv("AWS_REGION") != "" || os.Getenv("AWS_DEFAULT_REGION") != ""
}

// regionOf is the region of the only function of that name; empty when there is none, or more than one.
func (s found) regionOf(ctx context.Context, function string) (region string) {
	name, _ := nameOf(function)
	list, err := s.Functions(ctx)
	if err != nil {
		return ""
	}
	for _, f := range list {
		switch {
		case f.Name != name:
		case region != "":
			return ""
		default:
			region = f.Region
		}
	}
	return region
}

// nameOf is the function's name in NAME, NAME:QUALIFIER or an ARN, and its region where that is told.
func nameOf(function string) (name, region string) {
	if part := strings.Split(function, ":"); part[0] == "arn" && len(part) >= 7 {
		return part[6], part[3]
	}
	name, _, _ = strings.Cut(function, ":")
	return name, ""
}

// noFunction says that there is no such function on the server, and which one may have been meant; nil when there is,
// or when the server cannot be asked.
func noFunction(ctx context.Context, server *admin.Client, function string) error {
	name, _ := nameOf(function)
	list, err := server.Functions(ctx)
	if err != nil {
		return nil //nolint:nilerr // what was to be said about the function is said without it
	}
	near, least := "", 4
	for _, f := range list {
		if f.Name == name {
			return nil
		}
		if d := distance(f.Name, name); d < least {
			near, least = f.Name, d
		}
	}
	if near != "" {
		return fmt.Errorf("there is no function %s; did you mean %s?", name, near)
	}
	return fmt.Errorf("there is no function %s; type: thaw ls", name)
}

// distance counts the letters that must be put in, taken out or changed to make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

func region() string {
	return cmp.Or(os.Getenv("AWS_REGION"), os.Getenv("AWS_DEFAULT_REGION"), "us-east-1")
}

// newClient makes a client that asks once and waits as long as a function may run.
func newClient(endpoint, region string, key aws.Credentials, through aws.HTTPClient) *lambda.Client {
	return lambda.New(lambda.Options{
		BaseEndpoint: &endpoint,
		Region:       region,
		Credentials:  credentials.StaticCredentialsProvider{Value: key},
		Retryer:      aws.NopRetryer{},
		HTTPClient:   wholebody.Client(through),
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
