package node

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// reseeder has a generator of its own, seeded once, when the program starts. With FILE=1 it looks at each event whether
// it was restored.
const reseeder = `package main

import (
	"context"
	crypto "crypto/rand"
	"math/rand/v2"
	"os"
	"time"

	"github.com/aws/aws-lambda-go/lambda"
)

var source = seeded()
var mark = read()

func seeded() *rand.ChaCha8 {
	var seed [32]byte
	crypto.Read(seed[:])
	return rand.NewChaCha8(seed)
}

func read() string {
	b, err := os.ReadFile(os.Getenv("THAW_RESTORE_FILE"))
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}

func main() {
	source.Uint64()
	first := mark
	lambda.Start(func(ctx context.Context) (map[string]any, error) {
		now := read()
		if os.Getenv("FILE") != "" && now != mark {
			source, mark = seeded(), now
		}
		drawn := source.Uint64()
		time.Sleep(time.Second) // so that callers at once get copies of their own
		return map[string]any{"drawn": drawn >> 12, "first": first, "now": now}, nil
	})
}
`

// shellReseeder is seeded once, too, and seeds again when it is told to.
const shellReseeder = `#!/bin/bash
RANDOM=$SRANDOM
trap 'RANDOM=$SRANDOM; reseeded=yes' USR1
head=$(mktemp)
while true; do
  curl -sS -o /dev/null -D "$head" "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/next"
  id=$(grep -Fi Lambda-Runtime-Aws-Request-Id "$head" | tr -d '[:space:]' | cut -d: -f2)
  drawn=$((RANDOM << 30 | RANDOM << 15 | RANDOM))
  sleep 1
  curl -sS -o /dev/null "http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation/$id/response" -d "{\"drawn\": $drawn, \"now\": \"$reseeded\"}"
done
`

type drawing struct {
	Drawn      uint64
	First, Now string
}

// copiesDraw invokes several copies of version 1 at once.
func (f *deployed) copiesDraw() (all []drawing) {
	f.t.Helper()
	var wg sync.WaitGroup
	all = make([]drawing, 3)
	for i := range all {
		wg.Go(func() {
			if err := json.Unmarshal([]byte(f.invokeVersion("1", `{}`).ok(f.t)), &all[i]); err != nil {
				f.t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(f.envs()); n < len(all) {
		f.t.Skipf("%d copies answered %d callers", n, len(all))
	}
	return all
}

// A program with a generator of its own, that no platform can see, learns of each restore by a file, or by a signal if
// it asks for one.
func TestReseeding(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	dir := filepath.Join("testdata", "reseed") // within the module, for its dependencies
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.RemoveAll(dir)
		os.Remove("testdata") // unless there is more
	})
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(reseeder), 0o644); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "bootstrap")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-tags", "lambda.norpc", "-o", out, "./"+dir)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the function: %v\n%s", err, b)
	}
	program, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	publish := func(t *testing.T, bootstrap string, kv map[string]string) *deployed {
		t.Helper()
		s := &server{t, s.node, s.client, s.kind}
		f := s.deploy("provided.al2023", map[string]string{"bootstrap": bootstrap}, snapStart, vars(kv))
		if c := f.publish(); c.State != types.StateActive {
			t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
		}
		return f
	}
	t.Run("a program that does not look", func(t *testing.T) {
		all := publish(t, string(program), nil).copiesDraw()
		for _, d := range all[1:] {
			if d.Drawn != all[0].Drawn {
				t.Errorf("copies draw %d and %d: then this test shows nothing", all[0].Drawn, d.Drawn)
			}
			if d.Now == all[0].Now {
				t.Errorf("two copies are told the same: %q", d.Now)
			}
		}
		for _, d := range all {
			if d.First != "" || len(d.Now) != 27 || !strings.HasSuffix(d.Now, "\n") {
				t.Errorf("the file had %q during Init, %q in the copy", d.First, d.Now)
			}
		}
	})
	differ := func(t *testing.T, all []drawing) {
		t.Helper()
		seen := map[uint64]bool{}
		for _, d := range all {
			if seen[d.Drawn] {
				t.Errorf("two copies draw %d", d.Drawn)
			}
			seen[d.Drawn] = true
		}
	}
	t.Run("file", func(t *testing.T) {
		f := publish(t, string(program), map[string]string{"FILE": "1"})
		differ(t, f.copiesDraw())
	})
	t.Run("signal", func(t *testing.T) {
		all := publish(t, shellReseeder, map[string]string{"THAW_RESTORE_SIGNAL": "SIGUSR1"}).copiesDraw()
		differ(t, all)
		for _, d := range all {
			if d.Now != "yes" {
				t.Error("a copy drew before its trap had run")
			}
		}
	})
	t.Run("no signal unless asked for", func(t *testing.T) {
		all := publish(t, shellReseeder, nil).copiesDraw()
		if all[0].Now != "" || all[0].Drawn != all[1].Drawn {
			t.Errorf("copies say %+v", all)
		}
	})
	t.Run("a signal that there is not", func(t *testing.T) {
		s := &server{t, s.node, s.client, s.kind}
		f := s.deploy("provided.al2023", map[string]string{"bootstrap": shellReseeder}, snapStart, vars(map[string]string{"THAW_RESTORE_SIGNAL": "SIGKILL"}))
		if c := f.publish(); c.State != types.StateFailed || !strings.Contains(aws.ToString(c.StateReason), "THAW_RESTORE_SIGNAL") {
			t.Errorf("state %s %s", c.State, aws.ToString(c.StateReason))
		}
	})
}
