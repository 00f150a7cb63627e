package node

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"thaw/admin"
	"thaw/logstore"
	"thaw/samples"
	"thaw/snapshot"
)

// snap is what the server knows of a version's snapshots.
func (f *deployed) snap(version string) admin.Snapshot {
	f.t.Helper()
	list := f.node.snapshots.List()
	i := slices.IndexFunc(list, func(s admin.Snapshot) bool { return s.Function == f.name && s.Version == version })
	if i < 0 {
		f.t.Fatalf("version %s of %s has no snapshots", version, f.name)
	}
	return list[i]
}

func (f *deployed) snapOnce(version, what string, ok func(admin.Snapshot) bool) admin.Snapshot {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		s := f.snap(version)
		if ok(s) {
			return s
		}
		if time.Now().After(end) {
			f.t.Fatalf("not %s: %+v", what, s)
		}
	}
}

// A version that caches an answer which is good for a short time is refreshed under load: nobody sees an answer past its time, nobody fails, and Init
// runs in the background alone.
func TestRefreshUnderLoad(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	code, err := samples.Zip("nodejs-cached")
	if err != nil {
		t.Fatal(err)
	}
	// The answer is good for a minute and a new one is had every 5 s: a machine that is busy with other tests can miss the latter (a making took 20 s on one),
	// and must not miss the former, because then Init would run for callers, rightly.
	const interval, good = 5 * time.Second, time.Minute
	f := s.deployZip(installed(t, s, "nodejs"), code, snapStart, vars(map[string]string{"TTL": "60"}), func(in *lambda.CreateFunctionInput) {
		in.Tags = map[string]string{snapshot.TagRefresh: "5s max=2m"}
	})
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	first := f.snap("1")
	if d := first.StatedExpiry.Sub(first.Born); d < good-time.Second || d > good+15*time.Second {
		t.Errorf("the function stated an end %v after its birth, want about %v", d, good)
	}
	if !first.Expires.Equal(first.StatedExpiry) || first.Policy.Interval != interval || first.PolicyFrom != "tags" {
		t.Errorf("what was stated does not count: %+v", first)
	}

	type state struct {
		Asked, AgeMs        int64
		MaxAge, Initialised int
		How                 string
	}
	var mu sync.Mutex
	asked := map[int64]int{}
	var oldest time.Duration
	invokes, worst := 0, time.Duration(0)
	stop := make(chan struct{})
	var load sync.WaitGroup
	for range 3 {
		load.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				began := time.Now()
				a := f.invokeVersion("1", `{}`)
				took := time.Since(began)
				if a.err != nil || a.functionError != "" {
					t.Errorf("invoke: %v %s %s", a.err, a.functionError, a.body)
					return
				}
				var st state
				if err := json.Unmarshal([]byte(a.body), &st); err != nil {
					t.Error(err)
					return
				}
				if st.How != "snap-start" || st.Initialised != 1 || st.MaxAge != 60 {
					t.Errorf("answered by %+v", st)
				}
				if strings.Contains(a.log, "Init Duration") {
					t.Errorf("a caller waited for Init:\n%s", a.log)
				}
				time.Sleep(5 * time.Millisecond) // a load, not all that the machine has
				mu.Lock()
				asked[st.Asked]++
				invokes++
				oldest, worst = max(oldest, time.Duration(st.AgeMs)*time.Millisecond), max(worst, took)
				mu.Unlock()
			}
		})
	}
	last := f.snapOnce("1", "refreshed twice", func(n admin.Snapshot) bool { return n.Generation >= first.Generation+2 })
	time.AfterFunc(2*time.Second, func() { close(stop) }) // some more from the last one
	load.Wait()
	t.Logf("%d invokes, %d generations, oldest answer %v, slowest invoke %v", invokes, len(asked), oldest, worst)
	if oldest > good {
		t.Errorf("an answer was %v old, and good for %v", oldest, good)
	}
	if len(asked) < 2 {
		t.Errorf("%d generations answered", len(asked))
	}

	now := f.snapOnce("1", "at rest", func(n admin.Snapshot) bool { return n.Generation >= last.Generation && n.State == "current" })
	if _, err := f.node.snapshots.SetPolicy(t.Context(), f.name+":1", &snapshot.Policy{}); err != nil { // no more of them
		t.Fatal(err)
	}
	events, err := f.node.logs.Filter(t.Context(), logstore.Query{Group: "/aws/lambda/" + f.name})
	if err != nil {
		t.Fatal(err)
	}
	inits, streams := 0, map[string]bool{}
	for _, e := range events {
		if strings.Contains(e.Message, "initialised") {
			inits++
			streams[e.Stream] = true
		}
	}
	for _, e := range events { // who ran Init served nobody
		if streams[e.Stream] && strings.HasPrefix(e.Message, "START ") {
			t.Errorf("an environment that ran Init was invoked: %s", e.Message)
		}
	}
	if uint64(inits) < now.Generation || inits != len(streams) || uint64(inits) > f.snap("1").Generation+1 {
		t.Errorf("Init ran %d times in %d environments for %d generations", inits, len(streams), now.Generation)
	}
	// Environments of former generations go, and so do their files.
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		var old []string
		for _, e := range f.node.pool.Environments() {
			if e.Function == f.name && e.Qualifier == "1" && e.Snapshot != f.snap("1").ID {
				old = append(old, e.ID+" "+e.State)
			}
		}
		for _, m := range f.node.snapshots.Inside().Store.List() {
			if strings.HasSuffix(string(m.Key.Function), ":"+f.name) && string(m.ID) != f.snap("1").ID && f.snap("1").Making == 0 {
				old = append(old, "files of generation "+string(m.ID))
			}
		}
		if len(old) == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("left of former generations: %q", old)
		}
	}
}

