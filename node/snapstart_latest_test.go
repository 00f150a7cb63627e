package node

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/admin"
	"thaw/function"
	"thaw/snapshot"
	"thaw/snapstart"
)

// latest is what is known of the snapshots of $LATEST; the zero value when nothing is.
func (f *deployed) latest() admin.Snapshot {
	a := f.node.snapshots
	for _, d := range a.List() {
		if d.Function == f.name && d.Version == function.Latest {
			return d
		}
	}
	return admin.Snapshot{}
}

func (f *deployed) latestOnce(what string, ok func(admin.Snapshot) bool) admin.Snapshot {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		s := f.latest()
		if ok(s) {
			return s
		}
		if time.Now().After(end) {
			f.t.Fatalf("not %s: %+v", what, s)
		}
	}
}

func current(s admin.Snapshot) bool { return s.State == "current" }

// leave lets all environments of $LATEST go that did not begin from a snapshot, or all.
func (f *deployed) leave(snapshotID string) {
	f.node.pool.Outdate(function.ARN("arn:aws:lambda:eu-west-1:000000000000:function:"+f.name), function.Latest, snapshotID)
}

func (f *deployed) update(code string) {
	f.t.Helper()
	if _, err := f.client.UpdateFunctionCode(context.Background(), &lambda.UpdateFunctionCodeInput{FunctionName: &f.name, ZipFile: zipOf(f.t, map[string]string{"index.js": code})}); err != nil {
		f.t.Fatal(err)
	}
	err := lambda.NewFunctionUpdatedV2Waiter(f.client).Wait(context.Background(), &lambda.GetFunctionInput{FunctionName: &f.name}, time.Minute)
	if err != nil {
		f.t.Fatal(err)
	}
}

type latestState struct {
	Born float64
	Code int
	Type string
	Var  string
}

func (f *deployed) ask() (latestState, answer) {
	f.t.Helper()
	a := f.tail(`{}`)
	var st latestState
	if err := json.Unmarshal([]byte(a.ok(f.t)), &st); err != nil {
		f.t.Fatal(err)
	}
	return st, a
}

func latestCode(n int) string {
	return fmt.Sprintf(`const born = Math.random(); exports.handler = async () => ({ born, code: %d, type: process.env.AWS_LAMBDA_INITIALIZATION_TYPE, var: process.env.VAR })`, n)
}

