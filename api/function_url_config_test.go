package api_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const ordersURL = "/2021-10-31/functions/orders/url"

// C-111, C-112: the life of URLs of a function and an alias, as the SDK sees it, over a restart.
func TestFunctionURLConfigs(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	ctx := t.Context()
	w.withVersions("orders", 1)
	w.want(w.do("POST", base+"/orders/aliases", `{"Name":"live","FunctionVersion":"1"}`), 201, "*")
	name, live := aws.String("orders"), aws.String("live")

	made := w.do("POST", ordersURL, `{"AuthType":"NONE"}`)
	w.want(made, 201, `{"FunctionUrl":"*","FunctionArn":"`+ordersARN+`","AuthType":"NONE","CreationTime":"*"}`)
	first, err := w.client.GetFunctionUrlConfig(ctx, &lambda.GetFunctionUrlConfigInput{FunctionName: name})
	if err != nil || first.InvokeMode != types.InvokeModeBuffered || aws.ToString(first.LastModifiedTime) == "" {
		t.Fatalf("%+v, %v", first, err)
	}
	if !regexp.MustCompile(`^http://[a-z0-9]{32}\.lambda-url\.` + region + `\.localhost/$`).MatchString(*first.FunctionUrl) {
		t.Errorf("URL %s", *first.FunctionUrl)
	}
	if !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`).MatchString(*first.CreationTime) {
		t.Errorf("time %s", *first.CreationTime)
	}
	w.want(w.do("POST", ordersURL, `{"AuthType":"AWS_IAM"}`), 409, `{"message":"Failed to create function url config for [functionArn = `+ordersARN+
		`]. Error message:  FunctionUrlConfig exists for this Lambda function","Type":"User"}`)

	second, err := w.client.CreateFunctionUrlConfig(ctx, &lambda.CreateFunctionUrlConfigInput{FunctionName: name, Qualifier: live, AuthType: types.FunctionUrlAuthTypeAwsIam,
		InvokeMode: types.InvokeModeResponseStream, Cors: &types.Cors{AllowOrigins: []string{"https://a.example"}, MaxAge: aws.Int32(5)}})
	if err != nil || *second.FunctionArn != ordersARN+":live" || second.InvokeMode != types.InvokeModeResponseStream || *second.FunctionUrl == *first.FunctionUrl {
		t.Fatalf("%+v, %v", second, err)
	}
	w.want(w.do("POST", ordersURL+"?Qualifier=live", `{"AuthType":"NONE"}`), 409, `{"message":"Failed to create function url config for [functionArn = `+ordersARN+
		`:live]. Error message:  FunctionUrlConfig exists for this Lambda function","Type":"User"}`)

	// It merges. InvokeMode is told when it was ever said; an empty Cors takes Cors away.
	w.want(w.do("PUT", ordersURL, `{"Cors":{"AllowMethods":["GET"],"AllowCredentials":true}}`), 200, `{"FunctionUrl":"`+*first.FunctionUrl+`","FunctionArn":"`+ordersARN+
		`","AuthType":"NONE","Cors":{"AllowCredentials":true,"AllowMethods":["GET"]},"CreationTime":"`+*first.CreationTime+`","LastModifiedTime":"*"}`)
	up, err := w.client.UpdateFunctionUrlConfig(ctx, &lambda.UpdateFunctionUrlConfigInput{FunctionName: name, Qualifier: live, Cors: &types.Cors{}})
	if err != nil || up.Cors != nil || up.InvokeMode != types.InvokeModeResponseStream || up.AuthType != types.FunctionUrlAuthTypeAwsIam {
		t.Fatalf("%+v, %v", up, err)
	}

	// The URL of an alias outlives it, and all of them a restart.
	if _, err := w.client.DeleteAlias(ctx, &lambda.DeleteAliasInput{FunctionName: name, Name: live}); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	var list []string
	for p := lambda.NewListFunctionUrlConfigsPaginator(w.client, &lambda.ListFunctionUrlConfigsInput{FunctionName: name, MaxItems: aws.Int32(1)}); p.HasMorePages(); {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page.FunctionUrlConfigs {
			list = append(list, *u.FunctionUrl+" "+string(u.InvokeMode))
		}
	}
	if want := *first.FunctionUrl + " BUFFERED\n" + *second.FunctionUrl + " RESPONSE_STREAM"; strings.Join(list, "\n") != want {
		t.Errorf("listed\n%s\nwant\n%s", strings.Join(list, "\n"), want)
	}
	w.want(w.do("PUT", ordersURL+"?Qualifier=live", `{}`), 404, `{"Message":"Function does not exist","Type":"User"}`)

	// Without a qualifier only the function's own goes.
	w.want(w.do("DELETE", ordersURL, ""), 204, "")
	w.want(w.do("GET", ordersURL+"?Qualifier=live", ""), 200, "*")
	w.want(w.do("DELETE", ordersURL+"?Qualifier=live", ""), 204, "")
	w.want(w.do("GET", "/2021-10-31/functions/orders/urls", ""), 200, `{"FunctionUrlConfigs":[]}`)
}

