package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/admin"
	"thaw/snapshot"
	"thaw/snapstart"
)

// ahead is a clock for idle time that a test can move.
type ahead struct{ by atomic.Int64 }

func (a *ahead) now() time.Time       { return time.Now().Add(time.Duration(a.by.Load())) }
func (a *ahead) move(d time.Duration) { a.by.Add(int64(d)) }

// aged opens a server of its own that counts idle time by a clock.
func aged(t *testing.T, dir string, clock *ahead, more func(*Config)) *server {
	t.Helper()
	c := testConfig("gvisor", dir)
	c.now = clock.now
	if more != nil {
		more(&c)
	}
	return openConfigured(t, "gvisor", c)
}

func (f *deployed) configuration(version string) *lambda.GetFunctionConfigurationOutput {
	f.t.Helper()
	c, err := f.client.GetFunctionConfiguration(context.Background(), &lambda.GetFunctionConfigurationInput{FunctionName: &f.name, Qualifier: &version})
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func (f *deployed) becomes(version string, want types.State) *lambda.GetFunctionConfigurationOutput {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c := f.configuration(version)
		if c.State == want {
			return c
		}
		if time.Now().After(end) {
			f.t.Fatalf("version %s is %s (%s), want %s", version, c.State, aws.ToString(c.StateReason), want)
		}
	}
}

func ownDir(t *testing.T) string {
	t.Helper()
	needRoot(t, "gvisor")
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// E-133: a version that nobody invokes for 14 days is Inactive and its snapshot goes; the invoke that finds it so fails with SnapStartNotReadyException and wakes
// it. The time counts from the last invoke, also of warm environments, over a restart of the server, and for versions that nobody used since.
func TestIdleVersionsBecomeInactive(t *testing.T) {
	t.Parallel()
	dir, clock := ownDir(t), &ahead{}
	s := aged(t, dir, clock, nil)
	f := s.js(`const born = Math.random(); exports.handler = async () => born`, snapStart)
	idle := s.js(`exports.handler = async () => 1`, snapStart)
	plain := s.js(`exports.handler = async () => 1`)
	if _, err := plain.client.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: &plain.name}); err != nil {
		t.Fatal(err)
	}
	for _, g := range []*deployed{f, idle} {
		if c := g.publish(); c.State != types.StateActive {
			t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
		}
	}
	first := f.invokeVersion("1", `{}`).ok(t)
	clock.move(13 * 24 * time.Hour)
	f.invokeVersion("1", `{}`).ok(t) // a warm one
	f.snapOnce("1", "used", func(n admin.Snapshot) bool { return clock.now().Sub(n.LastUsed) < time.Minute })
	clock.move(2 * 24 * time.Hour)

	c := idle.becomes("1", types.StateInactive) // nobody invoked it ever
	if c.StateReasonCode != "Idle" || aws.ToString(c.StateReason) == "" || c.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOff {
		t.Errorf("inactive: %s, %q, optimisation %s", c.StateReasonCode, aws.ToString(c.StateReason), c.SnapStart.OptimizationStatus)
	}
	idle.snapOnce("1", "without a snapshot", func(n admin.Snapshot) bool { return n.State == "inactive" && n.ID == "" })
	for _, m := range s.node.snapshots.Inside().Store.List() {
		if strings.HasSuffix(string(m.Key.Function), ":"+idle.name) {
			t.Errorf("its files are there: %s", m.ID)
		}
	}
	if st := f.configuration("1").State; st != types.StateActive {
		t.Errorf("the version that was used two days ago is %s", st)
	}
	if got := f.invokeVersion("1", `{}`).ok(t); got != first {
		t.Errorf("the snapshot of the version that was used went: %s, was %s", got, first)
	}

	// The last use is kept over a restart, though it is not written with every invoke.
	if err := s.node.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	clock.move(13 * 24 * time.Hour)
	s = aged(t, dir, clock, nil)
	f, idle, plain = &deployed{s, f.name}, &deployed{s, idle.name}, &deployed{s, plain.name}
	if st := f.configuration("1").State; st != types.StateActive {
		t.Errorf("after 13 days and a restart the version is %s", st)
	}
	if n := f.snap("1"); clock.now().Sub(n.LastUsed) < 12*24*time.Hour {
		t.Errorf("nobody used it since %v, it says %v", clock.now().Add(-13*24*time.Hour), n.LastUsed)
	}
	clock.move(2 * 24 * time.Hour)
	f.becomes("1", types.StateInactive) // without an invoke since the start
	if st := plain.configuration("1").State; st != types.StateActive {
		t.Errorf("a version without SnapStart is %s", st)
	}
	plain.invokeVersion("1", `{}`).ok(t)

	for range 2 {
		if st := f.configuration("1").State; st != types.StateInactive {
			t.Errorf("before it is woken the version is %s", st)
		}
		var notReady *types.SnapStartNotReadyException
		if a := f.invokeVersion("1", `{}`); !errors.As(a.err, &notReady) {
			t.Fatalf("the invoke that wakes it: %v %s", a.err, a.body)
		}
		if c := f.configuration("1"); c.State == types.StatePending && c.StateReasonCode != "Restoring" {
			t.Errorf("waking: %s %q", c.StateReasonCode, aws.ToString(c.StateReason))
		}
		c := f.becomes("1", types.StateActive)
		if c.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOn {
			t.Errorf("woken: optimisation %s", c.SnapStart.OptimizationStatus)
		}
		again := f.invokeVersion("1", `{}`)
		if got := again.ok(t); got == first || !strings.Contains(again.log, "Restore Duration") {
			t.Errorf("woken, it answers %s:\n%s", got, again.log)
		}
		time.Sleep(2 * snapstart.Tick) // it stays
		if st := f.configuration("1").State; st != types.StateActive {
			t.Errorf("a woken version is %s", st)
		}
		clock.move(15 * 24 * time.Hour)
		f.becomes("1", types.StateInactive)
	}
	if err := s.node.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// A version that cannot be woken is Inactive again, says why, and can be tried again.
