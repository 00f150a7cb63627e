package api_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/function"
	"thaw/pool"
)

func (w *world) provision(name, qualifier string, n int32) (*lambda.PutProvisionedConcurrencyConfigOutput, error) {
	return w.client.PutProvisionedConcurrencyConfig(context.Background(), &lambda.PutProvisionedConcurrencyConfigInput{FunctionName: &name, Qualifier: &qualifier, ProvisionedConcurrentExecutions: &n})
}

func (w *world) provisioned(name, qualifier string) (*lambda.GetProvisionedConcurrencyConfigOutput, error) {
	return w.client.GetProvisionedConcurrencyConfig(context.Background(), &lambda.GetProvisionedConcurrencyConfigInput{FunctionName: &name, Qualifier: &qualifier})
}

// published makes a function with versions 1 to n.
func (w *world) published(name string, n int, edit ...func(*lambda.CreateFunctionInput)) string {
	w.t.Helper()
	w.create(name, edit...)
	w.active(name)
	for i := 1; i <= n; i++ {
		if i > 1 { // a publish without a change answers the version before
			if _, err := w.client.UpdateFunctionConfiguration(context.Background(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, Timeout: aws.Int32(int32(i + 10))}); err != nil {
				w.t.Fatal(err)
			}
			w.updated(name)
		}
		if v, err := w.client.PublishVersion(context.Background(), &lambda.PublishVersionInput{FunctionName: &name}); err != nil || *v.Version != fmt.Sprint(i) {
			w.t.Fatalf("publish of version %d: %+v, %v", i, v, err)
		}
	}
	return name
}