// $LATEST of a function that asks for it has snapshots: it is no slower to deploy, runs Init until there is one, and never begins from one of other code or another
// configuration.
func TestSnapStartOfLatest(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(latestCode(1), tags(map[string]string{function.TagSnapStartLatest: "on"}), vars(map[string]string{"VAR": "a"}))
	time.Sleep(2*snapstart.Tick + snapstart.QuietTime)
	if n := f.latest(); n.State != "" {
		t.Errorf("one was made that nobody needs: %+v", n)
	}
	if st, _ := f.ask(); st.Type != "on-demand" || st.Code != 1 {
		t.Errorf("before there is one: %+v", st)
	}
	made := f.latestOnce("made", current)
	c := f.configuration(function.Latest)
	if c.SnapStart.ApplyOn != types.SnapStartApplyOnNone || c.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOn || c.State != types.StateActive {
		t.Errorf("%+v, state %s", c.SnapStart, c.State)
	}
	if st, a := f.ask(); st.Type != "on-demand" || strings.Contains(a.log, "Duration: 0 ms\tInit") {
		t.Errorf("the warm environment went because of it: %+v\n%s", st, a.log)
	}
	f.leave(made.ID)
	one, a := f.ask()
	if one.Type != "snap-start" || !strings.Contains(a.log, "Restore Duration") || one.Var != "a" {
		t.Errorf("restored: %+v\n%s", one, a.log)
	}
	f.leave("")
	if two, _ := f.ask(); two.Born != one.Born {
		t.Errorf("the second copy ran Init: %+v, %+v", one, two)
	}

	f.update(latestCode(2))
	st, _ := f.ask()
	if st.Code != 2 || st.Type != "on-demand" {
		t.Errorf("after an update: %+v", st)
	}
	if c := f.configuration(function.Latest); c.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOff {
		t.Errorf("after an update: %+v", c.SnapStart)
	}
	next := f.latestOnce("made of the new code", func(n admin.Snapshot) bool { return current(n) && n.ID != made.ID })
	f.leave(next.ID)
	if st, _ := f.ask(); st.Code != 2 || st.Type != "snap-start" {
		t.Errorf("of the new code: %+v", st)
	}

	if _, err := f.client.UpdateFunctionConfiguration(context.Background(), &lambda.UpdateFunctionConfigurationInput{FunctionName: &f.name, Environment: &types.Environment{Variables: map[string]string{"VAR": "b"}}}); err != nil {
		t.Fatal(err)
	}
	if err := lambda.NewFunctionUpdatedV2Waiter(f.client).Wait(context.Background(), &lambda.GetFunctionInput{FunctionName: &f.name}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if st, _ := f.ask(); st.Var != "b" || st.Type != "on-demand" {
		t.Errorf("after a change of the configuration: %+v", st)
	}
	last := f.latestOnce("made of the new configuration", func(n admin.Snapshot) bool { return current(n) && n.ID != next.ID })

	// Without the tag it goes.
	arn := strings.TrimSuffix(last.ARN, ":"+function.Latest)
	if _, err := f.client.TagResource(t.Context(), &lambda.TagResourceInput{Resource: &arn, Tags: map[string]string{function.TagSnapStartLatest: "perhaps"}}); err == nil {
		t.Error("a value that is neither on nor off was taken")
	}
	if _, err := f.client.UntagResource(t.Context(), &lambda.UntagResourceInput{Resource: &arn, TagKeys: []string{function.TagSnapStartLatest}}); err != nil {
		t.Fatal(err)
	}
	f.ask()
	f.latestOnce("let go", func(n admin.Snapshot) bool { return n.State == "shelved" && n.ID == "" })
	f.leave("")
	if st, _ := f.ask(); st.Type != "on-demand" {
		t.Errorf("without the tag: %+v", st)
	}
}

// A function that is deployed again and again, and invoked each time, has no snapshot made of each: it is made when the code has come to rest. One whose Init fails is
// served by Init as ever, and gets its snapshot when the code is mended.
func TestLatestThatChangesOften(t *testing.T) {
	s := shared(t, "gvisor")
	f := s.js(latestCode(0), tags(map[string]string{function.TagSnapStartLatest: "on"}))
	began := time.Now()
	n := 1
	for ; time.Since(began) < 2*snapstart.QuietTime; n++ {
		f.update(latestCode(n))
		if st, _ := f.ask(); st.Code != n {
			t.Fatalf("asked code %d, got %+v", n, st)
		}
	}
	made := f.latestOnce("made", current)
	if n < 4 || made.Generation != 1 {
		t.Errorf("%d updates, and generation %d", n, made.Generation)
	}
	f.update(`throw new Error('no snapshot of this')`)
	if a := f.invoke(`{}`); a.functionError == "" {
		t.Errorf("a function that throws answers %s", a.body)
	}
	broken := f.latestOnce("tried", func(n admin.Snapshot) bool { return n.Failures > 0 && n.State == "lapsed" })
	if !strings.Contains(broken.LastError, "no snapshot of this") {
		t.Errorf("%+v", broken)
	}
	if c := f.configuration(function.Latest); c.State != types.StateActive || c.LastUpdateStatus != types.LastUpdateStatusSuccessful {
		t.Errorf("state %s, update %s", c.State, c.LastUpdateStatus)
	}
	f.update(latestCode(99))
	f.ask()
	f.latestOnce("made of the mended code", current)
}

// --snapstart all: every version and $LATEST of every function, in the background; a publish does not wait. A refresh policy holds for them, too. Two weeks without an
// invoke cost the snapshot, and nothing else.
func TestSnapStartForAll(t *testing.T) {
	t.Parallel()
	dir, clock := ownDir(t), &ahead{}
	s := aged(t, dir, clock, func(c *Config) { c.SnapStart = "all" })
	defer func() { s.node.Close(context.Background()) }()
	f := s.js(latestCode(1), tags(map[string]string{snapshot.TagRefresh: "30s max=10m"}))
	v, err := f.client.PublishVersion(t.Context(), &lambda.PublishVersionInput{FunctionName: &f.name})
	if err != nil || v.State != types.StateActive || v.SnapStart.ApplyOn != types.SnapStartApplyOnNone {
		t.Fatalf("%+v, %v", v, err)
	}
	f.ask()
	f.invokeVersion("1", `{}`).ok(t)
	l := f.latestOnce("made", current)
	n := f.snapOnce("1", "made", current)
	for _, x := range []admin.Snapshot{l, n} {
		if x.PolicyFrom != "tags" || x.Expires.IsZero() {
			t.Errorf("%+v", x)
		}
	}
	f.node.pool.Outdate(function.ARN(strings.TrimSuffix(n.ARN, ":1")), "1", n.ID)
	if a := f.invokeVersion("1", `{}`); !strings.Contains(a.ok(t), `"snap-start"`) {
		t.Errorf("restored: %s", a.body)
	}
	f.snapOnce("1", "refreshed", func(x admin.Snapshot) bool { return current(x) && x.Generation > n.Generation })
	if c := f.configuration("1"); c.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOn {
		t.Errorf("%+v", c.SnapStart)
	}
	for _, version := range []string{"1", function.Latest} {
		if _, err := s.node.snapshots.SetPolicy(t.Context(), f.name+":"+version, &snapshot.Policy{}); err != nil {
			t.Fatal(err)
		}
	}
	f.snapOnce("1", "at rest", current)
	clock.move(15 * 24 * time.Hour)
	f.latestOnce("let go", func(x admin.Snapshot) bool { return x.State == "shelved" })
	f.snapOnce("1", "let go", func(x admin.Snapshot) bool { return x.State == "shelved" })
	for _, version := range []string{"1", function.Latest} {
		if c := f.configuration(version); c.State != types.StateActive || c.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOff {
			t.Errorf("%s: state %s, %+v", version, c.State, c.SnapStart)
		}
	}
	f.invokeVersion("1", `{}`).ok(t) // no 409: it never asked for SnapStart
	f.snapOnce("1", "made again", current)
}

// A strict server has no snapshots of $LATEST, whatever the tag says, and refuses what AWS refuses.
func TestSnapStartStrict(t *testing.T) {
	t.Parallel()
	dir, clock := ownDir(t), &ahead{}
	s := aged(t, dir, clock, func(c *Config) { c.Strict = true })
	defer s.node.Close(context.Background())
	f := s.js(latestCode(1), tags(map[string]string{function.TagSnapStartLatest: "on"}))
	f.ask()
	time.Sleep(snapstart.QuietTime + 2*snapstart.Tick)
	f.ask()
	if n := f.latest(); n.State != "" {
		t.Errorf("%+v", n)
	}
	name := f.name + "-tmp"
	in := &lambda.CreateFunctionInput{FunctionName: &name, Runtime: types.RuntimePython312, Handler: aws.String("index.handler"), Role: aws.String("arn:aws:iam::000000000000:role/r"),
		Code: &types.FunctionCode{ZipFile: zipOf(t, map[string]string{"index.py": ""})}, EphemeralStorage: &types.EphemeralStorage{Size: aws.Int32(513)}}
	snapStart(in)
	if _, err := f.client.CreateFunction(t.Context(), in); err == nil || !strings.Contains(err.Error(), "InvalidParameterValueException: Ephemeral storage of more than 512 MB") {
		t.Errorf("513 MB of /tmp: %v", err)
	}
	if c := testConfig("gvisor", dir); true {
		c.Strict, c.SnapStart = true, "all"
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), "snapstart") {
			t.Errorf("strict and all: %v", err)
		}
	}
}

