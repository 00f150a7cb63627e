package node

import (
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/execenv"
)

// A sandbox that is killed while it is restored costs its caller an Init. The Init has the dead one's place: it is what
// is listed, and the server's end reaches it.
func TestARestoreThatBecomesAnInitCanBeStopped(t *testing.T) {
	t.Parallel()
	s := privateServer(t)
	f := s.js(`if (process.env.AWS_LAMBDA_INITIALIZATION_TYPE === 'on-demand') { require('fs').writeSync(1, 'begun\n'); const end = Date.now() + 9000; while (Date.now() < end); require('fs').writeSync(1, 'ended\n') }
		awslambda.snapStart.afterRestore(() => new Promise(r => setTimeout(r, 3000))); exports.handler = async () => 1`, snapStart, timeout(20))
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	env := func(state execenv.State) *execenv.Status {
		for _, e := range s.node.pool.Environments() {
			if e.Function == f.name && e.State == state.String() {
				return &e
			}
		}
		return nil
	}
	var restored *execenv.Status
	answered := make(chan answer, 1)
	go func() { answered <- f.invokeVersion("1", `{}`) }()
	f.once("nothing is restored", func() bool { restored = env(execenv.Restoring); return restored != nil && len(restored.PIDs) > 0 })
	for _, pid := range restored.PIDs {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) { // the first one's end may end the others
			t.Errorf("kill a process of the sandbox: %v", err)
		}
	}
	var second *execenv.Status
	f.once("the Init is not listed", func() bool { second = env(execenv.Initializing); return second != nil })
	if second.ID == restored.ID || slices.Equal(second.PIDs, restored.PIDs) || second.Snapshot != "" {
		t.Errorf("in the place of %+v there is %+v", restored, second)
	}
	f.once("Init does not begin", func() bool { return f.count("begun") == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := s.node.Close(ctx); err != nil {
		t.Errorf("close: %v", err)
	}
	if a := <-answered; a.err == nil {
		t.Errorf("the invocation was answered: %s", a.body)
	}
	if left := s.node.pool.Environments(); len(left) > 0 {
		t.Errorf("there is still %+v", left)
	}
	*s = *openServer(t, "gvisor", s.node.cfg.DataDir) // which the log is read from, and the test's end closes
	f = &deployed{s, f.name}
	if n := f.count("ended"); n > 0 {
		t.Error("the end of the server waited for Init")
	}
}
