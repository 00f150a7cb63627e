package node

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"

	"thaw/admin"
	"thaw/execenv"
)

// echoSlowly answers after e.ms with who it is; the lives of its copies begin in Init, which takes a while.
const echoSlowly = `const born = Date.now(); Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300)
	exports.handler = async (e) => { if (e.ms) await new Promise(r => setTimeout(r, e.ms)); return { born, creds: process.env.AWS_CONTAINER_CREDENTIALS_FULL_URI !== undefined } }`

// spares are those of version 1.
func (f *deployed) spares() (out []execenv.Status) {
	for _, e := range f.node.pool.Environments() {
		if e.Function == f.name && e.Qualifier == "1" && e.Spare {
			out = append(out, e)
		}
	}
	return out
}

// frozenSpare waits for a spare that is frozen, and is none of those: of several the oldest, which is claimed first.
func (f *deployed) frozenSpare(not ...string) execenv.Status {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		all := f.spares()
		slices.SortFunc(all, func(a, b execenv.Status) int { return a.Created.Compare(b.Created) })
		for _, e := range all {
			if e.State == "Frozen" && !slices.Contains(not, e.ID) && !slices.Contains(not, e.Snapshot) {
				return e
			}
		}
		if time.Now().After(end) {
			f.t.Fatalf("no spare: %+v", f.node.pool.Counts())
		}
	}
}

func (f *deployed) env(id string) *execenv.Status {
	for _, e := range f.node.pool.Environments() {
		if e.ID == id {
			return &e
		}
	}
	return nil
}

func sparing(t *testing.T, change func(*Config)) *server {
	t.Helper()
	needRoot(t, "gvisor")
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return openServerWith(t, "gvisor", dir, change)
}

// The first request after idle time, and the next ones while it runs, are answered by environments that were restored before the requests came.
func TestSpareAnswersAfterIdleAndTheNextConcurrent(t *testing.T) {
	t.Parallel()
	s := sparing(t, func(c *Config) { c.IdleExpiry, c.SpareWindow = time.Second, 2*time.Minute })
	defer s.node.Close(context.Background())
	f := s.js(echoSlowly, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	if n := len(f.spares()); n != 0 {
		t.Errorf("a version that nobody invoked has %d spares", n)
	}
	f.invokeVersion("1", `{}`).ok(t)
	first := f.envs()
	if len(first) != 1 {
		t.Fatalf("environments %v", first)
	}
	for end := time.Now().Add(time.Minute); f.env(first[0]) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the environment that served does not go after its idle time")
		}
	}
	spare := f.frozenSpare()
	if spare.Invokes != 0 || spare.Snapshot == "" {
		t.Errorf("a spare is %+v", spare)
	}
	shown, err := admin.Dial(s.node.cfg.DataDir).Environments(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	marked := 0
	for _, e := range shown {
		if e.Spare && e.ID == spare.ID {
			marked++
		}
	}
	if marked != 1 {
		t.Errorf("the admin socket shows %+v", shown)
	}

	// Some requests, each while those before it run.
	colds := s.node.pool.Counts().Cold
	var wg sync.WaitGroup
	used := []string{}
	for range 3 {
		asked := time.Now()
		done := make(chan struct{})
		wg.Go(func() {
			defer close(done)
			a := f.invokeVersion("1", `{"ms":8000}`)
			a.ok(t)
			// E-132: the line of the restore is in the first REPORT, also when the restore was ahead of the request.
			if strings.Count(a.log, "Restore Duration: ") != 2 || !strings.Contains(a.log, "Billed Restore Duration: ") || strings.Contains(a.log, "Init Duration") {
				t.Errorf("REPORT of a spare:\n%s", a.log)
			}
		})
		for e := f.env(spare.ID); e.State != "Invoking"; e = f.env(spare.ID) {
			if time.Since(asked) > 7*time.Second {
				t.Fatalf("the request did not go to the spare but: %+v", f.node.pool.Environments())
			}
			time.Sleep(time.Millisecond)
		}
		if e := f.env(spare.ID); e.Spare || !e.Created.Before(asked) {
			t.Errorf("asked %v, and %+v answers", asked, e)
		}
		used = append(used, spare.ID)
		spare = f.frozenSpare(used...)
	}
	wg.Wait()
	if c := s.node.pool.Counts(); c.Cold != colds || c.SpareClaims != 3 || c.SpareFailures != 0 {
		t.Errorf("%d cold starts before, then %+v", colds, c)
	}
	for metric, want := range map[string]string{"thaw_spare_claims_total": "3", "thaw_spare_failures_total": "0", "thaw_cold_starts_total": fmt.Sprint(colds), "thaw_restore_fallbacks_total": "0"} {
		if got := s.metric(metric); got != want {
			t.Errorf("%s is %s, want %s", metric, got, want)
		}
	}
}

