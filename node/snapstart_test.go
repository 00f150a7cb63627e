package node

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/function"
	"thaw/snapshot"
)

func snapStart(in *lambda.CreateFunctionInput) {
	in.SnapStart = &types.SnapStart{ApplyOn: types.SnapStartApplyOnPublishedVersions}
}

// publish publishes a version and waits until it is no longer Pending.
func (f *deployed) publish() *lambda.GetFunctionConfigurationOutput {
	f.t.Helper()
	ctx := context.Background()
	v, err := f.client.PublishVersion(ctx, &lambda.PublishVersionInput{FunctionName: &f.name})
	if err != nil {
		f.t.Fatalf("publish: %v", err)
	}
	if v.State != types.StatePending {
		f.t.Errorf("a version with SnapStart is published in state %s", v.State)
	}
	for end := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := f.client.GetFunctionConfiguration(ctx, &lambda.GetFunctionConfigurationInput{FunctionName: &f.name, Qualifier: v.Version})
		if err != nil {
			f.t.Fatal(err)
		}
		if c.State != types.StatePending {
			return c
		}
		if time.Now().After(end) {
			f.t.Fatalf("version %s is still Pending", *v.Version)
		}
	}
}

func (f *deployed) invokeVersion(version, event string) answer {
	f.t.Helper()
	out, err := f.client.Invoke(context.Background(), &lambda.InvokeInput{FunctionName: &f.name, Qualifier: &version, Payload: []byte(event), LogType: types.LogTypeTail})
	return answerOf(out, err)
}

// envs are the environments of version 1.
func (f *deployed) envs() (ids []string) {
	for _, e := range f.node.pool.Environments() {
		if e.Function == f.name && e.Qualifier == "1" && e.Invokes > 0 {
			ids = append(ids, e.ID)
		}
	}
	return ids
}

// E-012, E-019, E-120, E-121, E-131, E-132: publish makes a snapshot, and environments of the version come from it.
func TestSnapStart(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`const born = Math.random(), at = Date.now(); console.log('initialised'); const cache = Buffer.alloc(20 << 20, 7)
		const timer = Date.now(); let fired = 0; setTimeout(() => { fired = performance.now() }, 60000)
		exports.handler = async (e) => { if (e.ms) await new Promise(r => setTimeout(r, e.ms))
			return { born, drawn: Math.random(), uuid: require('crypto').randomUUID(), type: process.env.AWS_LAMBDA_INITIALIZATION_TYPE, key: process.env.AWS_ACCESS_KEY_ID === undefined,
				creds: process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI !== undefined, skew: Date.now(), fired, held: cache[12345] } }`, snapStart, memory(512))
	c := f.publish()
	if c.State != types.StateActive || c.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOn {
		t.Fatalf("state %s %s, optimisation %s", c.State, aws.ToString(c.StateReason), c.SnapStart.OptimizationStatus)
	}
	type state struct {
		Born, Drawn float64
		UUID, Type  string
		Key, Creds  bool
		Skew        int64
		Fired       float64
		Held        int
	}
	var mu sync.Mutex
	var all []state
	first := 0
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			a := f.invokeVersion("1", `{"ms":800}`)
			var st state
			if err := json.Unmarshal([]byte(a.ok(t)), &st); err != nil {
				t.Error(err)
			}
			restored := strings.Contains(a.log, "Restore Duration: ") && strings.Contains(a.log, "Billed Restore Duration: ")
			if strings.Contains(a.log, "Init Duration") {
				t.Errorf("REPORT of a restored environment:\n%s", a.log)
			}
			mu.Lock()
			if restored { // not the second invoke of an environment that was quicker than another's restore
				first++
			}
			all = append(all, st)
			mu.Unlock()
		})
	}
	wg.Wait()
	if first == 0 || first != len(f.envs()) {
		t.Errorf("%d REPORT lines of %d restored environments tell of the restore", first, len(f.envs()))
	}
	seen := map[string]bool{}
	for _, st := range all {
		if st.Born != all[0].Born || st.Type != "snap-start" || !st.Key || !st.Creds || st.Held != 7 || st.Fired != 0 {
			t.Errorf("a copy says %+v", st)
		}
		if d := time.Since(time.UnixMilli(st.Skew)); d < -time.Second || d > time.Minute {
			t.Errorf("its clock is off by %v", d)
		}
		if seen[st.UUID] {
			t.Errorf("two copies drew the UUID %s", st.UUID)
		}
		seen[st.UUID] = true
	}
	log := strings.Join(f.logs("RESTORE_REPORT", "INIT_REPORT"), "\n")
	if strings.Count(log, "initialised") != 1 {
		t.Errorf("Init ran more than once:\n%s", log)
	}
	if got := f.invoke(`{}`).ok(t); !strings.Contains(got, `"type":"on-demand"`) {
		t.Errorf("$LATEST is %s", got)
	}
}