// C-113: what is refused.
func TestFunctionURLConfigErrors(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	w.create("orders")
	w.active("orders")
	gone := `{"Message":"The resource you requested does not exist.","Type":"User"}`
	absent := `{"Message":"Function does not exist","Type":"User"}`
	pattern := func(q string) string {
		return `{"message":"1 validation error detected: Value '` + q + `' at 'qualifier' failed to satisfy constraint: Member must satisfy regular expression pattern: ((?!^\\d+$)^[0-9a-zA-Z-_]+$)"}`
	}
	invalid := `{"message":"1 validation error detected: Value `
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", ordersURL + "?Qualifier=%24LATEST", `{"AuthType":"NONE"}`, 400, pattern("$LATEST")},
		{"POST", ordersURL + "?Qualifier=1", `{"AuthType":"NONE"}`, 400, pattern("1")},
		{"GET", ordersURL + "?Qualifier=1", "", 400, pattern("1")},
		{"GET", "/2021-10-31/functions/orders%3A1/url", "", 400, pattern("1")},
		{"POST", ordersURL, `{}`, 400, invalid + `null at 'authType' failed to satisfy constraint: Member must not be null"}`},
		{"PUT", ordersURL, `{"AuthType":"x"}`, 400, invalid + `'x' at 'authType' failed to satisfy constraint: Member must satisfy enum value set: [NONE, AWS_IAM]"}`},
		{"POST", ordersURL, `{"AuthType":"NONE","InvokeMode":"UNKNOWN"}`, 400,
			invalid + `'UNKNOWN' at 'invokeMode' failed to satisfy constraint: Member must satisfy enum value set: [RESPONSE_STREAM, BUFFERED]"}`},
		{"POST", ordersURL, `{"AuthType":"NONE","Cors":{"MaxAge":86401}}`, 400,
			invalid + `'86401' at 'cors.maxAge' failed to satisfy constraint: Member must have value less than or equal to 86400"}`},
		{"POST", ordersURL, `{"AuthType":"NONE","Cors":{"AllowMethods":["OPTIONS"]}}`, 400, "*"},
		{"POST", ordersURL + "?Qualifier=none", `{"AuthType":"NONE"}`, 404, absent},
		{"POST", "/2021-10-31/functions/none/url", `{"AuthType":"NONE"}`, 404, absent},
		{"PUT", "/2021-10-31/functions/none/url", `{}`, 404, absent},
		{"GET", "/2021-10-31/functions/none/urls", "", 404, absent},
		{"GET", "/2021-10-31/functions/none/url", "", 404, gone},
		{"DELETE", "/2021-10-31/functions/none/url", "", 404, gone},
		{"GET", ordersURL, "", 404, gone},
		{"PUT", ordersURL, `{}`, 404, gone},
		{"DELETE", ordersURL, "", 404, gone},
	} {
		t.Run(c.method+" "+c.path+" "+c.body, func(t *testing.T) { w.want(w.do(c.method, c.path, c.body), c.status, c.want) })
	}
}