// A refresh on demand makes the next generation; one that fails says why, and the old generation goes on.
func TestRefreshOnDemand(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	// Init fails once the host's clock has passed UNTIL, which is after the publish and one refresh.
	until := time.Now().Add(15 * time.Second)
	f := s.js(`if (Date.now() > Number(process.env.UNTIL)) throw new Error('the origin is down')
		exports.handler = async () => process.env.AWS_LAMBDA_INITIALIZATION_TYPE`, snapStart, vars(map[string]string{"UNTIL": strconv.FormatInt(until.UnixMilli(), 10)}))
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	a := f.node.snapshots
	before := f.snap("1")
	after, err := a.Refresh(t.Context(), f.name+":1")
	if err != nil || after.Generation != before.Generation+1 || after.ID == before.ID {
		t.Fatalf("refresh: %+v, %v", after, err)
	}
	time.Sleep(time.Until(until))
	var refused *admin.RefusedError
	if _, err := a.Refresh(t.Context(), f.name+":1"); !errors.As(err, &refused) || !strings.Contains(err.Error(), "the origin is down") {
		t.Errorf("refresh: %v", err)
	}
	if got := f.invokeVersion("1", `{}`).ok(t); got != `"snap-start"` {
		t.Errorf("the old generation does not answer: %s", got)
	}
	if n := f.snap("1"); n.State != "current" || n.ID != after.ID || n.Failures != 1 || !strings.Contains(n.LastError, "the origin is down") {
		t.Errorf("%+v", n)
	}
}

// After a restart of the server, versions are refreshed though nobody invokes them.
func TestRefreshAfterARestart(t *testing.T) {
	t.Parallel()
	needRoot(t, "gvisor")
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	s := openServer(t, "gvisor", dir)
	f := s.js(`exports.handler = async () => 1`, snapStart, func(in *lambda.CreateFunctionInput) { in.Tags = map[string]string{snapshot.TagRefresh: "10s max=10m"} })
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	if err := s.node.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	s = openServer(t, "gvisor", dir)
	defer s.node.Close(context.Background())
	g := &deployed{s, f.name}
	before := g.snap("1")
	if before.PolicyFrom != "tags" || before.Policy.Interval != 10*time.Second {
		t.Errorf("after the restart: %+v", before)
	}
	g.snapOnce("1", "refreshed", func(n admin.Snapshot) bool { return n.Generation > before.Generation && n.State == "current" })
}