func (s *server) metric(name string) string {
	s.t.Helper()
	resp, err := http.Get(s.node.Endpoint() + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return "missing"
}

// A refresh puts a spare of the new generation in the place of the old one in the moment of the swap: what verified the generation.
func TestRefreshReplacesTheSpare(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(echoSlowly, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	old := f.invokeVersion("1", `{}`).ok(t)
	go f.invokeVersion("1", `{"ms":1500}`)
	before := f.frozenSpare()
	if before.Snapshot != f.snap("1").ID {
		t.Errorf("a spare of %s", before.Snapshot)
	}
	stop, checked := make(chan struct{}), make(chan int)
	go func() { // from now on something lies ready at every moment
		n, gaps := 0, 0
		for ; ; n++ {
			select {
			case <-stop:
				t.Logf("looked %d times", n)
				checked <- gaps
				return
			default:
			}
			idle := 0
			for _, e := range f.node.pool.Environments() {
				if e.Function == f.name && e.Qualifier == "1" && slices.Contains([]string{"Parked", "Freezing", "Frozen"}, e.State) {
					idle++
				}
			}
			if idle == 0 {
				gaps++
			}
			time.Sleep(200 * time.Microsecond)
		}
	}()
	after, err := f.node.snapshots.Refresh(t.Context(), f.name+":1")
	if err != nil {
		t.Fatal(err)
	}
	spare := f.frozenSpare(before.Snapshot)
	close(stop)
	if gaps := <-checked; gaps > 0 {
		t.Errorf("nothing lay ready at %d moments", gaps)
	}
	if spare.Snapshot != after.ID {
		t.Errorf("the spare is of %s, current is %s", spare.Snapshot, after.ID)
	}
	if now := f.invokeVersion("1", `{}`).ok(t); now == old {
		t.Errorf("the old generation answers: %s", now)
	}
	if used := f.envs(); len(used) == 0 || !slices.ContainsFunc(used, func(id string) bool { return f.env(id) != nil && f.env(id).Snapshot == after.ID }) {
		t.Errorf("%q served", used)
	}
	for end := time.Now().Add(time.Minute); f.env(before.ID) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the spare of the old generation stays: %+v", f.env(before.ID))
		}
	}
}

// Deleting a version takes its spares with it.
func TestDeletedVersionsLoseTheirSpares(t *testing.T) {
	t.Parallel()
	s := shared(t, "gvisor")
	f := s.js(echoSlowly, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	go f.invokeVersion("1", `{"ms":500}`)
	f.frozenSpare()
	if _, err := f.client.DeleteFunction(t.Context(), &lambda.DeleteFunctionInput{FunctionName: &f.name, Qualifier: aws.String("1")}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		left := 0
		for _, e := range f.node.pool.Environments() {
			if e.Function == f.name && e.Qualifier == "1" {
				left++
			}
		}
		if left == 0 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("left: %+v", f.node.pool.Environments())
		}
	}
}

// With --spares 0 there are none: an invoke while the only environment works is a restore.
func TestSparesSwitchedOff(t *testing.T) {
	t.Parallel()
	s := sparing(t, func(c *Config) { c.Spares = 0 })
	defer s.node.Close(context.Background())
	f := s.js(echoSlowly, snapStart)
	if c := f.publish(); c.State != types.StateActive {
		t.Fatalf("state %s %s", c.State, aws.ToString(c.StateReason))
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() { f.invokeVersion("1", `{"ms":3000}`).ok(t) })
	}
	wg.Wait()
	if _, err := f.node.snapshots.Refresh(t.Context(), f.name+":1"); err != nil {
		t.Fatal(err)
	}
	f.invokeVersion("1", `{}`).ok(t)
	if c := s.node.pool.Counts(); c.SpareStarts != 0 || c.Cold != 3 {
		t.Errorf("%+v", c)
	}
}
