package firecracker

import (
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
	"thaw/sandbox/host/network"
)

// failing is the step that is to fail, before it is done or after.
type failing struct {
	step string
	done bool
}

var errSpoilt = errors.New("this step was to fail")

// lives are the two ways to a sandbox, and the steps of each.
func lives(t *testing.T, b *Backend, d sandbox.SnapshotSource) []life {
	return []life{
		{"create", slices.Concat(slotSteps, createSteps), func() (sandbox.Sandbox, error) {
			return b.Create(testContext(t), testSpec("again-and-again"))
		}},
		{"restore", slices.Concat(slotSteps, restoreSteps), func() (sandbox.Sandbox, error) {
			return b.Restore(testContext(t), testSpec("again-and-again"), d)
		}},
	}
}

type life struct {
	name  string
	steps []step
	begin func() (sandbox.Sandbox, error)
}

// snapshotOf makes a snapshot to restore from.
func snapshotOf(t *testing.T, b *Backend) folder {
	t.Helper()
	x, d := create(t, b, "original"), folder(t.TempDir())
	x.ask("before")
	if err := x.save(d); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	return d
}

// Whatever step fails, nothing of the sandbox is left, and the next one can have its name.
func TestAStepThatFailsLeavesNothing(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // the collector closes files that nobody knows any more
	var next atomic.Pointer[failing]
	b := open(t, func(o *Options) {
		o.Network = network.Options{Internet: true}
		o.spoil = func(step string, done bool) error {
			if f := next.Load(); f != nil && *f == (failing{step, done}) {
				next.Store(nil)
				return errSpoilt
			}
			return nil
		}
	})
	d := snapshotOf(t, b)
	before := remains(t, b)
	for _, life := range lives(t, b, d) {
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
				} else if isRestore && (at.Stage == "" || (at.Stage == sandbox.StageMake) != (i < len(slotSteps))) {
					t.Errorf("%s: stage %q", what, at.Stage)
				}
				awaitRemains(t, b, before, what)
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

// A backend that is closed in the middle of any step waits for it, undoes it, and the caller hears that it was closed.
func TestClosingInTheMiddleOfAStep(t *testing.T) {
	source := open(t, nil)
	d := snapshotOf(t, source)
	for _, way := range lives(t, source, d) {
		for _, st := range way.steps {
			for _, done := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %s, done %v", way.name, st.name, done), func(t *testing.T) {
					t.Parallel()
					closed := make(chan error, 1)
					var b *Backend
					b = open(t, func(o *Options) {
						o.spoil = func(step string, d bool) error {
							if step != st.name || d != done {
								return nil
							}
							go func() { closed <- b.Close() }()
							<-b.ctx.Done()
							return nil
						}
					})
					b.made, b.key = source.made, source.key // another kernel's path; the same content
					i := slices.IndexFunc(lives(t, b, d), func(l life) bool { return l.name == way.name })
					box, err := lives(t, b, d)[i].begin()
					if err == nil {
						box.Close() // it was done a moment before
					} else if !errors.Is(err, sandbox.ErrClosed) {
						t.Fatalf("it says %v", err)
					}
					if err := <-closed; err != nil {
						t.Error(err)
					}
				})
			}
		}
	}
}

func awaitRemains(t *testing.T, b *Backend, want []string, what string) {
	t.Helper()
	var now []string
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if now = remains(t, b); slices.Equal(now, want) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: left is\n%s\nand before there was\n%s", what, strings.Join(now, "\n"), strings.Join(want, "\n"))
		}
	}
}

// remains are what an open backend has of sandboxes: on the host, and in this process.
func remains(t *testing.T, b *Backend) []string {
	t.Helper()
	list := traces(t, b.opt.Dir)
	for _, dir := range []string{sandboxesDir, scratchDir} {
		ents, err := os.ReadDir(filepath.Join(b.opt.Dir, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range ents {
			list = append(list, dir+" "+e.Name())
		}
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	b.work.mu.Lock()
	defer b.work.mu.Unlock()
	list = append(list, fmt.Sprintf("%d sandboxes, %d names, %d users", len(b.work.live), len(b.work.ids), len(b.uids.used)))
	return append(list, fmt.Sprintf("%d descriptors", len(fds)))
}
