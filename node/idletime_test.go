package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/execenv"
)

// idleTimes are how long environments lie idle: past what a call to a sandbox may take (10 s), past what gVisor's
// watchdog grants a task (30 s), and past two minutes.
var idleTimes = []time.Duration{12 * time.Second, 45 * time.Second, 130 * time.Second}

// countInvokes answers after e.ms with how many invokes its environment has seen, its version and its clock.
const countInvokes = `let count = 0; exports.handler = async (e) => { const now = Date.now(); count++; if (e.ms) await new Promise(r => setTimeout(r, e.ms))
	return { count, now, n: e.n, version: process.env.AWS_LAMBDA_FUNCTION_VERSION } }`

// idleKinds are the ways in which an environment comes to lie idle. make returns the version that is invoked
// afterwards; lie is how many environments of it lie idle then.
var idleKinds = []struct {
	name      string
	snapshots bool // it needs a sandbox that makes them
	lie       int
	opts      []option
	make      func(f *deployed) string
}{
	{name: "cold-started, $LATEST", lie: 1, make: func(f *deployed) string {
		f.invoke(`{}`).ok(f.t)
		return "$LATEST"
	}},
	{name: "cold-started, a version", lie: 1, make: func(f *deployed) string {
		f.version1()
		f.invokeVersion("1", `{}`).ok(f.t)
		return "1"
	}},
	{name: "provisioned", lie: 1, make: func(f *deployed) string {
		f.version1()
		return f.provisioned1()
	}},
	{name: "provisioned from a snapshot", snapshots: true, lie: 1, opts: []option{snapStart}, make: func(f *deployed) string {
		f.active()
		return f.provisioned1()
	}},
	{name: "restored, and a spare", snapshots: true, lie: 2, opts: []option{snapStart}, make: func(f *deployed) string {
		f.active()
		done := make(chan answer, 1)
		go func() { done <- f.invokeVersion("1", `{"ms":1000}`) }()
		f.frozenSpare()
		a := <-done
		a.ok(f.t)
		return "1"
	}},
	{name: "restored, $LATEST", snapshots: true, lie: 2, opts: []option{func(in *lambda.CreateFunctionInput) { in.Tags = map[string]string{"thaw:snapshot-latest": "on"} }},
		make: func(f *deployed) string {
			f.invoke(`{}`).ok(f.t)
			for end := time.Now().Add(time.Minute); f.configuration("$LATEST").SnapStart.OptimizationStatus != types.SnapStartOptimizationStatusOn; time.Sleep(50 * time.Millisecond) {
				if time.Now().After(end) {
					f.t.Fatal("$LATEST gets no snapshot")
				}
			}
			f.together("$LATEST", 2, 1500)
			return "$LATEST"
		}},
	{name: "after a refresh", snapshots: true, lie: 1, opts: []option{snapStart}, make: func(f *deployed) string {
		f.active()
		f.invokeVersion("1", `{}`).ok(f.t)
		old := f.snap("1").ID
		if _, err := f.node.snapshots.Refresh(context.Background(), f.name+":1"); err != nil {
			f.t.Fatal(err)
		}
		f.frozenSpare(old)
		return "1"
	}},
}

func (f *deployed) active() {
	f.t.Helper()
	if c := f.publish(); c.State != types.StateActive {
		f.t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
}

func (f *deployed) provisioned1() string {
	f.t.Helper()
	f.provision(1)
	if out := f.allocated(); out.Status != types.ProvisionedConcurrencyStatusEnumReady {
		f.t.Fatalf("%+v", out)
	}
	return "1"
}

// together sends n invokes at once, each of which keeps its environment for some milliseconds, and looks at the answers.
func (f *deployed) together(version string, n, ms int) {
	f.t.Helper()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			sent := time.Now()
			a := f.invokeVersion(version, fmt.Sprintf(`{"ms":%d,"n":%d}`, ms, i))
			if a.err != nil || a.functionError != "" {
				f.t.Errorf("invoke %d: %v %s %s", i, a.err, a.functionError, a.body)
				return
			}
			var got struct {
				Count, N int
				Now      int64
				Version  string
			}
			if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.N != i || got.Version != version {
				f.t.Errorf("invoke %d is answered by %s (%v)", i, a.body, err)
			}
			const slack = 100 * time.Millisecond
			if now := time.UnixMilli(got.Now); now.Before(sent.Add(-slack)) || now.After(time.Now().Add(slack)) {
				f.t.Errorf("sent at %v, and the function's clock says %v", sent, now)
			}
		})
	}
	wg.Wait()
}

