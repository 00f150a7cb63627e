package api_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/function"
	"thaw/pool"
)

// withVersions creates a function with n published versions.
func (w *world) withVersions(name string, n int) {
	w.t.Helper()
	w.create(name)
	w.active(name)
	for i := range n {
		if _, err := w.client.UpdateFunctionConfiguration(w.t.Context(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, Description: aws.String(fmt.Sprint(i))}); err != nil {
			w.t.Fatal(err)
		}
		w.updated(name)
		if _, err := w.client.PublishVersion(w.t.Context(), &lambda.PublishVersionInput{FunctionName: &name}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func quickWorld(t testing.TB) *world {
	return newWorld(t, func(o *options) { o.Settle = 1 })
}

// C-060, C-061, C-064, C-065, C-067, C-068: an alias from creation to deletion, as a client sees it.
func TestAliases(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	ctx := t.Context()
	w.withVersions("orders", 2)
	name := aws.String("orders")

	a := w.do("POST", "/2015-03-31/functions/orders/aliases", `{"Name":"live","FunctionVersion":"1"}`)
	w.want(a, 201, `{"AliasArn":"`+ordersARN+`:live","Name":"live","FunctionVersion":"1","Description":"","RevisionId":"*"}`)
	if _, err := w.client.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: name, Name: aws.String("head"), FunctionVersion: aws.String("$LATEST"), Description: aws.String("d")}); err != nil {
		t.Fatal(err)
	}

	got, err := w.client.GetAlias(ctx, &lambda.GetAliasInput{FunctionName: name, Name: aws.String("live")})
	if err != nil || *got.FunctionVersion != "1" || got.RoutingConfig != nil {
		t.Fatalf("%+v, %v", got, err)
	}
	up, err := w.client.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: name, Name: aws.String("live"), RevisionId: got.RevisionId,
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{"2": 0.5}}})
	if err != nil || *up.RevisionId == *got.RevisionId || !maps.Equal(up.RoutingConfig.AdditionalVersionWeights, map[string]float64{"2": 0.5}) || *up.FunctionVersion != "1" {
		t.Fatalf("%+v, %v", up, err)
	}
	w.want(w.do("PUT", "/2015-03-31/functions/orders/aliases/live", `{"RevisionId":"`+*got.RevisionId+`"}`), 412,
		`{"message":"The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id","Type":"User"}`)
	cleared, err := w.client.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: name, Name: aws.String("live"), FunctionVersion: aws.String("2"),
		RoutingConfig: &types.AliasRoutingConfiguration{AdditionalVersionWeights: map[string]float64{}}})
	if err != nil || cleared.RoutingConfig != nil || *cleared.RevisionId == *up.RevisionId || *cleared.FunctionVersion != "2" {
		t.Fatalf("%+v, %v", cleared, err)
	}

	for version, want := range map[string][]string{"": {"head", "live"}, "2": {"live"}, "1": nil, "$LATEST": {"head"}} {
		in := &lambda.ListAliasesInput{FunctionName: name, MaxItems: aws.Int32(1)}
		if version != "" {
			in.FunctionVersion = &version
		}
		var names []string
		for p := lambda.NewListAliasesPaginator(w.client, in); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, a := range page.Aliases {
				names = append(names, *a.Name)
			}
		}
		if !slices.Equal(names, want) {
			t.Errorf("aliases of version %q: %v, want %v", version, names, want)
		}
	}

	for _, target := range []lambda.GetFunctionInput{{FunctionName: name, Qualifier: aws.String("live")}, {FunctionName: aws.String(ordersARN + ":live")}} {
		f, err := w.client.GetFunction(ctx, &target)
		if err != nil || *f.Configuration.FunctionArn != ordersARN+":live" || *f.Configuration.Version != "2" {
			t.Errorf("by alias: %+v, %v", f, err)
		}
	}
	w.want(w.do("DELETE", "/2015-03-31/functions/orders?Qualifier=2", ""), 409,
		`{"message":"Unable to delete version because the following aliases reference it: [live]","Type":"User"}`)
	for range 2 { // the second one is not there any more
		w.want(w.do("DELETE", "/2015-03-31/functions/orders/aliases/live", ""), 204, ``)
	}
	w.want(w.do("DELETE", "/2015-03-31/functions/orders?Qualifier=2", ""), 204, ``)
}

