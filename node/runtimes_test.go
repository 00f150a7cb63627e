package node

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// A newcomer's functions on a fresh data folder: a runtime that the host lacks, and AWS's SDK in it. Offline they fail
// with what to type; a server that may fetch has them recover, also those that an earlier server left Failed, and a
// copied folder serves where there is no network.
func TestRuntimesComeByThemselves(t *testing.T) {
	t.Parallel()
	kind := "gvisor"
	if os.Geteuid() != 0 {
		kind = "process"
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	s := openServerWith(t, kind, dir, func(c *Config) { c.Offline = true })
	runtime := ""
	for _, id := range []string{"nodejs24.x", "nodejs22.x", "nodejs26.x"} { // one that the host lacks
		if s.node.runtimes.Check(id, "") != nil {
			runtime = id
			break
		}
	}
	if runtime == "" {
		s.node.Close(ctx)
		t.Skip("this host has every Node")
	}
	create := func(s *server, name, code string) {
		t.Helper()
		if _, err := s.client.CreateFunction(ctx, &lambda.CreateFunctionInput{FunctionName: &name, Runtime: types.Runtime(runtime), Handler: aws.String("index.handler"),
			Role: aws.String("arn:aws:iam::000000000000:role/r"), Code: &types.FunctionCode{ZipFile: zipOf(t, map[string]string{"index.mjs": code})}, Timeout: aws.Int32(30)}); err != nil {
			t.Fatal(err)
		}
	}
	// state waits until a function's state is as wanted; other states are told to seen.
	state := func(s *server, name string, want types.State, seen func(types.State, string)) string {
		t.Helper()
		for {
			out, err := s.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &name})
			if err != nil {
				t.Fatal(err)
			}
			reason := aws.ToString(out.StateReason)
			if out.State == want {
				return reason
			}
			if strings.Contains(reason, "could not be fetched") {
				t.Skip(reason)
			}
			if seen != nil {
				seen(out.State, reason)
			}
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("%s is %s (%s), want %s", name, out.State, reason, want)
			}
		}
	}
	closed := func(s *server) {
		t.Helper()
		if err := s.node.Close(context.WithoutCancel(ctx)); err != nil {
			t.Error(err)
		}
	}
	const usesSDK = `import { SQSClient } from '@aws-sdk/client-sqs';
export const handler = async () => [typeof SQSClient, process.version.split('.')[0]];`

	create(s, "first", usesSDK)
	want := "; type: thaw runtime install --data-dir " + dir + " " + runtime
	if reason := state(s, "first", types.StateFailed, nil); !strings.HasSuffix(reason, want) {
		t.Errorf("offline the reason is %q, want one that ends in %q", reason, want)
	}
	closed(s)

	s = openServerWith(t, kind, dir, func(c *Config) { c.Offline = false })
	create(s, "second", usesSDK)
	fetched := false
	see := func(st types.State, reason string) {
		fetched = fetched || st == types.StatePending && strings.Contains(reason, "is being fetched")
	}
	state(s, "second", types.StateActive, see)
	state(s, "first", types.StateActive, see)
	if !fetched {
		t.Error("nobody saw a Pending function whose reason told of the fetch")
	}
	answer := `["function","v` + strings.TrimSuffix(strings.TrimPrefix(runtime, "nodejs"), ".x") + `"]`
	for _, name := range []string{"first", "second"} {
		if got := (&deployed{server: s, name: name}).invoke(`{}`).ok(t); got != answer {
			t.Errorf("%s answers %s, want %s", name, got, answer)
		}
	}
	t.Run("powertools", func(t *testing.T) {
		powertoolsParameters(t, &server{t: t, node: s.node, client: s.client, kind: kind}, runtime)
	})
	closed(s)

	// No network, and the folder of runtimes from elsewhere.
	there := t.TempDir()
	s = openServerWith(t, kind, there, func(c *Config) { c.Offline = true })
	defer func() { closed(s) }()
	create(s, "third", usesSDK)
	state(s, "third", types.StateFailed, nil)
	if out, err := exec.Command("cp", "-a", filepath.Join(dir, "runtimes")+"/.", filepath.Join(there, "runtimes")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	state(s, "third", types.StateActive, nil)
	if got := (&deployed{server: s, name: "third"}).invoke(`{}`).ok(t); got != answer {
		t.Errorf("third answers %s, want %s", got, answer)
	}
}