// With more /tmp than AWS allows beside SnapStart: what Init wrote there is in the copies, each has its own, and the size is that of the function.
func TestSnapStartWithLargeTmp(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`const fs = require('fs'), crypto = require('crypto')
		const data = crypto.randomBytes(20 << 20); fs.writeFileSync('/tmp/model', data); const sum = crypto.createHash('sha256').update(data).digest('hex')
		exports.handler = async (e) => {
			const st = fs.statfsSync('/tmp'); let mib = 0, why = ''
			const same = crypto.createHash('sha256').update(fs.readFileSync('/tmp/model')).digest('hex') === sum, mine = fs.readdirSync('/tmp').sort().join()
			fs.writeFileSync('/tmp/mine', 'x')
			if (e.fill) { const fd = fs.openSync('/tmp/fill', 'w'), b = Buffer.alloc(1 << 20)
				try { for (;;) { if (fs.writeSync(fd, b) < b.length) { why = 'short'; break } mib++ } } catch (err) { why = err.code } fs.closeSync(fd); fs.unlinkSync('/tmp/fill') }
			return { same, mine, total: st.blocks * st.bsize >> 20, mib, why } }`, snapStart, memory(1024), func(in *lambda.CreateFunctionInput) {
		in.EphemeralStorage = &types.EphemeralStorage{Size: aws.Int32(600)}
	})
	if c := f.publish(); c.State != types.StateActive || c.SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOn {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	for i := range 2 {
		var got struct {
			Same       bool
			Mine, Why  string
			Total, MiB int
		}
		if err := json.Unmarshal([]byte(f.invokeVersion("1", fmt.Sprintf(`{"fill":%v}`, i == 1)).ok(t)), &got); err != nil {
			t.Fatal(err)
		}
		if !got.Same || got.Mine != "model" || got.Total != 600 {
			t.Errorf("a copy has %+v", got)
		}
		if i == 1 && (got.MiB < 570 || got.MiB > 580 || got.Why != "ENOSPC" && got.Why != "short") {
			t.Errorf("a copy of 600 MiB with 20 in use took %d more, then %q", got.MiB, got.Why)
		}
		f.node.pool.Outdate(function.ARN("arn:aws:lambda:eu-west-1:000000000000:function:"+f.name), "1", "")
	}
}