// E-127 and the hook's own message: a before-checkpoint hook that fails makes the version Failed.
func TestSnapStartFailingInit(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`throw new RangeError('no snapshot of this')`, snapStart)
	c := f.publish()
	if c.State != types.StateFailed || !strings.Contains(aws.ToString(c.StateReason), "RangeError: no snapshot of this") || c.StateReasonCode != "FunctionError" {
		t.Errorf("state %s, reason %q, code %s", c.State, aws.ToString(c.StateReason), c.StateReasonCode)
	}
}

// E-128: an after-restore hook that fails is the caller's SnapStartException. It runs at the publish's own verification too, so this one fails only later.
func TestSnapStartFailingAfterRestore(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`const born = Date.now()
		awslambda.snapStart.afterRestore(() => { if (Date.now() - born > 30000) throw new Error('the cache is cold') })
		exports.handler = async () => 1`, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	time.Sleep(30 * time.Second)
	var failed *types.SnapStartException
	if a := f.invokeVersion("1", `{}`); !errors.As(a.err, &failed) || !strings.Contains(a.err.Error(), "the cache is cold") {
		t.Errorf("got %v %s", a.err, a.body)
	}
	f.logs("RESTORE_REPORT Restore Duration", "Status: error\tError Type: Runtime.AfterRestoreError")
}

// An Error that a Java hook throws is told of like an exception, though the client catches exceptions only, and at
// once, also when another thread lives.
func TestSnapStartJavaHookErrors(t *testing.T) {
	t.Parallel()
	const source = `
import com.amazonaws.services.lambda.runtime.*;
import org.crac.*;
import java.util.*;
public class HookError implements RequestHandler<Map<String, Object>, String>, Resource {
  public HookError() {
    if (System.getenv("LIVE") != null) new Thread(() -> { try { Thread.sleep(1_000_000); } catch (InterruptedException e) { } }).start();
    Core.getGlobalContext().register(this);
  }
  static void fail(String hook) { if (hook.equals(System.getenv("HOOK"))) throw new NoClassDefFoundError("org/x/Missing"); }
  public void beforeCheckpoint(org.crac.Context<? extends Resource> c) { fail("before"); }
  public void afterRestore(org.crac.Context<? extends Resource> c) { fail("after"); }
  public String handleRequest(Map<String, Object> e, com.amazonaws.services.lambda.runtime.Context c) { return "ok"; }
}`
	s := shared(t, "gvisor")
	s.t = t
	r := ready(t, s, "java17", "java21", "java11")
	code := javaZip(t, s, "HookError", source)
	for hook, errType := range map[string]string{"before": "Runtime.BeforeCheckpointError", "after": "Runtime.AfterRestoreError"} {
		for _, live := range []string{"", "1"} {
			own := map[string]string{"HOOK": hook}
			if live != "" {
				own["LIVE"] = live
			}
			f := s.deployZip(r, code, snapStart, memory(512), vars(own), func(in *lambda.CreateFunctionInput) { in.Handler = aws.String("HookError") })
			c := f.publish()
			reason := aws.ToString(c.StateReason)
			if c.State != types.StateFailed || reason != errType+": java.lang.NoClassDefFoundError: org/x/Missing" {
				t.Errorf("hook %s, living thread %q: state %s, reason %q", hook, live, c.State, reason)
			}
		}
	}
}

