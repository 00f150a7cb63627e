package pool_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/execenv"
	"thaw/pool"
)

// starve puts a process of the host into a control group in which no process and no thread can be made any more, until
// the test ends.
func starve(t *testing.T, pid int) {
	t.Helper()
	for _, root := range []string{"/sys/fs/cgroup/pids", "/sys/fs/cgroup"} { // version 1, version 2
		dir := filepath.Join(root, fmt.Sprintf("thaw-starve-%d", pid))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		t.Cleanup(func() { until(t, "the control group is empty", func() bool { return os.Remove(dir) == nil }) })
		if _, err := os.Stat(filepath.Join(dir, "pids.max")); err != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, pid), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "pids.max"), []byte("1"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Skip("processes cannot be limited by a control group here")
}

// An environment in which no process can be started is no use to anybody: its Inits fail, which is not the function's
// doing, and after the second one it goes. The next invocation gets another.
func TestAStarvedEnvironmentGoes(t *testing.T) {
	for range 5 {
		if starved(t) {
			return
		}
		t.Log("the guest wanted a thread and died of it: once more")
	}
	t.Error("the guest never lived long enough to say what is wrong")
}

// starved is false when the guest, which may have no new thread either, died before it could say anything.
func starved(t *testing.T) bool {
	p, s := open(t, pool.Options{})
	v := version("starved", 1)
	invoke(t, p, v, `{"ID":1}`)
	first := p.Environments()[0]
	if res, err := p.Invoke(context.Background(), request(v, `{"Exit":1}`)); err != nil || res.FunctionError == "" {
		t.Fatalf("a function that exits: %+v, %v", res, err)
	}
	until(t, "it is reset", func() bool { return states(p) == execenv.Cold.String() })
	starve(t, first.PIDs[0])
	for n := range 2 {
		res, err := p.Invoke(context.Background(), request(v, `{}`))
		if err != nil && strings.Contains(err.Error(), "sandbox ended: exit status 2") { // the Go runtime's word for it
			return false
		}
		var failed *pool.UnavailableError
		if !errors.As(err, &failed) || failed.Phase != "init" || failed.Env != first.ID || !strings.Contains(err.Error(), "resource temporarily unavailable") {
			t.Errorf("invocation %d: %+v, %v; want a failure of the platform", n, res, err)
		}
		if n == 0 {
			until(t, "it is cold again", func() bool { return states(p) == execenv.Cold.String() })
		}
	}
	until(t, "it is gone", func() bool { return len(p.Environments()) == 0 })
	if got := invoke(t, p, v, `{"ID":2}`); !strings.Contains(got, `"N":1`) || s.opened.Load() != 2 {
		t.Errorf("the next one answered %s, from %d environments", got, s.opened.Load())
	}
	return true
}
