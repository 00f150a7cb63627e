package node

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

// A server that drains while an environment is being restored gives the restore up, and no Init takes its place: nobody would ever end that one.
func TestDrainDuringARestore(t *testing.T) {
	t.Parallel()
	needRoot(t, "gvisor")
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	s := openServer(t, "gvisor", dir)
	f := s.js(`exports.handler = async () => 1`, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	ctx, leave := context.WithCancel(context.Background())
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		f.client.Invoke(ctx, &lambda.InvokeInput{FunctionName: &f.name, Qualifier: aws.String("1"), Payload: []byte("{}")}) // it is refused, or has gone
	}()
	creating := func() bool {
		for _, e := range s.node.pool.Environments() {
			if e.Function == f.name && e.Qualifier == "1" {
				return e.State == "Creating"
			}
		}
		return false
	}
	for end := time.Now().Add(time.Minute); !creating(); {
		if time.Now().After(end) {
			t.Fatal("no environment is being restored")
		}
	}
	leave() // nobody waits for it any more
	<-asked
	began := time.Now()
	closing, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.node.Close(closing); err != nil {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	families, err := s.node.metrics.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families {
		if m.GetName() == "thaw_restore_fallbacks_total" && m.GetMetric()[0].GetCounter().GetValue() != 0 {
			t.Errorf("a restore that was given up counts as failed: %v", m)
		}
	}
}