// C-106, C-107: 202 and IN_PROGRESS with zeros, then what the environments are; kept over a restart; gone with its deletion, or the version's.
func TestProvisionedConcurrency(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	name := w.published("orders", 2)
	arn := "arn:aws:lambda:eu-west-1:000000000000:function:orders"
	put, err := w.provision(name, "1", 3)
	if err != nil || put.Status != types.ProvisionedConcurrencyStatusEnumInProgress || *put.RequestedProvisionedConcurrentExecutions != 3 ||
		*put.AllocatedProvisionedConcurrentExecutions != 0 || *put.AvailableProvisionedConcurrentExecutions != 0 || aws.ToString(put.LastModified) == "" {
		t.Fatalf("put: %+v, %v", put, err)
	}
	for _, c := range []struct {
		name   string
		made   pool.Allocation
		status types.ProvisionedConcurrencyStatusEnum
		reason string
	}{
		{"two of three are there", pool.Allocation{Allocated: 2}, "IN_PROGRESS", ""},
		{"Init failed", pool.Allocation{Failure: pool.InitFailure}, "FAILED", "FUNCTION_ERROR_INIT_FAILURE"},
		{"all are there", pool.Allocation{Allocated: 3}, "READY", ""},
	} {
		w.runner.mu.Lock()
		w.runner.made = map[function.ARN]pool.Allocation{function.ARN(arn) + ":1": c.made}
		w.runner.mu.Unlock()
		got, err := w.provisioned(name, "1")
		if err != nil || got.Status != c.status || aws.ToString(got.StatusReason) != c.reason || int(*got.AllocatedProvisionedConcurrentExecutions) != c.made.Allocated ||
			*got.AvailableProvisionedConcurrentExecutions != *got.AllocatedProvisionedConcurrentExecutions || *got.RequestedProvisionedConcurrentExecutions != 3 {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
	if _, err := w.provision(name, "2", 1); err != nil {
		t.Fatal(err)
	}
	if _, err := w.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name, Qualifier: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	if l := w.runner.last(t).Limits; l != (pool.Limits{Reserved: -1, Unreserved: 996, Provisioned: 3, ProvisionedAll: 4}) {
		t.Errorf("limits of an invocation: %+v", l)
	}

	w.runner.wanted = nil
	w.reopen()
	if got := w.runner.wanted; len(got) != 2 || got[function.ARN(arn+":1")] != 3 || got[function.ARN(arn+":2")] != 1 {
		t.Errorf("after a restart the pool was told %v", got)
	}
	page, err := w.client.ListProvisionedConcurrencyConfigs(ctx, &lambda.ListProvisionedConcurrencyConfigsInput{FunctionName: &name, MaxItems: aws.Int32(1)})
	if err != nil || len(page.ProvisionedConcurrencyConfigs) != 1 || *page.ProvisionedConcurrencyConfigs[0].FunctionArn != arn+":1" || page.NextMarker == nil {
		t.Fatalf("first page: %+v, %v", page, err)
	}
	page, err = w.client.ListProvisionedConcurrencyConfigs(ctx, &lambda.ListProvisionedConcurrencyConfigsInput{FunctionName: &name, Marker: page.NextMarker})
	if err != nil || len(page.ProvisionedConcurrencyConfigs) != 1 || *page.ProvisionedConcurrencyConfigs[0].FunctionArn != arn+":2" || page.NextMarker != nil {
		t.Fatalf("second page: %+v, %v", page, err)
	}

	if _, err := w.client.DeleteProvisionedConcurrencyConfig(ctx, &lambda.DeleteProvisionedConcurrencyConfigInput{FunctionName: &name, Qualifier: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	const none = "No Provisioned Concurrency Config found for this function"
	_, err = w.provisioned(name, "1")
	wantError(t, err, "ProvisionedConcurrencyConfigNotFoundException", none)
	w.want(w.do("DELETE", "/2019-09-30/functions/"+name+"/provisioned-concurrency?Qualifier=1", ""), 204, "") // what is not there
	if got := w.runner.wanted[function.ARN(arn+":1")]; got != 0 {
		t.Errorf("the pool keeps %d", got)
	}
	if _, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: &name, Qualifier: aws.String("2")}); err != nil {
		t.Fatal(err)
	}
	if page, err = w.client.ListProvisionedConcurrencyConfigs(ctx, &lambda.ListProvisionedConcurrencyConfigsInput{FunctionName: &name}); err != nil || len(page.ProvisionedConcurrencyConfigs) != 0 {
		t.Errorf("after the deletion of the version: %+v, %v", page, err)
	}
}

// C-109 and the other refusals, in the service's words.
func TestProvisionedConcurrencyRefusals(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	name := w.published("orders", 2)
	w.published("other", 1)
	arn := "arn:aws:lambda:eu-west-1:000000000000:function:orders"
	const invalid, notFound = "InvalidParameterValueException", "ResourceNotFoundException"
	put := func(what, qualifier string, n int32, code, message string) {
		t.Helper()
		_, err := w.provision(name, qualifier, n)
		if err == nil {
			t.Errorf("%s was accepted", what)
		}
		wantError(t, err, code, message)
	}
	put("$LATEST", "$LATEST", 1, invalid, "Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
	put("no alias", "live", 1, notFound, "Cannot find alias arn: "+arn+":live")
	put("no version", "9", 1, notFound, "Function not found: "+arn+":9")
	put("zero", "1", 0, "ValidationException", "1 validation error detected: Value '0' at 'provisionedConcurrentExecutions' failed to satisfy constraint: Member must have value greater than or equal to 1")
	_, err := w.provisioned(name, "$LATEST")
	wantError(t, err, invalid, "The function resource provided must be an alias or a published version.")
	_, err = w.provisioned(name, "1")
	wantError(t, err, "ProvisionedConcurrencyConfigNotFoundException", "No Provisioned Concurrency Config found for this function")
	put("more than the account has", "1", 1001, invalid, "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [1000].")
	put("more than must stay", "1", 901, invalid, "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].")
	if _, err := w.provision("other", "1", 500); err != nil {
		t.Fatal(err)
	}
	put("another function has some", "1", 401, invalid, "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [100].")
	put("and more than the rest", "1", 501, invalid, "Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [500].")
	if _, err := w.client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: &name, ReservedConcurrentExecutions: aws.Int32(5)}); err != nil {
		t.Fatal(err)
	}
	put("above the reservation", "1", 6, invalid, "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function")
	if _, err := w.provision(name, "1", 2); err != nil {
		t.Fatal(err)
	}
	put("above it with the other version", "2", 4, invalid, "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function")
	_, err = w.client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: &name, ReservedConcurrentExecutions: aws.Int32(1)})
	wantError(t, err, invalid, " ReservedConcurrentExecutions  1 should not be lower than function's total provisioned concurrency [2].")
}

// With SnapStart it is refused when the server is strict, as the service does.
func TestProvisionedConcurrencyWithSnapStart(t *testing.T) {
	for _, strict := range []bool{false, true} {
		w := newWorld(t, func(o *options) { o.Strict = strict })
		name := w.published("quick", 1, func(in *lambda.CreateFunctionInput) {
			in.Runtime, in.SnapStart = "java21", &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}
		})
		_, err := w.provision(name, "1", 1)
		if strict != (err != nil) || strict && !strings.Contains(err.Error(), "not supported for SnapStart enabled functions") {
			t.Errorf("strict %v: %v", strict, err)
		}
	}
}
