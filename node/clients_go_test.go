package node

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// deployedAs is the shop under a name of its own.
type deployedAs struct {
	*server
	name string
}

// created is a function that the SDK's waiter has seen active.
type created struct {
	*deployedAs
	arn string
}

func (d *deployedAs) create(t *testing.T) *created {
	t.Helper()
	out, err := d.client.CreateFunction(t.Context(), &lambda.CreateFunctionInput{FunctionName: &d.name, Runtime: types.Runtime(nodejs(t, d.server)), Handler: aws.String("index.handler"),
		Role: aws.String("arn:aws:iam::000000000000:role/any"), Code: &types.FunctionCode{ZipFile: shop(t)}})
	if err != nil {
		t.Fatal(err)
	}
	if err := lambda.NewFunctionActiveV2Waiter(d.client).Wait(t.Context(), &lambda.GetFunctionInput{FunctionName: &d.name}, time.Minute); err != nil {
		t.Fatal(err)
	}
	return &created{d, *out.FunctionArn}
}

func (c *created) delete(t *testing.T) {
	t.Helper()
	if _, err := c.client.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: &c.name}); err != nil {
		t.Fatal(err)
	}
	_, err := c.client.GetFunction(t.Context(), &lambda.GetFunctionInput{FunctionName: &c.name})
	if !errors.As(err, new(*types.ResourceNotFoundException)) {
		t.Errorf("GetFunction of what was deleted: %v", err)
	}
}

// C-087, C-135: AWS's SDK for Go with its waiters and paginators.
func TestClientGo(t *testing.T) {
	t.Parallel()
	s, _ := forClients(t)
	ctx, name := t.Context(), "go-shop"
	f := (&deployedAs{s, name}).create(t)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(s.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, MemorySize: aws.Int32(192)}))
	must(nil, lambda.NewFunctionUpdatedV2Waiter(s.client).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, time.Minute))
	must(nil, lambda.NewFunctionUpdatedWaiter(s.client).Wait(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name}, time.Minute))
	must(nil, lambda.NewFunctionExistsWaiter(s.client).Wait(ctx, &lambda.GetFunctionInput{FunctionName: &name}, time.Minute))
	must(s.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name}))
	must(nil, lambda.NewPublishedVersionActiveWaiter(s.client).Wait(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name, Qualifier: aws.String("1")}, time.Minute))
	for _, alias := range []string{"blue", "green", "live"} {
		must(s.client.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: &name, Name: &alias, FunctionVersion: aws.String("1")}))
	}
	var aliases []string
	for p := lambda.NewListAliasesPaginator(s.client, &lambda.ListAliasesInput{FunctionName: &name, MaxItems: aws.Int32(2)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		must(nil, err)
		if len(page.Aliases) > 2 {
			t.Errorf("a page of %d", len(page.Aliases))
		}
		for _, a := range page.Aliases {
			aliases = append(aliases, *a.Name)
		}
	}
	if !slices.Equal(aliases, []string{"blue", "green", "live"}) {
		t.Errorf("aliases %q", aliases)
	}
	out, err := s.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &f.arn, Qualifier: aws.String("live"), Payload: []byte(`{"name":"you"}`)})
	if must(nil, err); string(out.Payload) != `{"hello":"you","version":"1"}` || *out.ExecutedVersion != "1" {
		t.Errorf("it answers %s by version %s", out.Payload, *out.ExecutedVersion)
	}
	stream, err := s.client.InvokeWithResponseStream(ctx, &lambda.InvokeWithResponseStreamInput{FunctionName: &name, Payload: []byte(`{"name":"stream"}`)})
	must(nil, err)
	var text []byte
	for event := range stream.GetStream().Events() {
		if chunk, is := event.(*types.InvokeWithResponseStreamResponseEventMemberPayloadChunk); is {
			text = append(text, chunk.Value.Payload...)
		}
	}
	if must(nil, stream.GetStream().Close()); string(text) != `{"hello":"stream","version":"$LATEST"}` {
		t.Errorf("the stream is %s", text)
	}
	f.delete(t)
}
