package api_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

func (w *world) revision(qualifier string) string {
	w.t.Helper()
	out, err := w.client.GetFunctionConfiguration(w.t.Context(), &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("orders"), Qualifier: aws.String(qualifier)})
	if err != nil {
		w.t.Fatal(err)
	}
	return *out.RevisionId
}

// C-117, C-119: statements as the service writes them, policies of a function, a version and an alias, and their RevisionIds.
func TestPermissions(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	ctx := t.Context()
	w.withVersions("orders", 1)
	name := aws.String("orders")
	before := w.revision("$LATEST")
	statement := `{"Sid":"s3","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},"Action":"lambda:InvokeFunction","Resource":"` + ordersARN +
		`","Condition":{"StringEquals":{"AWS:SourceAccount":"123456789012"},"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::bucket"}}}`
	added, err := w.client.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: name, StatementId: aws.String("s3"), Action: aws.String("lambda:InvokeFunction"),
		Principal: aws.String("s3.amazonaws.com"), SourceArn: aws.String("arn:aws:s3:::bucket"), SourceAccount: aws.String("123456789012"), RevisionId: &before})
	if err != nil || *added.Statement != statement {
		t.Fatalf("%v\n got %s\nwant %s", err, aws.ToString(added.Statement), statement)
	}
	got, err := w.client.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: name})
	if err != nil || *got.Policy != `{"Version":"2012-10-17","Id":"default","Statement":[`+statement+`]}` {
		t.Fatalf("%+v, %v", got, err)
	}
	if *got.RevisionId == before || *got.RevisionId != w.revision("$LATEST") {
		t.Errorf("RevisionId %s after %s", *got.RevisionId, before)
	}

	w.want(w.do("POST", base+"/orders/aliases", `{"Name":"live","FunctionVersion":"1"}`), 201, "*")
	for _, q := range []string{"1", "live"} { // publishing copied no policy; each has its own
		if _, err := w.client.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: name, Qualifier: &q}); err == nil {
			t.Errorf("%s has a policy", q)
		}
		out, err := w.client.AddPermission(ctx, &lambda.AddPermissionInput{FunctionName: name, Qualifier: &q, StatementId: aws.String("s3"), Action: aws.String("*"),
			Principal: aws.String("*"), FunctionUrlAuthType: types.FunctionUrlAuthTypeNone, InvokedViaFunctionUrl: aws.Bool(true)})
		if err != nil {
			t.Fatal(err)
		}
		var s struct{ Resource, Principal string }
		if err := json.Unmarshal([]byte(*out.Statement), &s); err != nil || s.Resource != ordersARN+":"+q || s.Principal != "*" {
			t.Errorf("statement %s, %v", *out.Statement, err)
		}
		p, err := w.client.GetPolicy(ctx, &lambda.GetPolicyInput{FunctionName: name, Qualifier: &q})
		if err != nil || !strings.Contains(*p.Policy, `"Condition":{"StringEquals":{"lambda:FunctionUrlAuthType":"NONE"},"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}`) {
			t.Errorf("%+v, %v", p, err)
		}
		if q == "1" && *p.RevisionId != w.revision("1") {
			t.Errorf("RevisionId of the policy of version 1 is %s, of the version %s", *p.RevisionId, w.revision("1"))
		}
	}
	w.reopen()
	w.want(w.do("DELETE", base+"/orders/policy/s3", ""), 204, "")
	w.want(w.do("GET", base+"/orders/policy", ""), 404, `{"Message":"The resource you requested does not exist.","Type":"User"}`)
	w.want(w.do("DELETE", base+"/orders/policy/s3?Qualifier=live", ""), 204, "")
	w.want(w.do("GET", base+"/orders/policy?Qualifier=1", ""), 200, "*")
}

