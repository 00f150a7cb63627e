package api_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

func TestVersions(t *testing.T) { // C-053 to C-059
	w := newWorld(t)
	ctx := t.Context()
	created := w.create("orders", func(in *lambda.CreateFunctionInput) { in.Description = aws.String("d") })
	_, err := w.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: aws.String("orders")})
	wantError(t, err, "ResourceConflictException", "The operation cannot be performed at this time. An update is in progress for resource: "+ordersARN)
	revision := *w.active("orders").Configuration.RevisionId
	publish := func(edit func(*lambda.PublishVersionInput)) (*lambda.PublishVersionOutput, error) {
		in := &lambda.PublishVersionInput{FunctionName: aws.String("orders")}
		edit(in)
		return w.client.PublishVersion(ctx, in)
	}
	_, err = publish(func(in *lambda.PublishVersionInput) { in.CodeSha256 = aws.String("wrong") })
	wantError(t, err, "InvalidParameterValueException", "CodeSHA256 (wrong) is different from current CodeSHA256 in $LATEST ("+*created.CodeSha256+"). Please try again with the CodeSHA256 in $LATEST.") // C-056
	_, err = publish(func(in *lambda.PublishVersionInput) { in.RevisionId = created.RevisionId })
	wantError(t, err, "PreconditionFailedException", "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id")

	epoch := w.epoch("orders")
	one, err := publish(func(in *lambda.PublishVersionInput) {
		in.Description, in.RevisionId, in.CodeSha256 = aws.String("first"), &revision, created.CodeSha256
	})
	if err != nil || *one.Version != "1" || *one.FunctionArn != ordersARN+":1" || *one.Description != "first" || one.State != types.StateActive {
		t.Fatalf("first: %+v, %v", one, err) // C-053
	}
	if got := w.epoch("orders"); got != epoch {
		t.Errorf("publishing changed the epoch of $LATEST from %d to %d", epoch, got)
	}
	again, err := publish(func(in *lambda.PublishVersionInput) { in.Description = aws.String("second") })
	if err != nil || *again.Version != "1" || *again.Description != "first" || *again.RevisionId != *one.RevisionId {
		t.Errorf("without a change: %+v, %v", again, err) // C-054
	}
	change := func(description string) {
		t.Helper()
		if _, err := w.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("orders"), Description: &description}); err != nil {
			t.Fatal(err)
		}
		w.updated("orders")
	}
	change("changed")
	if two, err := publish(func(*lambda.PublishVersionInput) {}); err != nil || *two.Version != "2" || *two.Description != "changed" {
		t.Errorf("after a change of configuration: %+v, %v", two, err) // C-055
	}
	if _, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("orders"), Qualifier: aws.String("2")}); err != nil {
		t.Error(err)
	}
	if _, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("orders"), Qualifier: aws.String("2")}); err != nil {
		t.Errorf("a version that is gone: %v", err)
	}
	change("third")
	if three, err := publish(func(*lambda.PublishVersionInput) {}); err != nil || *three.Version != "3" {
		t.Errorf("after a deletion: %+v, %v", three, err) // C-059
	}
	list, err := w.client.ListVersionsByFunction(ctx, &lambda.ListVersionsByFunctionInput{FunctionName: aws.String("orders"), MaxItems: aws.Int32(10000)}) // C-058
	if err != nil {
		t.Fatal(err)
	}
	var arns []string
	for _, v := range list.Versions {
		arns = append(arns, *v.FunctionArn)
		if v.State != "" || v.LastUpdateStatus != "" || v.RuntimeVersionConfig != nil {
			t.Errorf("listed with states: %+v", v)
		}
	}
	if want := []string{ordersARN + ":$LATEST", ordersARN + ":1", ordersARN + ":3"}; !slices.Equal(arns, want) { // C-057
		t.Errorf("versions %v, want %v", arns, want)
	}
	for qualifier, message := range map[string]string{
		"$LATEST": "$LATEST version cannot be deleted without deleting the function.", "live": "Deletion of aliases is not currently supported.",
	} { // C-049
		_, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("orders"), Qualifier: &qualifier})
		wantError(t, err, "InvalidParameterValueException", message)
	}
	_, err = w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("missing"), Qualifier: aws.String("1")})
	wantError(t, err, "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:missing")
}

func TestListFunctionsByPages(t *testing.T) { // C-046, C-047, C-138
	w := newWorld(t)
	ctx := t.Context()
	const n = 55
	for i := range n {
		w.create(fmt.Sprintf("f%02d", i), func(in *lambda.CreateFunctionInput) { in.Publish = i%2 == 0 })
	}
	page := func(marker *string, all bool, size int32) *lambda.ListFunctionsOutput {
		t.Helper()
		in := &lambda.ListFunctionsInput{Marker: marker, MaxItems: &size}
		if all {
			in.FunctionVersion = types.FunctionVersionAll
		}
		out, err := w.client.ListFunctions(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	first := page(nil, false, 10000)
	if len(first.Functions) != 50 || first.NextMarker == nil {
		t.Fatalf("first page has %d functions", len(first.Functions)) // C-047
	}
	f := first.Functions[0]
	if *f.FunctionArn != "arn:aws:lambda:eu-west-1:000000000000:function:f00" || f.State != "" || f.LastUpdateStatus != "" || f.RuntimeVersionConfig != nil {
		t.Errorf("listed: %+v", f) // C-046
	}
	for _, name := range []string{"f49", "f50"} { // the last of the page and the first of the next: C-138
		if _, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name}); err != nil {
			t.Fatal(err)
		}
	}
	second := page(first.NextMarker, false, 50)
	if len(second.Functions) != 4 || *second.Functions[0].FunctionName != "f51" || second.NextMarker != nil {
		t.Errorf("second page has %d functions", len(second.Functions))
	}
	var all []string
	var marker *string
	for {
		p := page(marker, true, 7)
		for _, f := range p.Functions {
			all = append(all, strings.TrimPrefix(*f.FunctionArn, "arn:aws:lambda:eu-west-1:000000000000:function:"))
		}
		if marker = p.NextMarker; marker == nil {
			break
		}
	}
	if !slices.Equal(all[:3], []string{"f00:$LATEST", "f00:1", "f01:$LATEST"}) || len(all) != 53+27 {
		t.Errorf("%d versions: %v", len(all), all)
	}
	out, err := w.client.GetAccountSettings(ctx, &lambda.GetAccountSettingsInput{})
	if err != nil || out.AccountUsage.FunctionCount != 53 {
		t.Errorf("account settings: %+v, %v", out, err)
	}
	if _, err := w.client.ListFunctions(ctx, &lambda.ListFunctionsInput{Marker: aws.String("?")}); err == nil {
		t.Error("a broken marker was taken")
	}
}
