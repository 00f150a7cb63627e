package gvisor

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"thaw/sandbox"
)

// failing is the step that is to fail, before it is done or after.
type failing struct {
	step string
	done bool
}

var errSpoilt = errors.New("this step was to fail")

// Whatever step fails, nothing of the sandbox is left, and the next one can have its name.
func TestAStepThatFailsLeavesNothing(t *testing.T) {
	if !inLab(t) {
		return
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the collector closes files that nobody knows any more
	var next atomic.Pointer[failing]
	b := open(t, func(o *Options) {
		online(o)
		o.Blank = -1
		o.spoil = func(step string, done bool) error {
			if f := next.Load(); f != nil && *f == (failing{step, done}) {
				next.Store(nil)
				return errSpoilt
			}
			return nil
		}
	})
	if b.nets == nil {
		t.Fatal("no network")
	}
	spec := sandbox.Spec{ID: "again-and-again", MemoryMiB: 128, TmpMiB: 16, Mounts: []sandbox.Mount{{Source: "/usr/share", Target: "/opt"}}}
	g := create(t, b, spec)
	d := folder(t.TempDir())
	if err := g.Checkpoint(testContext(t), d); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	before := remains(t, b)
	for _, life := range []struct {
		name  string
		steps []step
		begin func() (sandbox.Sandbox, error)
	}{
		{"create", slices.Concat(blankSteps, createSteps), func() (sandbox.Sandbox, error) { return b.Create(testContext(t), spec) }},
		{"restore", slices.Concat(armedSteps, restoreSteps), func() (sandbox.Sandbox, error) { return b.Restore(testContext(t), spec, d) }},
	} {
		for i, st := range life.steps {
			for _, done := range []bool{false, true} {
				what := fmt.Sprintf("%s: %s, done: %v", life.name, st.name, done)
				next.Store(&failing{st.name, done})
				s, err := life.begin()
				if err == nil {
					s.Close()
					t.Fatalf("%s: it did not fail", what)
				}
				if !errors.Is(err, errSpoilt) {
					t.Errorf("%s: another error: %v", what, err)
				}
				var at *sandbox.SnapshotError
				if isRestore := life.name == "restore"; errors.As(err, &at) != isRestore {
					t.Errorf("%s: the error is %v", what, err)
				} else if isRestore && (at.Stage == sandbox.StageMake) != (i < len(armedSteps)) {
					t.Errorf("%s: stage %q", what, at.Stage)
				}
				var after []string
				for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
					if after = remains(t, b); slices.Equal(after, before) {
						break
					}
					if time.Now().After(end) {
						t.Fatalf("%s: left is\n%s\nand before there was\n%s", what, strings.Join(after, "\n"), strings.Join(before, "\n"))
					}
				}
			}
		}
		s, err := life.begin()
		if err != nil {
			t.Fatalf("%s without a failure: %v", life.name, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// remains are what an open backend has of sandboxes: on the host, in its launcher and in this process.
func remains(t *testing.T, b *Backend) []string {
	t.Helper()
	list := sandboxGroups(t, b.hash)
	for _, trace := range traces(t, b.opt.Dir) {
		if !strings.HasPrefix(trace, "process ") { // of any backend: other tests run beside this one
			list = append(list, trace)
		}
	}
	children, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", b.launch.PID()))
	if err != nil || len(children) == 0 {
		t.Fatalf("children of the launcher: %v", err)
	}
	for _, c := range children {
		if pids, err := os.ReadFile(c); err == nil && len(pids) > 0 { // else a thread that has ended
			list = append(list, "children of the launcher "+string(pids))
		}
	}
	for _, dir := range []string{"sandboxes", "run"} {
		ents, err := os.ReadDir(filepath.Join(b.opt.Dir, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range ents {
			list = append(list, dir+" "+e.Name())
		}
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/mountinfo", b.launch.PID()))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if strings.Contains(sc.Text(), filepath.Join(b.opt.Dir, "sandboxes")) {
			list = append(list, "mount of the launcher "+sc.Text())
		}
	}
	for _, who := range []string{"self", fmt.Sprint(b.launch.PID())} {
		fds, err := os.ReadDir(filepath.Join("/proc", who, "fd"))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, fmt.Sprintf("%d descriptors of %s", len(fds), who))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return append(list, fmt.Sprintf("%d sandboxes, %d names", len(b.live), len(b.ids)))
}