// Hooks of AWS's Python library, unchanged: before in reverse order, after in order.
func TestSnapStartPythonHooks(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.deploy(installed(t, s, "python3.1"), map[string]string{"index.py": `
from snapshot_restore_py import register_before_snapshot, register_after_restore
order = []
register_before_snapshot(lambda: order.append('b1')); register_before_snapshot(lambda: order.append('b2'))
register_after_restore(lambda: order.append('a1')); register_after_restore(lambda: order.append('a2'))
def handler(e, c): return order
`}, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	if got := strings.ReplaceAll(f.invokeVersion("1", `{}`).ok(t), " ", ""); got != `["b2","b1","a1","a2"]` {
		t.Errorf("hooks ran as %s", got)
	}
}

// A snapshot that is damaged on disk costs its callers a slower answer, and is made again.
func TestDamagedSnapshotBecomesAnInit(t *testing.T) {
	t.Parallel()
	needRoot(t, "gvisor")
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	// A spare would be restored before the damage is done.
	s := openServerWith(t, "gvisor", dir, func(c *Config) { c.Spares = 0 })
	defer s.node.Close(context.Background())
	f := s.js(`const born = Date.now(); exports.handler = async () => born`, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	first := f.invokeVersion("1", `{}`).ok(t)
	s.node.pool.Outdate(function.ARN("arn:aws:lambda:eu-west-1:000000000000:function:"+f.name), "1", "") // so that the next one is restored anew
	damaged := 0
	for _, m := range s.node.snapshots.Inside().Store.List() {
		s.node.snapshots.Inside().Cache.Drop(m.ID)
		for _, ref := range m.Packs {
			path := filepath.Join(dir, "snapshots", "store", "pack", string(ref.ID))
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 1
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			damaged++
		}
	}
	if damaged == 0 {
		t.Fatal("there was nothing to damage")
	}
	second := f.invokeVersion("1", `{}`).ok(t)
	if first == second {
		t.Errorf("the answer came from the damaged snapshot: %s", second)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		r, _, err := s.node.snapshots.Inside().Records.Get(t.Context(), snapshot.Version{Function: function.ARN(s.arn(f.name)), Number: "1"})
		state := r.State
		if err == nil && state == snapshot.Current {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the snapshot was not made again: %v", state)
		}
	}
}

// Versions keep their snapshots over a restart of the server.
func TestSnapshotsSurviveARestart(t *testing.T) {
	t.Parallel()
	needRoot(t, "gvisor")
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	s := openServer(t, "gvisor", dir)
	f := s.js(`const born = Date.now(); exports.handler = async () => born`, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	first := f.invokeVersion("1", `{}`).ok(t)
	if err := s.node.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	s = openServer(t, "gvisor", dir)
	defer s.node.Close(context.Background())
	g := &deployed{s, f.name}
	if got := g.invokeVersion("1", `{}`).ok(t); got != first {
		t.Errorf("after the restart Init ran again: %s, was %s", got, first)
	}
}

// E-129: an after-restore hook that does not come to an end is a SnapStartTimeoutException after ten seconds of restore.
func TestSnapStartTimeout(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`const born = Date.now()
		awslambda.snapStart.afterRestore(async () => { if (Date.now() - born > 30000) await new Promise(r => setTimeout(r, 30000)) })
		exports.handler = async () => 1`, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	time.Sleep(30 * time.Second)
	var late *types.SnapStartTimeoutException
	if a := f.invokeVersion("1", `{}`); !errors.As(a.err, &late) {
		t.Errorf("got %v %s", a.err, a.body)
	}
	f.logs("Status: timeout")
}