func TestInactiveVersionThatDoesNotWake(t *testing.T) {
	t.Parallel()
	dir, clock := ownDir(t), &ahead{}
	s := aged(t, dir, clock, nil)
	defer s.node.Close(context.Background())
	// What fails is a priming event: a policy can be changed, a version cannot.
	f := s.js(`exports.handler = async (e) => { if (e.fail) throw new Error('the origin is down'); return 1 }`, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	a := s.node.snapshots
	prime := func(event string) {
		t.Helper()
		if _, err := a.SetPolicy(t.Context(), f.name+":1", &snapshot.Policy{Prime: []snapshot.Prime{{Name: "e", Count: 1, Event: []byte(event)}}}); err != nil {
			t.Fatal(err)
		}
	}
	prime(`{"fail":true}`)
	clock.move(15 * 24 * time.Hour)
	f.becomes("1", types.StateInactive)
	var notReady *types.SnapStartNotReadyException
	if a := f.invokeVersion("1", `{}`); !errors.As(a.err, &notReady) {
		t.Fatalf("the invoke that wakes it: %v %s", a.err, a.body)
	}
	var c *lambda.GetFunctionConfigurationOutput
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if c = f.configuration("1"); c.State == types.StateInactive && c.StateReasonCode == "FunctionError" {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("state %s, %s %q", c.State, c.StateReasonCode, aws.ToString(c.StateReason))
		}
	}
	if !strings.Contains(aws.ToString(c.StateReason), "the origin is down") {
		t.Errorf("reason %q", aws.ToString(c.StateReason))
	}
	prime(`{}`)
	if a := f.invokeVersion("1", `{}`); a.err == nil || !strings.Contains(a.err.Error(), "SnapStartRegenerationFailureException") || !strings.Contains(a.err.Error(), "the origin is down") {
		t.Errorf("after a failed wake: %v %s", a.err, a.body)
	}
	f.becomes("1", types.StateActive)
	f.invokeVersion("1", `{}`).ok(t)
}
