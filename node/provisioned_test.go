package node

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

func (f *deployed) provision(n int32) {
	f.t.Helper()
	out, err := f.client.PutProvisionedConcurrencyConfig(context.Background(), &lambda.PutProvisionedConcurrencyConfigInput{FunctionName: &f.name, Qualifier: aws.String("1"), ProvisionedConcurrentExecutions: &n})
	if err != nil || out.Status != types.ProvisionedConcurrencyStatusEnumInProgress { // C-106
		f.t.Fatalf("put: %+v, %v", out, err)
	}
}

// allocated waits until the allocation is no longer in progress.
func (f *deployed) allocated() *lambda.GetProvisionedConcurrencyConfigOutput {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		out, err := f.client.GetProvisionedConcurrencyConfig(context.Background(), &lambda.GetProvisionedConcurrencyConfigInput{FunctionName: &f.name, Qualifier: aws.String("1")})
		if err != nil {
			f.t.Fatal(err)
		}
		if out.Status != types.ProvisionedConcurrencyStatusEnumInProgress {
			return out
		}
		if time.Now().After(end) {
			f.t.Fatalf("in progress: %+v", out)
		}
	}
}

func (f *deployed) version1() {
	f.t.Helper()
	if _, err := f.client.PublishVersion(context.Background(), &lambda.PublishVersionInput{FunctionName: &f.name}); err != nil {
		f.t.Fatal(err)
	}
}

// C-106, E-012, E-019: environments are initialised before any invoke, are of their own type, and are there again after a restart.
func TestProvisionedConcurrency(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openServer(t, "process", dir)
	f := s.js(`exports.handler = async (e) => { await new Promise(r => setTimeout(r, e.ms || 0)); return process.env.AWS_LAMBDA_INITIALIZATION_TYPE }`)
	f.version1()
	f.provision(2)
	if out := f.allocated(); out.Status != types.ProvisionedConcurrencyStatusEnumReady || *out.AllocatedProvisionedConcurrentExecutions != 2 || *out.AvailableProvisionedConcurrentExecutions != 2 {
		t.Fatalf("%+v", out)
	}
	f.logs("INIT_REPORT Init Duration: ")
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			a := f.invokeVersion("1", `{"ms":1500}`)
			if got := a.ok(t); got != `"provisioned-concurrency"` || !strings.Contains(a.log, "Init Duration: ") {
				t.Errorf("%s with\n%s", got, a.log)
			}
		})
	}
	wg.Wait()
	if c := s.node.pool.Counts(); c.Cold != 0 || c.Warm != 2 {
		t.Errorf("%+v", c)
	}
	if got := f.invoke(`{}`).ok(t); got != `"on-demand"` {
		t.Errorf("$LATEST is %s", got)
	}
	if err := s.node.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	s = openServer(t, "process", dir)
	defer func() {
		if err := s.node.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	g := &deployed{s, f.name}
	if out := g.allocated(); out.Status != types.ProvisionedConcurrencyStatusEnumReady || *out.AllocatedProvisionedConcurrentExecutions != 2 {
		t.Errorf("after the restart: %+v", out)
	}
	if _, err := g.client.DeleteProvisionedConcurrencyConfig(context.Background(), &lambda.DeleteProvisionedConcurrencyConfigInput{FunctionName: &g.name, Qualifier: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		left := 0
		for _, e := range s.node.pool.Environments() {
			if e.Provisioned {
				left++
			}
		}
		if left == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d are provisioned after the deletion", left)
		}
	}
}

// C-107, E-018: an Init that fails is a failed allocation.
func TestProvisionedConcurrencyOfAFailingInit(t *testing.T) {
	eachSandbox(t, func(t *testing.T, s *server) {
		f := s.js(`throw new Error('never ready')`)
		f.version1()
		f.provision(1)
		out := f.allocated()
		if out.Status != types.ProvisionedConcurrencyStatusEnumFailed || aws.ToString(out.StatusReason) != "FUNCTION_ERROR_INIT_FAILURE" || *out.AllocatedProvisionedConcurrentExecutions != 0 {
			t.Errorf("%+v", out)
		}
	})
}

// E-013: Init has the long limit.
func TestProvisionedInitMayTakeLong(t *testing.T) {
	t.Parallel()
	s := shared(t, "process")
	f := s.js(`Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 12000); exports.handler = async () => 1`)
	f.version1()
	f.provision(1)
	if out := f.allocated(); out.Status != types.ProvisionedConcurrencyStatusEnumReady {
		t.Errorf("%+v", out)
	}
}

// With SnapStart, beyond AWS: provisioned environments come from the snapshot.
func TestProvisionedConcurrencyWithSnapStart(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`const born = Math.random(); exports.handler = async () => [process.env.AWS_LAMBDA_INITIALIZATION_TYPE, born]`, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	f.provision(2)
	if out := f.allocated(); out.Status != types.ProvisionedConcurrencyStatusEnumReady {
		t.Fatalf("%+v", out)
	}
	restored := 0
	for _, e := range f.node.pool.Environments() {
		if e.Function == f.name && e.Provisioned && e.Snapshot != "" && e.Invokes == 0 {
			restored++
		}
	}
	if restored != 2 {
		t.Errorf("%d of two are restored: %+v", restored, f.node.pool.Environments())
	}
	if got := f.invokeVersion("1", `{}`).ok(t); !strings.Contains(got, `"snap-start"`) {
		t.Error(got)
	}
}
