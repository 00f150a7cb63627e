package api_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const queueARN = "arn:aws:sqs:eu-west-1:000000000000:q"

// C-013, C-097, C-099: put replaces, update merges, both are kept over a restart; lists go by qualifier; a deleted version
// or alias takes its own along.
func TestEventInvokeConfig(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := context.Background()
	name := w.published("orders", 1)
	arn := "arn:aws:lambda:eu-west-1:000000000000:function:orders"
	before := time.Now().Add(-time.Second)
	put, err := w.client.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: &name, MaximumRetryAttempts: aws.Int32(0),
		DestinationConfig: &types.DestinationConfig{OnSuccess: &types.OnSuccess{Destination: aws.String(queueARN)}}})
	if err != nil || *put.FunctionArn != arn+":$LATEST" || *put.MaximumRetryAttempts != 0 || put.MaximumEventAgeInSeconds != nil || put.LastModified.Before(before) ||
		aws.ToString(put.DestinationConfig.OnSuccess.Destination) != queueARN || put.DestinationConfig.OnFailure == nil || put.DestinationConfig.OnFailure.Destination != nil {
		t.Fatalf("put: %+v, %v", put, err)
	}
	update, err := w.client.UpdateFunctionEventInvokeConfig(ctx, &lambda.UpdateFunctionEventInvokeConfigInput{FunctionName: &name, MaximumEventAgeInSeconds: aws.Int32(60)})
	if err != nil || *update.MaximumRetryAttempts != 0 || *update.MaximumEventAgeInSeconds != 60 || aws.ToString(update.DestinationConfig.OnSuccess.Destination) != queueARN {
		t.Fatalf("update: %+v, %v", update, err)
	}
	w.reopen()
	get, err := w.client.GetFunctionEventInvokeConfig(ctx, &lambda.GetFunctionEventInvokeConfigInput{FunctionName: &name, Qualifier: aws.String("$LATEST")})
	if err != nil || *get.MaximumEventAgeInSeconds != 60 || !get.LastModified.Equal(*update.LastModified) {
		t.Fatalf("get: %+v, %v", get, err)
	}
	put, err = w.client.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: &name, MaximumEventAgeInSeconds: aws.Int32(21600)})
	if err != nil || put.MaximumRetryAttempts != nil || put.DestinationConfig.OnSuccess.Destination != nil {
		t.Fatalf("a put that replaces: %+v, %v", put, err)
	}
	if _, err = w.client.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: &name, Qualifier: aws.String("1"), MaximumRetryAttempts: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: &name, Name: aws.String("live"), FunctionVersion: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	if _, err = w.client.PutFunctionEventInvokeConfig(ctx, &lambda.PutFunctionEventInvokeConfigInput{FunctionName: &name, Qualifier: aws.String("live"), MaximumRetryAttempts: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	var listed []string
	pages := lambda.NewListFunctionEventInvokeConfigsPaginator(w.client, &lambda.ListFunctionEventInvokeConfigsInput{FunctionName: &name, MaxItems: aws.Int32(1)})
	for n := 0; pages.HasMorePages(); n++ {
		page, err := pages.NextPage(ctx)
		if err != nil || len(page.FunctionEventInvokeConfigs) != 1 {
			t.Fatalf("page %d: %+v, %v", n, page, err)
		}
		listed = append(listed, strings.TrimPrefix(*page.FunctionEventInvokeConfigs[0].FunctionArn, arn))
	}
	if got := strings.Join(listed, " "); got != ":$LATEST :1 :live" {
		t.Errorf("listed %q", got)
	}
	if _, err := w.client.DeleteAlias(ctx, &lambda.DeleteAliasInput{FunctionName: &name, Name: aws.String("live")}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.DeleteFunctionEventInvokeConfig(ctx, &lambda.DeleteFunctionEventInvokeConfigInput{FunctionName: &name}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name, Qualifier: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	list, err := w.client.ListFunctionEventInvokeConfigs(ctx, &lambda.ListFunctionEventInvokeConfigsInput{FunctionName: &name})
	if err != nil || len(list.FunctionEventInvokeConfigs) > 0 {
		t.Errorf("after deletions: %+v, %v", list, err)
	}
}

// C-097, C-098: what is refused, and in which words.
func TestEventInvokeConfigErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.published("orders", 1)
	arn := "arn:aws:lambda:eu-west-1:000000000000:function:"
	path := func(name, qualifier string) string {
		return "/2019-09-25/functions/" + name + "/event-invoke-config?Qualifier=" + qualifier
	}
	success := func(to string) string { return `{"DestinationConfig":{"OnSuccess":{"Destination":"` + to + `"}}}` }
	for _, c := range []struct{ method, path, body, code, message string }{
		{"PUT", path("orders", "$LATEST"), `{}`, "InvalidParameterValueException", "You must specify at least one of error handling or destination setting."},
		{"POST", path("orders", "$LATEST"), `{}`, "InvalidParameterValueException", "You must specify at least one of error handling or destination setting."},
		{"PUT", path("orders", "$LATEST"), success(arn + "orders"), "InvalidParameterValueException", "You can't specify the function as a destination for itself."},
		{"PUT", path("orders", "$LATEST"), success(arn + "absent"), "InvalidParameterValueException", "The destination ARN " + arn + "absent is invalid."},
		{"PUT", path("orders", "$LATEST"), success("arn:aws:iam::000000000000:role/r"), "InvalidParameterValueException",
			"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination=arn:aws:iam::000000000000:role/r), onFailure=null) is invalid."},
		{"PUT", path("orders", "$LATEST"), success("arn:aws:s3:::bucket"), "InvalidParameterValueException",
			"The provided destination config DestinationConfig(onSuccess=OnSuccess(destination=arn:aws:s3:::bucket), onFailure=null) is invalid."},
		{"PUT", path("orders", "$LATEST"), success("no-arn"), "ValidationException", "1 validation error detected: Value 'no-arn' at 'destinationConfig.onSuccess.destination' failed to satisfy constraint: " +
			`Member must satisfy regular expression pattern: $|kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))|arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)`},
		{"PUT", path("orders", "$LATEST"), `{"MaximumRetryAttempts":3,"MaximumEventAgeInSeconds":59}`, "ValidationException", "2 validation errors detected: " +
			"Value '3' at 'maximumRetryAttempts' failed to satisfy constraint: Member must have value less than or equal to 2; " +
			"Value '59' at 'maximumEventAgeInSeconds' failed to satisfy constraint: Member must have value greater than or equal to 60"},
		{"POST", path("orders", "1"), `{"MaximumRetryAttempts":1}`, "ResourceNotFoundException", "The function " + arn + "orders:1 doesn't have an EventInvokeConfig"},
		{"GET", path("orders", "$LATEST"), ``, "ResourceNotFoundException", "The function " + arn + "orders:$LATEST doesn't have an EventInvokeConfig"},
		{"DELETE", path("absent", "1"), ``, "ResourceNotFoundException", "The function " + arn + "absent:1 doesn't have an EventInvokeConfig"},
		{"PUT", path("absent", "$LATEST"), `{"MaximumRetryAttempts":1}`, "ResourceNotFoundException", "The function doesn't exist."},
		{"PUT", path("orders", "2"), `{"MaximumRetryAttempts":1}`, "ResourceNotFoundException", "The function doesn't exist."},
		{"GET", "/2019-09-25/functions/absent/event-invoke-config/list", ``, "ResourceNotFoundException", "The function doesn't exist."},
	} {
		got := w.do(c.method, c.path, c.body)
		var body struct{ Message string } // letter case is ignored
		if err := json.Unmarshal([]byte(got.body), &body); err != nil || got.header.Get("X-Amzn-Errortype") != c.code || body.Message != c.message {
			t.Errorf("%s %s %s:\n got %s %s\nwant %s %q", c.method, c.path, c.body, got.header.Get("X-Amzn-Errortype"), got.body, c.code, c.message)
		}
	}
	if got := w.do("PUT", path("orders", "$LATEST"), `{"DestinationConfig":{"OnFailure":{"Destination":"arn:aws:s3:::bucket"}}}`); got.status != 200 {
		t.Errorf("a bucket for failures: %+v", got)
	}
}
