package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/async"
)

// A function with tenant isolation runs for a named tenant and for nobody else, by every way of invoking it, and cannot
// have what its tenants would share. Source: spec 20.3; the texts about the tenant ID are the service's.
func TestTenants(t *testing.T) {
	t.Parallel()
	q := &taken{}
	w := newWorld(t, func(o *options) { o.Options.Events = q })
	ctx := t.Context()
	perTenant := func(in *lambda.CreateFunctionInput) {
		in.TenancyConfig = &types.TenancyConfig{TenantIsolationMode: types.TenantIsolationModePerTenant}
	}
	w.published("orders", 2, perTenant)
	w.create("shared")
	w.active("shared")
	for _, qualifier := range []string{"$LATEST", "2"} { // it outlives an update, and versions have it
		got, err := w.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("orders"), Qualifier: &qualifier})
		if err != nil || got.TenancyConfig == nil || got.TenancyConfig.TenantIsolationMode != "PER_TENANT" {
			t.Errorf("%s: %+v, %v", qualifier, got, err)
		}
	}
	if got := w.do("GET", base+"/shared/configuration", ""); strings.Contains(got.body, "TenancyConfig") { // C-010
		t.Errorf("of a function without: %s", got.body)
	}
	const (
		add    = "The invoked function is enabled with tenancy configuration. Add a valid tenant ID in your request and try again."
		remove = "The invoked function is not enabled with tenancy configuration. Remove the tenant ID from your request and try again."
	)
	stream := "/2021-11-15/functions/%s/response-streaming-invocations"
	for _, path := range []string{base + "/%s/invocations", stream} {
		for _, kind := range []string{"RequestResponse", "Event", "DryRun"} {
			if path == stream && kind == "Event" {
				continue
			}
			for name, c := range map[string]struct {
				function, tenant, code, words string
			}{
				"no tenant":               {"orders", "", "InvalidParameterValueException", add},
				"a tenant for nothing":    {"shared", "blue", "InvalidParameterValueException", remove},
				"a name that is none":     {"orders", "a b;c", "ValidationException", "Value 'a b;c' at 'tenantId' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9\\\\._:\\\\/=+\\\\-@ ]+"},
				"too long a name":         {"orders", strings.Repeat("x", 257), "ValidationException", "at 'tenantId' failed to satisfy constraint: Member must have length less than or equal to 256"},
				"a function that is none": {"absent", "blue", "ResourceNotFoundException", "Function not found"},
			} {
				h := []string{"X-Amz-Invocation-Type", kind}
				if c.tenant != "" {
					h = append(h, "X-Amz-Tenant-Id", c.tenant)
				}
				got := w.do("POST", fmt.Sprintf(path, c.function), "{}", h...)
				if got.header.Get("X-Amzn-Errortype") != c.code || !strings.Contains(got.body, c.words) {
					t.Errorf("%s, %s, %s: %d %s %s", name, path, kind, got.status, got.header.Get("X-Amzn-Errortype"), got.body)
				}
			}
		}
	}
	if got := w.do("POST", "/2014-11-13/functions/orders/invoke-async/", "{}"); got.status != 400 || !strings.Contains(got.body, add) {
		t.Errorf("the older invoke-async: %+v", got)
	}
	if len(w.runner.asked) > 0 || len(q.events) > 0 {
		t.Fatalf("%d of them ran, %d were accepted", len(w.runner.asked), len(q.events))
	}
	longest := strings.Repeat("x", 251) + " /@:="
	for _, tenant := range []string{"blue", longest} {
		out, err := w.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("orders:2"), TenantId: &tenant})
		if err != nil || out.StatusCode != 200 || w.runner.last(t).TenantID != tenant || !w.runner.last(t).Version.PerTenant {
			t.Errorf("%q: %+v, %v; the pool got %+v", tenant, out, err, w.runner.last(t))
		}
		out, err = w.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: aws.String("orders"), TenantId: &tenant, InvocationType: "Event"})
		if err != nil || out.StatusCode != 202 || q.events[len(q.events)-1].TenantID != tenant {
			t.Errorf("%q: %+v, %v; the queue got %+v", tenant, out, err, q.events)
		}
	}
}

// What a function with tenant isolation cannot have is refused with the reason, whichever of the two comes first.
func TestWhatTenantsCannotHave(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *options) { o.Options.Events = &taken{events: []*async.Event{}} })
	w.published("orders", 1, func(in *lambda.CreateFunctionInput) {
		in.TenancyConfig = &types.TenancyConfig{TenantIsolationMode: types.TenantIsolationModePerTenant}
	})
	w.withSources()
	create := func(tenancy, snapStart string) string {
		return `{"FunctionName":"f","Runtime":"python3.12","Handler":"h.h","Role":"` + role + `","Code":{"ZipFile":"UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="},"TenancyConfig":` + tenancy + snapStart + `}`
	}
	const not = " is not supported for functions that are enabled with tenancy configuration."
	for name, c := range map[string]struct{ method, path, body, code, words string }{
		"SnapStart from the beginning": {"POST", base, create(`{"TenantIsolationMode":"PER_TENANT"}`, `,"SnapStart":{"ApplyOn":"PublishedVersions"}`), "InvalidParameterValueException", "SnapStart" + not},
		"SnapStart later":              {"PUT", base + "/orders/configuration", `{"SnapStart":{"ApplyOn":"PublishedVersions"}}`, "InvalidParameterValueException", "SnapStart" + not},
		"provisioned concurrency":      {"PUT", "/2019-09-30/functions/orders/provisioned-concurrency?Qualifier=1", `{"ProvisionedConcurrentExecutions":1}`, "InvalidParameterValueException", "Provisioned Concurrency" + not},
		"a function URL":               {"POST", "/2021-10-31/functions/orders/url", `{"AuthType":"NONE"}`, "InvalidParameterValueException", "Function URL" + not},
		"an event source mapping": {"POST", "/2015-03-31/event-source-mappings", `{"FunctionName":"orders","EventSourceArn":"arn:aws:sqs:eu-west-1:000000000000:q"}`,
			"InvalidParameterValueException", "Event source mapping" + not},
		"another mode": {"POST", base, create(`{"TenantIsolationMode":"PER_USER"}`, ""), "ValidationException",
			"Value 'PER_USER' at 'tenancyConfig.tenantIsolationMode' failed to satisfy constraint: Member must satisfy enum value set: [PER_TENANT]"},
		"no mode": {"POST", base, create(`{}`, ""), "ValidationException", "Value null at 'tenancyConfig.tenantIsolationMode' failed to satisfy constraint: Member must not be null"},
	} {
		got := w.do(c.method, c.path, c.body)
		if got.status != http.StatusBadRequest || got.header.Get("X-Amzn-Errortype") != c.code || !strings.Contains(got.body, c.words) {
			t.Errorf("%s: %d %s %s", name, got.status, got.header.Get("X-Amzn-Errortype"), got.body)
		}
	}
}
