package api_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/controlplane"
	"thaw/function"
	"thaw/pool"
	"thaw/runtimes"
)

// arriving is a set of runtimes of which python3.13 comes when the test says so.
type arriving struct {
	installed
	mu      sync.Mutex
	here    bool
	asked   int
	gate    chan struct{} // Provide waits for it when it is not nil
	fetches string        // what Fetching says
}

func (a *arriving) Check(identifier, architecture string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if identifier == "python3.13" && a.here {
		return nil
	}
	return a.installed.Check(identifier, architecture)
}

func (a *arriving) Provide(ctx context.Context, identifier, architecture string) error {
	a.mu.Lock()
	gate := a.gate
	if identifier == "python3.13" {
		a.asked++
	}
	a.mu.Unlock()
	if gate != nil && identifier == "python3.13" {
		select {
		case <-gate:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return a.Check(identifier, architecture)
}

func (a *arriving) Recoverable(identifier, architecture string) bool {
	return a.Check(identifier, architecture) == nil
}

func (a *arriving) Fetching(identifier string) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if identifier != "python3.13" {
		return ""
	}
	return a.fetches
}

func (a *arriving) set(change func(*arriving)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

func (a *arriving) Asked() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked
}

var _ controlplane.Runtimes = (*runtimes.Registry)(nil)

func python313(in *lambda.CreateFunctionInput) { in.Runtime = "python3.13" }

// described waits until a function is as wanted.
func (w *world) described(name, what string, wanted func(*types.FunctionConfiguration) bool) *types.FunctionConfiguration {
	w.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		out, err := w.client.GetFunction(w.t.Context(), &lambda.GetFunctionInput{FunctionName: aws.String(name)})
		if err != nil {
			w.t.Fatal(err)
		}
		if wanted(out.Configuration) {
			return out.Configuration
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("%s is not %s: %+v", name, what, out.Configuration)
		}
	}
}

func (w *world) reopenWith(change func(*options)) {
	w.t.Helper()
	w.close()
	change(&w.Options)
	w.open()
}

func failed(c *types.FunctionConfiguration) bool { return c.State == types.StateFailed }
func live(c *types.FunctionConfiguration) bool {
	return c.State == types.StateActive && c.LastUpdateStatus == types.LastUpdateStatusSuccessful
}

func TestAFunctionIsPendingWhileItsRuntimeIsFetched(t *testing.T) {
	a := &arriving{gate: make(chan struct{}), fetches: "Python 3.13 is being fetched: 12 of 26 MB"}
	w := newWorld(t, func(o *options) {
		o.Runtimes, o.PendingInvoke, o.FetchInvoke = a, 10*time.Millisecond, 300*time.Millisecond
	})
	w.create("orders", python313)
	pending := w.described("orders", "Pending with the reason", func(c *types.FunctionConfiguration) bool {
		return strings.Contains(aws.ToString(c.StateReason), "fetched")
	})
	if pending.State != types.StatePending || *pending.StateReason != "The function is being created. Python 3.13 is being fetched: 12 of 26 MB." || pending.StateReasonCode != types.StateReasonCodeCreating {
		t.Errorf("while it is fetched: %v %s %v", pending.State, *pending.StateReason, pending.StateReasonCode)
	}
	_, err := w.client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("orders")})
	wantError(t, err, "ResourceConflictException", "The operation cannot be performed at this time. The function is currently in the following state: Pending (Python 3.13 is being fetched: 12 of 26 MB)")
	// One that is patient enough gets its answer, though it came before the runtime.
	w.reopenWith(func(o *options) { o.PendingInvoke, o.FetchInvoke = 3*time.Second, time.Minute })
	answered := make(chan error, 1)
	go func() {
		_, err := w.client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("orders")})
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("answered before the runtime was there: %v", err)
	case <-time.After(4 * time.Second): // more than PendingInvoke
	}
	a.set(func(a *arriving) { a.here, a.fetches = true, "" })
	close(a.gate)
	if err := <-answered; err != nil {
		t.Error(err)
	}
	w.active("orders")
	w.epoch("orders") // it can be invoked
}

