package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// measureControlPlane counts reads, and what an alias and a function URL add to a warm invoke of the same version.
func measureControlPlane(ctx context.Context, o options, s *server) ([]result, error) {
	const name, alias = "plain", "live"
	rt, err := hostNode(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.create(ctx, name, rt, "index.handler", "index.js", []byte(`exports.handler = async () => ({ statusCode: 200, body: '{}' });`)); err != nil {
		return nil, err
	}
	v, err := s.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: aws.String(name)})
	if err != nil {
		return nil, err
	}
	version := aws.ToString(v.Version)
	if _, err := s.client.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: aws.String(name), Name: aws.String(alias), FunctionVersion: &version}); err != nil {
		return nil, err
	}
	at, err := s.openURL(ctx, name, alias)
	if err != nil {
		return nil, err
	}
	invoke := func(qualifier string) func(context.Context) ([]byte, error) {
		return func(ctx context.Context) ([]byte, error) {
			return s.prepare(ctx, name, qualifier, []byte(smallEvent), false)
		}
	}
	rivals := []rival{{name: "version", ask: invoke(version)}, {name: "alias", ask: invoke(alias)}, {name: "URL", ask: func(context.Context) ([]byte, error) { return s.post(at) }}}
	if err := s.compare(ctx, o, rivals); err != nil {
		return nil, err
	}
	out := []result{
		{what: "Node, a version, p50", value: median(rivals[0].p50s), unit: "ms"},
		{what: "an alias adds", value: rivals[1].adds(rivals[0]), unit: "ms", aim: 0.05},
		{what: "a function URL of the alias adds", value: rivals[2].adds(rivals[0]), unit: "ms", aim: 0.05},
	}
	for _, c := range []struct{ what, path string }{{"GetFunctionConfiguration", "/configuration"}, {"GetFunction", ""}, {"GetAlias", "/aliases/" + alias}} {
		rate, err := s.reads(ctx, o, "/2015-03-31/functions/"+name+c.path)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.what, err)
		}
		out = append(out, result{what: c.what + ", 16 connections", value: rate, unit: "reads/s", aim: 5000, atLeast: true})
	}
	return out, nil
}

// reads is how often a path can be read in a second, over 16 connections.
func (s *server) reads(ctx context.Context, o options, path string) (float64, error) {
	var rates []float64
	for range o.rounds {
		raw, err := s.get(ctx, path)
		if err != nil {
			return 0, err
		}
		n, took, err := s.flood(ctx, raw, 16, o.burst)
		if err != nil {
			return 0, err
		}
		rates = append(rates, float64(n)/took.Seconds())
	}
	return median(rates), nil
}

// get signs a read.
func (s *server) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.host+path, nil)
	if err != nil {
		return nil, err
	}
	empty := sha256.Sum256(nil)
	err = v4.NewSigner().SignHTTP(ctx, aws.Credentials{AccessKeyID: keyID, SecretAccessKey: keySecret}, req, hex.EncodeToString(empty[:]), "lambda", region, time.Now())
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	var raw bytes.Buffer
	err = req.Write(&raw)
	return raw.Bytes(), err
}

// openURL gives an alias a URL that everybody may call.
func (s *server) openURL(ctx context.Context, name, alias string) (*url.URL, error) {
	made, err := s.client.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: &name, Qualifier: &alias, AuthType: types.FunctionUrlAuthTypeNone})
	if err != nil {
		return nil, err
	}
	_, err = s.client.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: &name, Qualifier: &alias, StatementId: aws.String("url"), Principal: aws.String("*"),
		Action: aws.String("lambda:InvokeFunctionUrl"), FunctionUrlAuthType: types.FunctionUrlAuthTypeNone})
	if err != nil {
		return nil, err
	}
	return url.Parse(aws.ToString(made.FunctionUrl))
}

// post is the same small event, sent to a function URL.
func (s *server) post(at *url.URL) ([]byte, error) {
	req, err := http.NewRequest(http.MethodPost, at.String(), strings.NewReader(smallEvent))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "thaw-bench")
	var raw bytes.Buffer
	err = req.Write(&raw)
	return raw.Bytes(), err
}
