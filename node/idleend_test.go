package node

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/admin"
	"thaw/execenv"
	"thaw/snapshot"
)

// An environment that lies idle past the end of its snapshot serves nobody any more, and what had begun in it before
// the end finishes. Refreshing fails here, so Init runs for callers after the end; when it succeeds again there are
// snapshots again.
func TestARestoredEnvironmentIdlesPastItsSnapshotsEnd(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	// Snapshots cannot be made in the time between the two moments.
	from, to := time.Now().Add(40*time.Second), time.Now().Add(100*time.Second)
	f := s.js(`const how = process.env.AWS_LAMBDA_INITIALIZATION_TYPE, born = Date.now(); let count = 0
		if (how === 'snap-start' && born > Number(process.env.FROM) && born < Number(process.env.TO)) throw new Error('the origin is down')
		exports.handler = async (e) => { const age = Date.now() - born; count++; if (e.ms) await new Promise(r => setTimeout(r, e.ms)); return { how, age, count } }`, snapStart,
		vars(map[string]string{"FROM": strconv.FormatInt(from.UnixMilli(), 10), "TO": strconv.FormatInt(to.UnixMilli(), 10)}),
		func(in *lambda.CreateFunctionInput) { in.Tags = map[string]string{snapshot.TagRefresh: "15s max=40s"} })
	f.active()
	type state struct {
		How        string
		Age, Count int
	}
	ask := func(ms int) (got state) {
		t.Helper()
		body := f.invokeVersion("1", fmt.Sprintf(`{"ms":%d}`, ms)).ok(t)
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(body)
		}
		if got.Age > 40_000 {
			t.Errorf("an answer of a snapshot that is %d ms old", got.Age)
		}
		return got
	}
	if got := ask(0); got.How != "snap-start" {
		t.Fatalf("at first: %+v", got)
	}
	last := f.snapOnce("1", "failing to refresh", func(n admin.Snapshot) bool { return n.Failures > 0 })
	if got := ask(0); got.How != "snap-start" || !time.Now().Before(last.Expires) {
		t.Fatalf("before the end at %v: %+v", last.Expires, got)
	}
	of := func(snapshot string) (list []execenv.Status) {
		for _, e := range f.node.pool.Environments() {
			if e.Function == f.name && e.Qualifier == "1" && e.Snapshot == snapshot {
				list = append(list, e)
			}
		}
		return list
	}
	if len(of(last.ID)) == 0 {
		t.Fatalf("nothing lies idle: %+v", f.node.pool.Environments())
	}
	time.Sleep(time.Until(last.Expires.Add(-2 * time.Second)))
	finishes := make(chan state, 1)
	go func() { finishes <- ask(6000) }() // begins before the end
	time.Sleep(time.Until(last.Expires.Add(100 * time.Millisecond)))
	if got := ask(0); got.How != "on-demand" || got.Count != 1 {
		t.Errorf("after the end, and without another snapshot: %+v", got)
	}
	if got := <-finishes; got.How != "snap-start" {
		t.Errorf("what had begun before the end: %+v", got)
	}
	for end := time.Now().Add(time.Minute); len(of(last.ID)) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("environments past the end stay: %+v", of(last.ID))
		}
	}
	time.Sleep(time.Until(to))
	if _, err := f.node.snapshots.Refresh(t.Context(), f.name+":1"); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		if got := ask(0); got.How == "snap-start" {
			break
		}
		if time.Now().After(end) {
			t.Fatal("Init runs though there is a snapshot")
		}
	}
}

// Environments that were restored have credentials for six hours. No invoke begins in one that could see them end, busy
// or idle, spare or provisioned.
func TestNoInvokeSeesItsCredentialsEnd(t *testing.T) {
	t.Parallel()
	dir, clock := ownDir(t), &ahead{}
	s := aged(t, dir, clock, func(c *Config) { c.IdleExpiry, c.SpareWindow = 1000*time.Hour, 1000*time.Hour })
	defer s.node.Close(context.Background())
	f := s.js(countInvokes, snapStart, timeout(60))
	f.active()
	count := func() string { t.Helper(); return f.invokeVersion("1", `{}`).ok(t) }
	count()
	if first := count(); !strings.Contains(first, `"count":2`) {
		t.Fatalf("one after the other: %s", first)
	}
	clock.move(execenv.CredentialsLife - 2*time.Minute)
	if got := count(); !strings.Contains(got, `"count":3`) {
		t.Errorf("before its credentials end: %s", got)
	}
	clock.move(time.Minute) // an invoke may take as long
	if got := count(); !strings.Contains(got, `"count":1`) {
		t.Errorf("its credentials could end within this invoke: %s", got)
	}
}

// Go's time.Time carries the monotonic clock and compares by it, and that clock stands still while the host sleeps:
// what a snapshot's life is counted by must not have it.
func TestASnapshotsLifeIsCountedByTheWallClock(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`exports.handler = async () => 1`, snapStart, func(in *lambda.CreateFunctionInput) { in.Tags = map[string]string{snapshot.TagRefresh: "1h"} })
	f.active()
	n := f.snap("1")
	for what, at := range map[string]time.Time{"born": n.Born, "created": n.Created, "expires": n.Expires} {
		if at.IsZero() || strings.Contains(at.String(), "m=") {
			t.Errorf("%s: %v", what, at)
		}
	}
}
