package node

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// alias makes an alias, or moves it.
func (f *deployed) alias(name, version string) {
	f.t.Helper()
	ctx := context.Background()
	_, err := f.client.UpdateAlias(ctx, &lambda.UpdateAliasInput{FunctionName: &f.name, Name: &name, FunctionVersion: &version})
	if err != nil {
		_, err = f.client.CreateAlias(ctx, &lambda.CreateAliasInput{FunctionName: &f.name, Name: &name, FunctionVersion: &version})
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// A function behind an alias knows the version that it is, and how it was invoked. Versions with SnapStart serve behind
// one, and provisioned environments follow it to another version. C-068, C-106, E-019.
func TestVersionsBehindAnAlias(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`exports.handler = async (e, c) => [process.env.AWS_LAMBDA_FUNCTION_VERSION, c.functionVersion, c.invokedFunctionArn.split(':')[7],
		process.env.AWS_LAMBDA_INITIALIZATION_TYPE].join(' ')`, snapStart)
	f.publish()
	f.alias("live", "1")
	if got := f.invokeVersion("live", `{}`).ok(t); got != `"1 1 live snap-start"` {
		t.Errorf("behind the alias: %s", got)
	}
	if _, err := f.client.UpdateFunctionConfiguration(context.Background(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &f.name, Description: aws.String("2")}); err != nil {
		t.Fatal(err)
	}
	if err := lambda.NewFunctionUpdatedV2Waiter(f.client).Wait(context.Background(), &lambda.GetFunctionInput{FunctionName: &f.name}, time.Minute,
		func(o *lambda.FunctionUpdatedV2WaiterOptions) {
			o.MinDelay, o.MaxDelay = 20*time.Millisecond, 100*time.Millisecond
		}); err != nil {
		t.Fatal(err)
	}
	f.publish()
	if _, err := f.client.PutProvisionedConcurrencyConfig(context.Background(), &lambda.PutProvisionedConcurrencyConfigInput{FunctionName: &f.name, Qualifier: aws.String("live"),
		ProvisionedConcurrentExecutions: aws.Int32(1)}); err != nil {
		t.Fatal(err)
	}
	f.provisionedIn("1")
	f.alias("live", "2")
	f.provisionedIn("2")
	if got := f.invokeVersion("live", `{}`).ok(t); !strings.HasPrefix(got, `"2 2 live `) {
		t.Errorf("behind the alias that was moved: %s", got)
	}
}

// provisionedIn waits until the provisioned environments of the alias live are ready, and are a version's and no other's.
func (f *deployed) provisionedIn(version string) {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		out, err := f.client.GetProvisionedConcurrencyConfig(context.Background(), &lambda.GetProvisionedConcurrencyConfigInput{FunctionName: &f.name, Qualifier: aws.String("live")})
		if err != nil {
			f.t.Fatal(err)
		}
		in := map[string]int{}
		for _, e := range f.node.pool.Environments() {
			if e.Function == f.name && e.Provisioned {
				in[e.Qualifier]++
			}
		}
		if out.Status == types.ProvisionedConcurrencyStatusEnumReady && len(in) == 1 && in[version] == 1 {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("provisioned are %v, want one of version %s: %+v", in, version, out)
		}
	}
}