// Tags change the policy of versions that are there, and nonsense is refused as AWS refuses values.
func TestRefreshTags(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(`exports.handler = async () => 1`, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	ctx, arn := context.Background(), strings.TrimSuffix(f.snap("1").ARN, ":1")
	if s := f.snap("1"); s.PolicyFrom != "none" || !s.Expires.IsZero() {
		t.Errorf("without tags: %+v", s)
	}
	tag := func(value string) error {
		_, err := f.client.TagResource(ctx, &lambda.TagResourceInput{Resource: &arn, Tags: map[string]string{snapshot.TagRefresh: value}})
		return err
	}
	for _, bad := range []string{"soon", "1s", "10m max=1m", ""} {
		var api smithy.APIError
		if err := tag(bad); !errors.As(err, &api) || api.ErrorCode() != "InvalidParameterValueException" || !strings.Contains(api.ErrorMessage(), "thaw:snapshot-refresh") && !strings.Contains(api.ErrorMessage(), "olicy") {
			t.Errorf("tag %q: %v", bad, err)
		}
	}
	if err := tag("10m max=1h"); err != nil {
		t.Fatal(err)
	}
	n := f.snapOnce("1", "under the tag's policy", func(s admin.Snapshot) bool { return s.Expires.Equal(s.Born.Add(time.Hour)) })
	if n.PolicyFrom != "tags" || n.Policy.Interval != 10*time.Minute || n.RefreshAt.IsZero() {
		t.Errorf("%+v", n)
	}
	if _, err := f.client.UntagResource(ctx, &lambda.UntagResourceInput{Resource: &arn, TagKeys: []string{snapshot.TagRefresh}}); err != nil {
		t.Fatal(err)
	}
	f.snapOnce("1", "without a policy", func(s admin.Snapshot) bool { return s.Expires.IsZero() && s.PolicyFrom == "none" })
	if _, err := f.node.snapshots.Refresh(ctx, "nobody:1"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a version that is not there: %v", err)
	}
}

// The doctor finds what a function does wrong, and does not find what it does right.
func TestSnapshotDoctor(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	const expired = "eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjEwMDAwMDAwMDB9.c2lnbmF0dXJl" // {"exp":1000000000}
	careless := s.js(`const crypto = require('crypto'); const id = crypto.randomUUID(), secret = crypto.randomBytes(16).toString('hex'), at = new Date().toISOString()
		const file = '/tmp/upload-' + Math.random().toString(36).slice(2)
		exports.handler = async (e) => { console.log('Error: read ECONNRESET'); return { id, nested: [{ secret }], at, file, same: e.id } }`, snapStart, vars(map[string]string{"TOKEN": expired}))
	careful := s.js(`const crypto = require('crypto')
		exports.handler = async (e) => ({ id: crypto.randomUUID(), at: new Date().toISOString(), now: Date.now(), file: '/tmp/' + crypto.randomUUID(), echo: e.id })`, snapStart)
	for _, f := range []*deployed{careless, careful} {
		if c := f.publish(); c.State != types.StateActive {
			t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
		}
	}
	a := s.node.snapshots
	time.Sleep(time.Until(careful.snap("1").Created.Add(10*time.Second + time.Second))) // a clock must have had the time to go wrong
	for _, tc := range []struct {
		name string
		f    *deployed
		want map[string]string
		says map[string]string
	}{
		{"what is drawn and kept during Init is told", careless,
			map[string]string{"answer": "ok", "random values": "warn", "clock": "warn", "credentials": "fail", "temporary files": "warn", "connections": "warn", "age": "warn"},
			map[string]string{"random values": ".id, .nested[0].secret.", "clock": ".at", "credentials": "TOKEN", "temporary files": ".file"}},
		{"what is drawn in the handler is not", careful,
			map[string]string{"answer": "ok", "random values": "ok", "clock": "ok", "credentials": "ok", "temporary files": "ok", "connections": "unseen", "age": "warn"}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := a.Doctor(t.Context(), tc.f.name, []byte(`{"id":"3f2b8f0e-9b1c-4d58-a3de-6f1f3e0a7c11"}`))
			if err != nil {
				t.Fatal(err)
			}
			var seen []string
			for _, x := range d.Findings {
				seen = append(seen, x.Check)
				if x.Result != tc.want[x.Check] || !strings.Contains(x.Text, tc.says[x.Check]) {
					t.Errorf("%s is %s: %s; want %s, %q", x.Check, x.Result, x.Text, tc.want[x.Check], tc.says[x.Check])
				}
				if strings.Contains(x.Text, expired) {
					t.Errorf("the token is told: %s", x.Text)
				}
			}
			if slices.Sort(seen); len(seen) != len(tc.want) || d.Copies[0].Env == d.Copies[1].Env {
				t.Errorf("looked at %q in %+v", seen, d.Copies)
			}
		})
	}
	for _, e := range s.node.pool.Environments() {
		if e.Function == careful.name {
			t.Errorf("the doctor used the pool: %+v", e)
		}
	}
}