// The server ends while a runtime is fetched: the next one goes on with it.
func TestAFetchIsContinuedAfterARestart(t *testing.T) {
	a := &arriving{gate: make(chan struct{})}
	w := newWorld(t, func(o *options) { o.Runtimes = a })
	w.create("orders", python313)
	for a.Asked() == 0 {
		time.Sleep(time.Millisecond)
	}
	w.reopen()
	if c := w.described("orders", "there", func(*types.FunctionConfiguration) bool { return true }); c.State != types.StatePending {
		t.Errorf("state %v after the restart", c.State)
	}
	a.set(func(a *arriving) { a.here = true })
	close(a.gate)
	w.active("orders")
}

// The runtime of a function that serves goes away, an upgrade of the host took it: the next invocation waits for another.
func TestARuntimeThatWentIsProvidedAgain(t *testing.T) {
	a := &arriving{here: true}
	w := newWorld(t, func(o *options) { o.Runtimes = a })
	w.create("orders", python313)
	w.active("orders")
	var tries atomic.Int64
	gone := &runtimes.NotInstalledError{Identifier: "python3.13", Missing: "Python 3.13"}
	w.runner.mu.Lock()
	w.runner.answer = func(context.Context, *pool.Request) (*function.Outcome, error) {
		if tries.Add(1) == 1 {
			return nil, gone
		}
		return &function.Outcome{Payload: []byte("1")}, nil
	}
	w.runner.mu.Unlock()
	asked := a.Asked()
	if _, err := w.client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("orders")}); err != nil || a.Asked() != asked+1 || tries.Load() != 2 {
		t.Errorf("after %d tries and %d fetches: %v", tries.Load(), a.Asked()-asked, err)
	}
	// Where none can be had, the caller is told at once.
	a.set(func(a *arriving) { a.here = false })
	tries.Store(0)
	asked = a.Asked()
	_, err := w.client.Invoke(t.Context(), &lambda.InvokeInput{FunctionName: aws.String("orders")})
	wantError(t, err, "InvalidRuntimeException", gone.Error())
	if a.Asked() != asked {
		t.Error("it is fetched although it cannot be")
	}
}

func TestFunctionsRecoverWhenTheirRuntimeIsThere(t *testing.T) {
	a := &arriving{}
	w := newWorld(t, func(o *options) { o.Runtimes, o.Recovery = a, 5*time.Millisecond })
	ctx := t.Context()
	w.create("failed", python313)
	w.create("published", func(in *lambda.CreateFunctionInput) { in.Runtime, in.Publish = "python3.13", true })
	w.create("updated")
	w.active("updated")
	before := w.epoch("updated")
	if _, err := w.client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: aws.String("updated"), Runtime: "python3.13"}); err != nil {
		t.Fatal(err)
	}
	w.described("failed", "Failed", failed)
	w.described("published", "Failed", failed)
	w.described("updated", "failed in its update", func(c *types.FunctionConfiguration) bool { return c.LastUpdateStatus == types.LastUpdateStatusFailed })
	asked := a.Asked()
	time.Sleep(100 * time.Millisecond) // twenty intervals
	if a.Asked() != asked {
		t.Error("functions are tried again although nothing has changed")
	}

	a.set(func(a *arriving) { a.here = true })
	for _, name := range []string{"failed", "published", "updated"} {
		if c := w.described(name, "Active", live); c.Runtime != "python3.13" || c.StateReason != nil || c.LastUpdateStatusReason != nil {
			t.Errorf("%s recovers as %+v", name, c)
		}
	}
	w.described("published:1", "Active", func(c *types.FunctionConfiguration) bool { return c.State == types.StateActive })
	if w.epoch("updated") <= before || w.runner.last(t).Version.Runtime != "python3.13" {
		t.Error("what was before still serves")
	}
	w.epoch("failed")
}

// What failed under an earlier server recovers, too.
func TestFunctionsRecoverAfterARestart(t *testing.T) {
	a := &arriving{}
	w := newWorld(t, func(o *options) { o.Runtimes, o.Recovery = a, time.Hour })
	w.create("orders", python313)
	w.described("orders", "Failed", failed)
	a.set(func(a *arriving) { a.here = true })
	w.reopen()
	w.described("orders", "Active", live)
	// A runtime that serves and is gone is provided at the next start.
	asked := a.Asked()
	w.reopen()
	for deadline := time.Now().Add(time.Minute); a.Asked() == asked; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the runtime of a function that serves is not provided at the start")
		}
	}
}