// C-061, C-062, C-063, C-064: what is refused, in the words of the service.
func TestAliasRefusals(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	w.withVersions("orders", 2)
	w.want(w.do("POST", "/2015-03-31/functions/orders/aliases", `{"Name":"live","FunctionVersion":"1"}`), 201, "*")
	user := func(message string) string { return `{"message":"` + message + `","Type":"User"}` }
	missing := func(message string) string { return `{"Message":"` + message + `","Type":"User"}` }
	weights := "1 validation error detected: Value '{%s}' at 'routingConfig.additionalVersionWeights' failed to satisfy constraint: Map "
	value := weights + "value must satisfy constraint: [Member must have value less than or equal to 1.0, Member must have value greater than or equal to 0.0, Member must not be null]"
	key := weights + "keys must satisfy constraint: [Member must have length less than or equal to 1024, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [0-9]+]"
	unknown := ordersARN[:len(ordersARN)-len("orders")] + "unknown"
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"POST", "orders", `{"Name":"live","FunctionVersion":"2"}`, 409, user("Alias already exists: " + ordersARN + ":live")},
		{"POST", "orders", `{"Name":"a","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"1":0.5,"2":0.5}}}`, 400, user("Number of items in AdditionalVersionWeights cannot be greater than 1")},
		{"POST", "orders", `{"Name":"a","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"1":0.5}}}`, 400, user("Invalid function version 1. Function version 1 is already included in routing configuration.")},
		{"POST", "orders", `{"Name":"a","FunctionVersion":"$LATEST","RoutingConfig":{"AdditionalVersionWeights":{"1":0.5}}}`, 400, user("$LATEST is not supported for an alias pointing to more than 1 version")},
		{"POST", "orders", `{"Name":"a","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"2":2.0}}}`, 400, `{"message":"` + fmt.Sprintf(value, "2=2.0") + `"}`},
		{"POST", "orders", `{"Name":"a","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"$LATEST":0.5}}}`, 400, `{"message":"` + fmt.Sprintf(key, "$LATEST=0.5") + `"}`},
		{"POST", "orders", `{"Name":"a","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"9":0.5}}}`, 404, missing("Function not found: " + ordersARN + ":9")},
		{"POST", "orders", `{"Name":"a","FunctionVersion":"9"}`, 404, missing("Function not found: " + ordersARN + ":9")},
		{"POST", "unknown", `{"Name":"a","FunctionVersion":"9"}`, 404, missing("Function not found: " + unknown + ":9")},
		{"POST", "orders", `{"Name":"2024","FunctionVersion":"1"}`, 400, `{"message":"1 validation error detected: Value '2024' at 'name' failed to satisfy constraint: Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)"}`},
		{"PUT", "orders/nosuch", `{}`, 404, missing("Alias not found: " + ordersARN + ":nosuch")},
		{"PUT", "orders/live", `{"FunctionVersion":"9"}`, 404, missing("Function not found: " + ordersARN + ":9")},
		{"GET", "orders/nosuch", ``, 404, missing("Cannot find alias arn: " + ordersARN + ":nosuch")},
		{"GET", "unknown", ``, 404, missing("Function not found: " + unknown)},
	} {
		fn, alias, ok := strings.Cut(c.path, "/")
		path := "/2015-03-31/functions/" + fn + "/aliases"
		if ok {
			path += "/" + alias
		}
		w.want(w.do(c.method, path, c.body), c.status, c.want)
	}
}

// C-066: the shares of an alias, and what its invocations see.
func TestAliasesShareOut(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	w.withVersions("orders", 2)
	w.want(w.do("POST", "/2015-03-31/functions/orders/aliases", `{"Name":"live","FunctionVersion":"1","RoutingConfig":{"AdditionalVersionWeights":{"2":0.2}}}`), 201, "*")
	got := map[string]int{}
	for range 1000 {
		a := w.do("POST", "/2015-03-31/functions/orders:live/invocations", "{}")
		got[a.header.Get("X-Amz-Executed-Version")]++
	}
	if got["1"]+got["2"] != 1000 || got["2"] < 120 || got["2"] > 280 {
		t.Errorf("of 1,000 invocations the versions ran %v", got)
	}
	if q := w.runner.last(t); q.InvokedARN != ordersARN+":live" || q.Version.Number == function.Latest {
		t.Errorf("version %s was invoked as %s", q.Version.Number, q.InvokedARN)
	}
	w.want(w.do("POST", "/2015-03-31/functions/orders:other/invocations", "{}"), 404, `{"Message":"Function not found: `+ordersARN+`:other","Type":"User"}`)
}

