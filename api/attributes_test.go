package api_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"
)

func TestConcurrency(t *testing.T) { // C-102, C-103, C-104, C-110
	w := newWorld(t)
	ctx := t.Context()
	w.create("orders")
	w.create("other")
	w.active("orders")
	put := func(name string, n int32) error {
		_, err := w.client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: &name, ReservedConcurrentExecutions: &n})
		return err
	}
	get := func() *int32 {
		t.Helper()
		out, err := w.client.GetFunctionConcurrency(ctx, &lambda.GetFunctionConcurrencyInput{FunctionName: aws.String("orders")})
		if err != nil {
			t.Fatal(err)
		}
		return out.ReservedConcurrentExecutions
	}
	before := *w.active("orders").Configuration.RevisionId
	w.epoch("orders")
	if l := w.runner.last(t).Limits; l.Reserved != -1 || l.Unreserved != 1000 {
		t.Errorf("limits %+v", l)
	}
	for _, n := range []int32{0, 1, 900} { // C-102
		if err := put("orders", n); err != nil || *get() != n {
			t.Errorf("reserving %d: %v", n, err)
		}
	}
	const tooMuch = "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100]."
	wantError(t, put("orders", 901), "InvalidParameterValueException", tooMuch) // C-103
	wantError(t, put("other", 1), "InvalidParameterValueException", tooMuch)
	wantError(t, put("orders:1", 1), "InvalidParameterValueException", "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please specify either a function name or an unqualified function ARN.") // C-104
	wantError(t, put("missing", 5000), "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:missing:$LATEST")
	if err := put("orders", 5); err != nil {
		t.Error(err)
	}
	w.epoch("orders")
	if l := w.runner.last(t).Limits; l.Reserved != 5 || l.Unreserved != 995 {
		t.Errorf("limits %+v", l)
	}
	if s, err := w.client.GetAccountSettings(ctx, &lambda.GetAccountSettingsInput{}); err != nil || s.AccountLimit.ConcurrentExecutions != 1000 || *s.AccountLimit.UnreservedConcurrentExecutions != 995 || s.AccountUsage.TotalCodeSize == 0 {
		t.Errorf("account settings: %+v, %v", s, err) // C-110
	}
	if got := w.active("orders"); got.Concurrency == nil || *got.Concurrency.ReservedConcurrentExecutions != 5 || *got.Configuration.RevisionId != before { // C-045
		t.Errorf("GetFunction: %+v", got.Concurrency)
	}
	if _, err := w.client.DeleteFunctionConcurrency(ctx, &lambda.DeleteFunctionConcurrencyInput{FunctionName: aws.String("orders")}); err != nil || get() != nil {
		t.Errorf("delete: %v", err)
	}
	if _, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("orders")}); err != nil {
		t.Error(err)
	}
}

func TestTags(t *testing.T) { // C-006, C-045, C-120
	w := newWorld(t)
	ctx := t.Context()
	w.create("orders")
	tag := func(arn string, tags map[string]string) error {
		_, err := w.client.TagResource(ctx, &lambda.TagResourceInput{Resource: &arn, Tags: tags})
		return err
	}
	list := func() map[string]string {
		t.Helper()
		out, err := w.client.ListTags(ctx, &lambda.ListTagsInput{Resource: aws.String(ordersARN)})
		if err != nil {
			t.Fatal(err)
		}
		return out.Tags
	}
	if got := list(); got == nil || len(got) != 0 {
		t.Errorf("tags at first: %v", got)
	}
	if err := tag(ordersARN, map[string]string{"a": "1", "b c": "ä", "d": "3"}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.UntagResource(ctx, &lambda.UntagResourceInput{Resource: aws.String(ordersARN), TagKeys: []string{"a", "b c", "unknown"}}); err != nil {
		t.Error(err)
	}
	if got := list(); len(got) != 1 || got["d"] != "3" {
		t.Errorf("tags: %v", got)
	}
	many := map[string]string{}
	for i := range 50 {
		many[fmt.Sprint(i)] = ""
	}
	const invalid = "InvalidParameterValueException"
	wantError(t, tag(ordersARN, many), invalid, "Number of tags exceeds resource tag limit.")
	wantError(t, tag(ordersARN, map[string]string{}), invalid, "An error occurred and the request cannot be processed.")
	wantError(t, tag(ordersARN+":1", map[string]string{"a": ""}), invalid, "Tags on function aliases and versions are not supported. Please specify a function ARN.")
	wantError(t, tag("arn:aws:lambda:eu-west-1:000000000000:function:missing", map[string]string{"a": ""}), "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:missing")
	wantError(t, tag("arn:aws:lambda:eu-west-1:000000000000:event-source-mapping:00000000-0000-0000-0000-000000000000", map[string]string{"a": ""}), "ResourceNotFoundException", "Event source mapping not found: arn:aws:lambda:eu-west-1:000000000000:event-source-mapping:00000000-0000-0000-0000-000000000000")
	var ae smithy.APIError
	if err := tag("orders", map[string]string{"a": ""}); !errors.As(err, &ae) || ae.ErrorCode() != "ValidationException" || !strings.Contains(ae.ErrorMessage(), "Value 'orders' at 'resource'") {
		t.Errorf("no ARN: %v", err)
	}
	if got := list(); len(got) != 1 {
		t.Errorf("refused tags were written: %v", got)
	}
}

func TestSmallConfigurations(t *testing.T) { // C-124, C-126
	w := newWorld(t)
	ctx := t.Context()
	w.create("orders")
	if got := w.do("GET", "/2020-06-30/functions/orders/code-signing-config", ""); got.status != 200 || got.body != "{}" {
		t.Errorf("code signing: %d %s", got.status, got.body)
	}
	get := func() types.RecursiveLoop {
		t.Helper()
		out, err := w.client.GetFunctionRecursionConfig(ctx, &lambda.GetFunctionRecursionConfigInput{FunctionName: aws.String("orders")})
		if err != nil {
			t.Fatal(err)
		}
		return out.RecursiveLoop
	}
	if got := get(); got != types.RecursiveLoopTerminate {
		t.Errorf("recursion: %s", got)
	}
	_, err := w.client.PutFunctionRecursionConfig(ctx, &lambda.PutFunctionRecursionConfigInput{FunctionName: aws.String("orders"), RecursiveLoop: "InvalidValue"})
	wantError(t, err, "ValidationException", "1 validation error detected: Value 'InvalidValue' at 'recursiveLoop' failed to satisfy constraint: Member must satisfy enum value set: [Terminate, Allow]")
	if _, err := w.client.PutFunctionRecursionConfig(ctx, &lambda.PutFunctionRecursionConfigInput{FunctionName: aws.String("orders"), RecursiveLoop: types.RecursiveLoopAllow}); err != nil || get() != types.RecursiveLoopAllow {
		t.Errorf("recursion: %v", err)
	}
}