// lying waits until n environments of a version lie frozen, and returns all that do. There may be more on their way: spares.
func (f *deployed) lying(version string, n int) (list []execenv.Status) {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		list = list[:0]
		busy := false
		for _, e := range f.node.pool.Environments() {
			if e.Function == f.name && e.Qualifier == version && e.State == "Frozen" {
				list = append(list, e)
			}
			busy = busy || e.Function == f.name && e.Qualifier == version && e.State != "Frozen" && e.Invokes > 0
		}
		if len(list) >= n && !busy {
			return list
		}
		if time.Now().After(end) {
			f.t.Fatalf("want %d frozen environments of version %s, have %+v", n, version, list)
		}
	}
}

// An environment answers after idle time of any length, however it came to be: the same environment, which was frozen
// all the while. All lie idle at the same time, beside other tests; what lies for longest is made first.
func TestAnswersAfterIdleTime(t *testing.T) {
	t.Parallel()
	type lying struct {
		name, version string
		f             *deployed
		before        []execenv.Status
		idle          time.Duration
	}
	var all []lying
	for _, idle := range slices.Backward(idleTimes) {
		for _, sandbox := range sandboxes {
			if sandbox == "gvisor" && os.Geteuid() != 0 {
				t.Log("the gvisor sandbox needs root: left out")
				continue
			}
			for _, k := range idleKinds {
				if k.snapshots && sandbox == "process" {
					continue
				}
				f := shared(t, sandbox).js(countInvokes, append([]option{timeout(5), memory(128)}, k.opts...)...)
				version := k.make(f)
				all = append(all, lying{fmt.Sprintf("%s/%s/%v", sandbox, k.name, idle), version, f, f.lying(version, k.lie), idle})
			}
		}
	}
	due := func(l lying) (at time.Time) {
		for _, e := range l.before {
			if frozen := e.Since.Add(l.idle); frozen.After(at) {
				at = frozen
			}
		}
		return at
	}
	slices.SortFunc(all, func(a, b lying) int { return due(a).Compare(due(b)) })
	for _, l := range all {
		t.Run(l.name, func(t *testing.T) {
			time.Sleep(time.Until(due(l)))
			server := *l.f.server
			server.t = t
			f := &deployed{&server, l.f.name}
			for _, b := range l.before {
				if e := f.env(b.ID); e == nil || e.State != "Frozen" || !e.Since.Equal(b.Since) {
					t.Errorf("environment %s did not lie idle for %v: %+v", b.ID, l.idle, e)
				}
			}
			f.together(l.version, len(l.before), 1000)
			for _, b := range l.before {
				if e := f.env(b.ID); e == nil || e.Invokes != b.Invokes+1 {
					t.Errorf("environment %s, which lay idle, did not answer: %+v", b.ID, e)
				}
			}
		})
	}
}

// A function that is frozen between its invokes has the right time in each of them. gVisor corrects its clock as if it
// ran all the while: each of a row of freezes of more than two seconds made an error grow by as many times as it had
// seconds.
func TestClockOfAFunctionThatIsFrozenAgainAndAgain(t *testing.T) {
	t.Parallel()
	f := shared(t, "gvisor").js(countInvokes, memory(128))
	worst := time.Duration(0)
	for range 14 {
		sent := time.Now()
		var got struct{ Now int64 }
		if body := f.invoke(`{}`).ok(t); json.Unmarshal([]byte(body), &got) != nil {
			t.Fatal(body)
		}
		now := time.UnixMilli(got.Now)
		worst = max(worst, sent.Sub(now), time.Until(now))
		f.lying("$LATEST", 1)
		time.Sleep(4 * time.Second)
	}
	t.Logf("the clock was off by %v at most", worst)
	if worst > 20*time.Millisecond {
		t.Errorf("the function's clock was off by %v", worst)
	}
}
