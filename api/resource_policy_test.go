package api_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/smithy-go"

	"thaw/access"
	"thaw/function"
	"thaw/iam"
)

// A whole policy takes the place of what there was, is given back as it came, decides, and can be added to and taken
// from; RevisionId guards it. Source: spec 14.3.
func TestResourcePolicies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.published("orders", 1)
	ctx := t.Context()
	name, arn := aws.String("orders"), aws.String(ordersARN)
	get := func(arn string) (policy, revision string, err error) {
		out, err := w.client.GetResourcePolicy(ctx, &lambda.GetResourcePolicyInput{ResourceArn: &arn})
		if err != nil {
			return "", "", err
		}
		return *out.Policy, *out.RevisionId, nil
	}
	_, _, err := get(ordersARN)
	wantError(t, err, "ResourceNotFoundException", "The resource you requested does not exist.")
	_, err = w.client.DeleteResourcePolicy(ctx, &lambda.DeleteResourcePolicyInput{ResourceArn: arn})
	wantError(t, err, "ResourceNotFoundException", "No policy is associated with the given resource.")

	add := func(id string) error {
		_, err := w.client.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: name, StatementId: &id, Action: aws.String("lambda:InvokeFunction"), Principal: aws.String("sns.amazonaws.com")})
		return err
	}
	if err := add("before"); err != nil {
		t.Fatal(err)
	}
	was, stale, err := get(ordersARN)
	if err != nil || !strings.Contains(was, `"Sid":"before"`) {
		t.Fatalf("of AddPermission: %s, %v", was, err)
	}
	document := `{ "Version": "2012-10-17", "Statement": {"Effect":"Allow", "Principal":{"AWS":["111122223333","444455556666"]},"Action":["lambda:InvokeFunction","lambda:GetFunction"],"Resource":"` + ordersARN + `","Condition":{"StringLike":{"aws:PrincipalOrgID":"o-*"}}} }`
	put := func(arn, policy, revision string) (*lambda.PutResourcePolicyOutput, error) {
		in := &lambda.PutResourcePolicyInput{ResourceArn: &arn, Policy: &policy}
		if revision != "" {
			in.RevisionId = &revision
		}
		return w.client.PutResourcePolicy(ctx, in)
	}
	out, err := put(ordersARN, document, stale)
	if err != nil || *out.Policy != document || *out.RevisionId == stale {
		t.Fatalf("put: %+v, %v", out, err)
	}
	_, err = put(ordersARN, document, stale)
	wantError(t, err, "PreconditionFailedException", "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id")
	if got, revision, err := get(ordersARN); got != document || revision != *out.RevisionId || err != nil {
		t.Errorf("it came back as %s, %s, %v", got, revision, err)
	}
	old, err := w.client.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: name})
	if err != nil || *old.Policy != document {
		t.Errorf("GetPolicy: %+v, %v", old, err)
	}
	may := func(account string) bool {
		e := w.server.Plane.View().Get(function.Key{Account: "000000000000", Region: region, Name: "orders"})
		in := iam.Context{}
		in.Set("aws:PrincipalOrgID", "o-1")
		who := iam.Principal{Kind: iam.Root, ARN: "arn:aws:iam::" + account + ":root", Account: account}
		return iam.Decide(who, iam.Ask{Action: "lambda:InvokeFunction", Resource: ordersARN, Context: in}, iam.Policies{Resource: access.PolicyOf(e.Record, ""), Owner: "000000000000"}).OK()
	}
	if !may("444455556666") || may("777788889999") {
		t.Error("it decides otherwise than it says")
	}
	w.reopen()
	name = aws.String("orders")
	if err := add("later"); err != nil {
		t.Fatal(err)
	}
	wantError(t, add("later"), "ResourceConflictException", "The statement id (later) provided already exists. Please provide a new statement id, or remove the existing statement.")
	got, _, err := get(ordersARN)
	if err != nil || !strings.Contains(got, `"444455556666"`) || !strings.Contains(got, `"Sid":"later"`) || !may("444455556666") {
		t.Errorf("added to: %s, %v", got, err)
	}
	_, err = w.client.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: name, StatementId: aws.String("none")})
	wantError(t, err, "ResourceNotFoundException", "Statement none is not found in resource policy.")
	if _, err := w.client.RemovePermission(ctx, &lambda.RemovePermissionInput{FunctionName: name, StatementId: aws.String("later")}); err != nil {
		t.Error(err)
	}
	if got, _, err := get(ordersARN); err != nil || strings.Contains(got, "later") {
		t.Errorf("taken from: %s, %v", got, err)
	}
	if _, err := put(ordersARN+":1", document, ""); err != nil {
		t.Errorf("of a version: %v", err)
	}
	got1 := w.do("DELETE", "/2026-07-09/resource-policy/"+strings.ReplaceAll(ordersARN, ":", "%3A"), "")
	if got1.status != http.StatusNoContent {
		t.Errorf("delete: %+v", got1)
	}
	_, _, err = get(ordersARN)
	wantError(t, err, "ResourceNotFoundException", "The resource you requested does not exist.")
	if _, _, err := get(ordersARN + ":1"); err != nil {
		t.Errorf("of the version: %v", err)
	}

	deny := strings.Replace(document, `"Allow"`, `"Deny"`, 1)
	if _, err := put(ordersARN, deny, ""); err != nil || may("444455556666") {
		t.Errorf("what denies: %v", err)
	}
	for _, c := range []struct{ arn, policy, code, words string }{
		{ordersARN, `{"Statement":[]}`, "InvalidParameterValueException", "The resource policy is invalid: the policy has no Statement"},
		{ordersARN, `[`, "InvalidParameterValueException", "The resource policy is invalid: "},
		{ordersARN, strings.Replace(document, "lambda:GetFunction", "s3:GetObject", 1), "InvalidParameterValueException", `the action "s3:GetObject" is none of Lambda`},
		{ordersARN, document + strings.Repeat(" ", 20480), "InvalidParameterValueException", "it may have 20480"},
		{ordersARN + ":$LATEST", document, "InvalidParameterValueException", "We currently do not support adding policies for $LATEST."},
		{strings.Replace(ordersARN, "orders", "absent", 1), document, "ResourceNotFoundException", "Function not found"},
		{"orders", document, "ValidationException", "Value 'orders' at 'resourceArn' failed to satisfy constraint: Member must satisfy regular expression pattern: arn:"},
	} {
		if _, err := put(c.arn, c.policy, ""); !refusedAs(err, c.code) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s, %.80s: %v", c.arn, c.policy, err)
		}
	}
}

func refusedAs(err error, code string) bool {
	var e smithy.APIError
	return errors.As(err, &e) && e.ErrorCode() == code
}
