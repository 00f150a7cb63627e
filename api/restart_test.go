package api_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/api"
	"thaw/internal/childtest"
)

// state is everything about a function that a client can see.
func (w *world) state(name string) string {
	w.t.Helper()
	ctx := w.t.Context()
	got, err := w.client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &name})
	if err != nil {
		w.t.Fatal(err)
	}
	versions, err := w.client.ListVersionsByFunction(ctx, &lambda.ListVersionsByFunctionInput{FunctionName: &name})
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := json.Marshal([]any{got.Configuration, got.Tags, got.Concurrency, versions.Versions})
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

func TestRestart(t *testing.T) {
	w := newWorld(t)
	ctx := t.Context()
	w.create("orders", func(in *lambda.CreateFunctionInput) {
		in.Publish, in.Tags = true, map[string]string{"a": "b"}
		in.Environment = &types.Environment{Variables: map[string]string{"AA": "ä\n"}}
	})
	w.active("orders")
	if _, err := w.client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("orders"), ZipFile: zipOf(t, "a", "b"), Publish: true}); err != nil {
		t.Fatal(err)
	}
	w.updated("orders")
	if _, err := w.client.PutFunctionConcurrency(ctx, &lambda.PutFunctionConcurrencyInput{FunctionName: aws.String("orders"), ReservedConcurrentExecutions: aws.Int32(3)}); err != nil {
		t.Fatal(err)
	}
	w.create("deleted")
	if _, err := w.client.DeleteFunction(ctx, &lambda.DeleteFunctionInput{FunctionName: aws.String("deleted")}); err != nil {
		t.Fatal(err)
	}
	before, epoch := w.state("orders"), w.epoch("orders")
	w.reopen()
	if after := w.state("orders"); after != before {
		t.Errorf("after the restart\n%s\nbefore\n%s", after, before)
	}
	if got := w.epoch("orders"); got != epoch || w.runner.last(t).Limits.Reserved != 3 {
		t.Errorf("epoch %d, was %d; limits %+v", got, epoch, w.runner.last(t).Limits)
	}
	if w.epoch("orders:1") == 0 {
		t.Error("version 1 does not serve")
	}
	_, err := w.client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: aws.String("deleted")})
	wantError(t, err, "ResourceNotFoundException", "Function not found: arn:aws:lambda:eu-west-1:000000000000:function:deleted")
}

func TestUnsettledChangesAreContinued(t *testing.T) {
	w := newWorld(t, func(o *options) { o.Settle = time.Hour })
	ctx := t.Context()
	w.create("orders", func(in *lambda.CreateFunctionInput) { in.Publish = true })
	w.Options.Settle = 10 * time.Millisecond
	w.reopen()
	w.active("orders")
	epoch := w.epoch("orders")
	w.Options.Settle = time.Hour
	w.reopen()
	if _, err := w.client.UpdateFunctionCode(ctx, &lambda.UpdateFunctionCodeInput{FunctionName: aws.String("orders"), ZipFile: zipOf(t, "new", ""), Publish: true}); err != nil {
		t.Fatal(err)
	}
	w.reopen() // still in progress: the code of before serves
	if got := w.epoch("orders"); got != epoch {
		t.Errorf("epoch %d, want %d", got, epoch)
	}
	w.Options.Settle = 10 * time.Millisecond
	w.reopen()
	w.updated("orders")
	if got := w.epoch("orders"); got <= epoch {
		t.Errorf("epoch %d, want more than %d", got, epoch)
	}
	for _, n := range []string{"1", "2"} {
		if c, err := w.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: aws.String("orders"), Qualifier: &n}); err != nil || c.State != types.StateActive {
			t.Errorf("version %s: %+v, %v", n, c, err)
		}
	}
}

// TestServeUntilKilled is the child of TestKill: a server on a loopback port that it prints.
func TestServeUntilKilled(t *testing.T) {
	s, _ := openServer(t, childtest.Arg(t), options{Options: api.Options{AccountID: account}, plane: plane{
		Pool: &runner{}, Runtimes: installed{}, Log: slog.New(slog.DiscardHandler), Settle: 5 * time.Millisecond,
	}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("http://%s\n", l.Addr())
	http.Serve(l, s) //nolint:errcheck // until killed
}

// startChild returns a client of a server in a process of its own, and how to kill that.
func startChild(t *testing.T, dir string) (*lambda.Client, func()) {
	t.Helper()
	c := childtest.Start(t, "TestServeUntilKilled", dir)
	var url string
	for !strings.HasPrefix(url, "http://") {
		url = c.Line()
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	return newClient(url, transport, region), func() {
		c.Kill()
		transport.CloseIdleConnections()
	}
}

// TestKill kills a server with SIGKILL in the middle of writing clients, again and again: everything acknowledged must be there.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	ctx := t.Context()
	type known struct {
		description string
		tag         string
		versions    int
	}
	want := map[string]known{}
	for round := range 4 {
		client, kill := startChild(t, dir)
		// What was acknowledged before is there.
		for name, k := range want {
			got, err := client.GetFunction(ctx, &lambda.GetFunctionInput{FunctionName: &name})
			if err != nil {
				t.Fatalf("after kill %d: %s: %v", round, name, err)
			}
			if d := *got.Configuration.Description; d < k.description || got.Tags["t"] < k.tag {
				t.Errorf("after kill %d: %s is %q with tag %q, acknowledged was %+v", round, name, d, got.Tags["t"], k)
			}
			list, err := client.ListVersionsByFunction(ctx, &lambda.ListVersionsByFunctionInput{FunctionName: &name})
			if err != nil || len(list.Versions)-1 < k.versions {
				t.Errorf("after kill %d: %s has %d versions, acknowledged were %d; %v", round, name, len(list.Versions)-1, k.versions, err)
			}
			if _, err := client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &name}); err != nil {
				t.Errorf("after kill %d: %s cannot be invoked: %v", round, name, err)
			}
		}
		// Write until the kill comes in between.
		name := fmt.Sprintf("f%d", round)
		k := known{}
		if _, err := client.CreateFunction(ctx, createInput(t, name)); err != nil {
			t.Fatal(err)
		}
		want[name] = k
		time.AfterFunc(time.Duration(50+100*round)*time.Millisecond, kill)
		for i := 0; ; i++ {
			text := fmt.Sprintf("%s %06d", name, i)
			_, err := client.TagResource(ctx, &lambda.TagResourceInput{Resource: aws.String("arn:aws:lambda:eu-west-1:000000000000:function:" + name), Tags: map[string]string{"t": text}})
			if err != nil {
				break
			}
			k.tag = text
			want[name] = k
			if _, err := client.UpdateFunctionConfiguration(ctx, &lambda.UpdateFunctionConfigurationInput{FunctionName: &name, Description: &text}); err == nil {
				k.description = text
			} // else it is in progress, or the server is dead
			if _, err := client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &name}); err == nil {
				k.versions++
			}
			want[name] = k
		}
		kill()
		if k.tag == "" {
			t.Logf("round %d: killed before the first write", round)
		}
	}
	// Last, a server in this process: everything settles.
	w := &world{t: t, dir: dir, runner: &runner{}}
	w.Options = options{Options: api.Options{AccountID: account},
		plane: plane{Pool: w.runner, Runtimes: installed{}, Log: slog.New(slog.DiscardHandler), Settle: time.Millisecond}}
	w.open()
	defer w.close()
	for name := range want {
		w.active(name)
		w.updated(name)
	}
}
