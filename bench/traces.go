package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// measureTraces compares, in turns, warm invokes that a server records and sends to a collector with such that it does not.
// The server is one of its own: the others have nobody to send to.
func measureTraces(ctx context.Context, o options, s *server) (results []result, err error) {
	if !knows(ctx, o.thaw, "--otlp-endpoint") {
		return nil, nil
	}
	var requests atomic.Int64
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) //nolint:errcheck // what counts is that it came
		requests.Add(1)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer collector.Close()
	t, err := start(ctx, o.thaw, o.parts, s.kind, nil, "--otlp-endpoint", collector.URL)
	if err != nil {
		return nil, fmt.Errorf("server with a collector: %w", err)
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	rt, err := hostNode(ctx)
	if err != nil {
		return nil, err
	}
	rivals := []rival{{name: "plain"}, {name: "recorded"}}
	for i, mode := range []types.TracingMode{types.TracingModePassThrough, types.TracingModeActive} {
		name := rivals[i].name
		files := map[string][]byte{"index.js": []byte(nodeEcho)}
		if err := t.createFrom(ctx, name, rt, "index.handler", files, func(in *lambda.CreateFunctionInput) { in.TracingConfig = &types.TracingConfig{Mode: mode} }); err != nil {
			return nil, err
		}
		header := fmt.Sprintf("Root=1-%08x-000000000000000000000001;Parent=0000000000000001;Sampled=1", time.Now().Unix())
		rivals[i].ask = func(ctx context.Context) ([]byte, error) {
			return t.prepare(ctx, name, "", []byte(smallEvent), false, "X-Amzn-Trace-Id", header)
		}
	}
	if err := t.compare(ctx, o, rivals); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); requests.Load() == 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			return nil, errors.New("no span reached the collector")
		}
	}
	return []result{
		{what: "Node echo, p50", value: median(rivals[0].p50s), unit: "ms"},
		{what: "recorded and sent to a collector adds", value: rivals[1].adds(rivals[0]), unit: "ms", aim: 0.1},
	}, nil
}
