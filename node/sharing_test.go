package node

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/lambda"

	"thaw/snapshot"
)

// Versions of one function that differ in one line: their snapshots lie alike in memory, so that a further one costs a small part of the first. What they drew is
// each one's own, and another function's layout is another.
func TestVersionsShareTheirMemory(t *testing.T) {
	t.Parallel()
	s := privateServer(t) // other tests' snapshots could hold what these share
	code := func(version string) map[string]string {
		return map[string]string{"index.js": `const maps = require('fs').readFileSync('/proc/self/maps', 'utf8').split('\n')
			const at = (what) => maps.find((l) => l.includes(what)).split('-')[0]
			const version = '` + version + `', stack = at('[stack]'), libc = at('/libc.'), drawn = Math.random()
			exports.handler = async () => ({ version, stack, libc, drawn })`}
	}
	type told struct {
		Version, Stack, Libc string
		Drawn                float64
	}
	ask := func(f *deployed, qualifier string) (a told) {
		t.Helper()
		if err := json.Unmarshal([]byte(f.invokeVersion(qualifier, `{}`).ok(t)), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	f := s.deploy(nodeRuntime(t), code("number 0"), snapStart)
	const versions = 4
	var before int64
	all := map[float64]bool{}
	for v := range versions {
		if v > 0 {
			if _, err := f.client.UpdateFunctionCode(context.Background(), &lambda.UpdateFunctionCodeInput{FunctionName: &f.name, ZipFile: zipOf(t, code(fmt.Sprint("number ", v)))}); err != nil {
				t.Fatal(err)
			}
			if err := lambda.NewFunctionUpdatedV2Waiter(f.client).Wait(context.Background(), &lambda.GetFunctionInput{FunctionName: &f.name}, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		if c := f.publish(); c.State != "Active" {
			t.Fatalf("version %d is %s", v+1, c.State)
		}
		a, first := ask(f, fmt.Sprint(v+1)), ask(f, "1")
		if a.Version != fmt.Sprint("number ", v) {
			t.Errorf("version %d says it is %s", v+1, a.Version)
		}
		if a.Stack != first.Stack || a.Libc != first.Libc {
			t.Errorf("version %d has its stack at %s and libc at %s, the first at %s and %s", v+1, a.Stack, a.Libc, first.Stack, first.Libc)
		}
		if all[a.Drawn] {
			t.Errorf("version %d drew in Init what another one did", v+1)
		}
		all[a.Drawn] = true
		m := f.currentManifest(fmt.Sprint(v + 1))
		if before == 0 {
			before = m.NewBytes
			continue
		}
		t.Logf("version %d took %d bytes, the first %d; %d of %d new pages are differences", v+1, m.NewBytes, before, m.DeltaPages, m.NewPages)
		if m.NewBytes > before/4 {
			t.Errorf("version %d took %d bytes, the first %d", v+1, m.NewBytes, before)
		}
	}
	one, cold := ask(f, "1"), ask(f, "$LATEST")
	if cold.Stack == one.Stack || cold.Libc == one.Libc {
		t.Errorf("an ordinary cold start has the layout of a snapshot: %+v", cold)
	}
	g := s.deploy(nodeRuntime(t), code("another"), snapStart)
	if c := g.publish(); c.State != "Active" {
		t.Fatal(c.State)
	}
	if other := ask(g, "1"); other.Stack == one.Stack || other.Libc == one.Libc {
		t.Errorf("another function has the same layout: %+v, %+v", other, one)
	}
}

// currentManifest is that of the current snapshot of a version.
func (f *deployed) currentManifest(version string) *snapshot.Manifest {
	f.t.Helper()
	for _, m := range f.node.snapshots.Inside().Store.List() {
		if m.Key.Function.Name() == f.name && string(m.Key.Number) == version {
			return m
		}
	}
	f.t.Fatalf("version %s has no snapshot", version)
	return nil
}