// C-108: provisioned concurrency of an alias goes with it, and a version has it under one name.
func TestProvisionedConcurrencyOfAliases(t *testing.T) {
	t.Parallel()
	w := quickWorld(t)
	ctx := t.Context()
	w.withVersions("orders", 3)
	for name, version := range map[string]string{"live": "1", "head": "$LATEST", "old": "3"} {
		w.want(w.do("POST", "/2015-03-31/functions/orders/aliases", `{"Name":"`+name+`","FunctionVersion":"`+version+`"}`), 201, "*")
	}
	put := func(q string) answer {
		return w.do("PUT", "/2019-09-30/functions/orders/provisioned-concurrency?Qualifier="+q, `{"ProvisionedConcurrentExecutions":4}`)
	}
	wants := func(n int) int {
		w.runner.mu.Lock()
		defer w.runner.mu.Unlock()
		return w.runner.wanted[function.ARN(fmt.Sprint(ordersARN, ":", n))]
	}
	w.want(put("live"), 202, `{"RequestedProvisionedConcurrentExecutions":4,"AvailableProvisionedConcurrentExecutions":0,"AllocatedProvisionedConcurrentExecutions":0,"Status":"IN_PROGRESS","LastModified":"*"}`)
	w.want(put("1"), 409, `{"message":"Version is pointed by a Provisioned Concurrency alias","Type":"User"}`)
	w.want(put("3"), 202, "*")
	w.want(put("old"), 409, `{"message":"Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version","Type":"User"}`)
	w.want(put("head"), 400, `{"message":"Provisioned Concurrency Configs cannot be applied to unpublished function versions.","Type":"User"}`)
	w.want(put("other"), 404, `{"Message":"Cannot find alias arn: `+ordersARN+`:other","Type":"User"}`)
	if wants(1) != 4 || wants(2) != 0 || wants(3) != 4 {
		t.Errorf("the pool was told %v", w.runner.wanted)
	}
	w.runner.mu.Lock()
	w.runner.made = map[function.ARN]pool.Allocation{ordersARN + ":1": {Requested: 4, Allocated: 4}}
	w.runner.mu.Unlock()
	status := func() types.ProvisionedConcurrencyStatusEnum {
		out, err := w.client.GetProvisionedConcurrencyConfig(ctx, &lambda.GetProvisionedConcurrencyConfigInput{FunctionName: aws.String("orders"), Qualifier: aws.String("live")})
		if err != nil {
			t.Fatal(err)
		}
		return out.Status
	}
	if s := status(); s != types.ProvisionedConcurrencyStatusEnumReady {
		t.Errorf("status %s", s)
	}
	w.want(w.do("PUT", "/2015-03-31/functions/orders/aliases/live", `{"FunctionVersion":"2"}`), 200, "*")
	if wants(1) != 0 || wants(2) != 4 {
		t.Errorf("after the move the pool was told %v", w.runner.wanted)
	}
	if s := status(); s != types.ProvisionedConcurrencyStatusEnumInProgress {
		t.Errorf("status after the move %s", s)
	}
	list, err := w.client.ListProvisionedConcurrencyConfigs(ctx, &lambda.ListProvisionedConcurrencyConfigsInput{FunctionName: aws.String("orders")})
	if err != nil || len(list.ProvisionedConcurrencyConfigs) != 2 || *list.ProvisionedConcurrencyConfigs[1].FunctionArn != ordersARN+":live" {
		t.Errorf("list %+v, %v", list, err)
	}
	w.reopen()
	if wants(2) != 4 {
		t.Errorf("after a restart the pool was told %v", w.runner.wanted)
	}
	w.want(w.do("DELETE", "/2015-03-31/functions/orders/aliases/live", ""), 204, "")
	if wants(2) != 0 {
		t.Errorf("after the deletion the pool was told %v", w.runner.wanted)
	}
}