// C-118: what is refused, in the words of the service.
func TestPermissionRefusals(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	w.withVersions("orders", 1)
	w.want(w.do("POST", base+"/orders/aliases", `{"Name":"live","FunctionVersion":"1"}`), 201, "*")
	w.want(w.do("POST", base+"/orders/policy", `{"StatementId":"s3","Action":"lambda:InvokeFunction","Principal":"123456789012"}`), 201, "*")
	user := func(message string) string { return `{"message":"` + message + `","Type":"User"}` }
	missing := func(message string) string { return `{"Message":"` + message + `","Type":"User"}` }
	body := func(id, principal string, more ...string) string {
		return fmt.Sprintf(`{"StatementId":"%s","Action":"lambda:InvokeFunction","Principal":"%s"%s}`, id, principal, strings.Join(more, ""))
	}
	unknown := strings.TrimSuffix(ordersARN, "orders") + "unknown"
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "/orders/policy", body("s3", "s3.amazonaws.com"), 409, user("The statement id (s3) provided already exists. Please provide a new statement id, or remove the existing statement.")},
		{"POST", "/orders/policy?Qualifier=" + url.QueryEscape("$LATEST"), body("a", "*"), 400, user("We currently do not support adding policies for $LATEST.")},
		{"POST", "/orders/policy", body("a", "someone"), 400, user("The provided principal was invalid. Please check the principal and try again.")},
		{"POST", "/orders/policy", body("example.com", "*"), 400, `{"message":"1 validation error detected: Value 'example.com' at 'statementId' failed to satisfy constraint: Member must satisfy regular expression pattern: ([a-zA-Z0-9-_]+)"}`},
		{"POST", "/orders/policy?Qualifier=other", body("a", "*"), 404, missing("Cannot find alias arn: " + ordersARN + ":other")},
		{"POST", "/orders/policy?Qualifier=9", body("a", "*"), 404, missing("Function not found: " + ordersARN + ":9")},
		{"POST", "/unknown/policy", body("a", "*"), 404, missing("Function not found: " + unknown)},
		{"POST", "/orders/policy?Qualifier=live", body("a", "*", `,"RevisionId":"old"`), 412, user("The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest Revision Id")},
		{"GET", "/unknown/policy", "", 404, missing("The resource you requested does not exist.")},
		{"DELETE", "/unknown/policy/s3", "", 404, missing("No policy found for: " + unknown)},
		{"DELETE", "/orders/policy/s3?Qualifier=live", "", 404, missing("No policy is associated with the given resource.")},
		{"DELETE", "/orders/policy/other", "", 404, missing("Statement other is not found in resource policy.")},
	} {
		w.want(w.do(c.method, base+c.path, c.body), c.status, c.want)
	}
	size := 0
	for i := range 30 { // of more than 1,000 bytes each
		a := w.do("POST", base+"/orders/policy", body(fmt.Sprintf("n%d", i), "s3.amazonaws.com", `,"SourceArn":"arn:aws:s3:::`+strings.Repeat("x", 1000)+`"`))
		if a.status != 201 {
			w.want(a, 400, `{"message":"*","Type":"User"}`)
			if code := a.header.Get("X-Amzn-Errortype"); code != "PolicyLengthExceededException" || i < 12 {
				t.Errorf("statement %d: %s %s", i, code, a.body)
			}
			return
		}
		size += len(a.body)
	}
	t.Errorf("a policy of %d bytes was accepted", size)
}

// Tags are part of what a RevisionId is of; errors of concurrency limits say whose fault they are.
func TestRevisionsOfTagsAndErrorsOfLimits(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	w.withVersions("orders", 0)
	before := w.revision("$LATEST")
	w.want(w.do("POST", "/2017-03-31/tags/"+url.QueryEscape(ordersARN), `{"Tags":{"a":"b"}}`), 204, "")
	tagged := w.revision("$LATEST")
	w.want(w.do("DELETE", "/2017-03-31/tags/"+url.QueryEscape(ordersARN)+"?tagKeys=a", ""), 204, "")
	if untagged := w.revision("$LATEST"); tagged == before || untagged == tagged {
		t.Errorf("RevisionId was %s, tagged %s, untagged %s", before, tagged, untagged)
	}
	w.want(w.do("PUT", "/2017-10-31/functions/orders/concurrency", `{"ReservedConcurrentExecutions":901}`), 400,
		`{"message":"Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].","Type":"User"}`)
	w.want(w.do("POST", "/2017-03-31/tags/arn:aws:something", `{"Tags":{"a":"b"}}`), 400, `{"message":"*"}`)
}
