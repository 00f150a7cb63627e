package main

import (
	"context"
	_ "embed"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

//go:embed extension/main.go
var extensionSource []byte

// measureExtensions compares warm invokes of functions that differ in their extensions alone, in turns.
func measureExtensions(ctx context.Context, o options, s *server) ([]result, error) {
	rivals := []rival{{name: "bare"}, {name: "two"}, {name: "heard"}}
	for i, names := range [][]string{nil, {"first", "second"}, {"telemetry"}} {
		if err := s.extended(ctx, rivals[i].name, names...); err != nil {
			return nil, err
		}
		rivals[i].ask = func(ctx context.Context) ([]byte, error) {
			return s.prepare(ctx, rivals[i].name, "", []byte(smallEvent), false)
		}
	}
	if err := s.compare(ctx, o, rivals); err != nil {
		return nil, err
	}
	aim := 0.15
	if s.kind == "gvisor" {
		aim = 0.4
	}
	return []result{
		{what: "Node echo, p50", value: median(rivals[0].p50s), unit: "ms"},
		{what: "two extensions with INVOKE add", value: rivals[1].adds(rivals[0]), unit: "ms", aim: aim},
		{what: "with a subscriber to telemetry : without", value: rivals[2].ratio(rivals[0]), aim: 1.05},
	}, nil
}

// extended makes the echo of the tables with a layer of extensions.
func (s *server) extended(ctx context.Context, name string, extensions ...string) error {
	rt, err := hostNode(ctx)
	if err != nil {
		return err
	}
	layer, err := s.layerOf(ctx, name, extensions...)
	if err != nil {
		return err
	}
	return s.createFrom(ctx, name, rt, "index.handler", map[string][]byte{"index.js": []byte(nodeEcho)}, func(in *lambda.CreateFunctionInput) { in.Layers = layer })
}

// layerOf publishes a layer whose extensions are the same program under several names.
func (s *server) layerOf(ctx context.Context, name string, extensions ...string) ([]string, error) {
	if len(extensions) == 0 {
		return nil, nil
	}
	program, err := compiled(ctx, extensionSource)
	if err != nil {
		return nil, fmt.Errorf("extension: %w", err)
	}
	files := map[string][]byte{}
	for _, e := range extensions {
		files["extensions/"+e] = program
	}
	pkg, err := packageOf(files)
	if err != nil {
		return nil, err
	}
	out, err := s.client.PublishLayerVersion(ctx, &lambda.PublishLayerVersionInput{LayerName: aws.String("layer-of-" + name), Content: &types.LayerVersionContentInput{ZipFile: pkg}})
	if err != nil {
		return nil, err
	}
	return []string{aws.ToString(out.LayerVersionArn)}, nil
}

// measureExtensionRestore restores two versions in turns, of which one has an extension.
func measureExtensionRestore(ctx context.Context, o options, s *server) ([]result, error) {
	var took [2][]float64
	var versions [2]published
	for i, f := range []subject{nodeHello, extendedHello} {
		if f.extension != "" {
			layer, err := s.layerOf(ctx, f.name(), f.extension)
			if err != nil {
				return nil, err
			}
			f.layers = layer
		}
		p, err := s.makeAndPublish(ctx, f)
		if err != nil {
			return nil, err
		}
		versions[i] = p
	}
	before, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	for round := range o.rounds + 1 {
		for i, p := range versions {
			if err := s.gone(ctx, p); err != nil {
				return nil, err
			}
			a, err := s.once(ctx, p, smallEvent)
			if err != nil {
				return nil, err
			}
			if round > 0 { // the first restores of a server
				took[i] = append(took[i], ms(a.took))
			}
		}
	}
	now, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	if n := now[fallbacks] - before[fallbacks]; n > 0 {
		return nil, fmt.Errorf("%.0f restores became an Init", n)
	}
	return []result{
		{what: "Node hello, first answer of a restore", value: median(took[0]), unit: "ms"},
		{what: "one extension adds", value: median(took[1]) - median(took[0]), unit: "ms", aim: 15},
	}, nil
}
