package sandboxtest

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"thaw/sandbox"
)

func goesOn(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	asked := time.Now()
	before := x.ask(t, "before")
	d := x.checkpoint(t)
	saved := time.Since(asked)
	// The snapshot's age: the monotonic clock must not show it.
	const age = 2 * time.Second
	time.Sleep(age)
	began := time.Now()
	c := s.restore(t, f, b, d)
	after := c.ask(t, "after")
	answered := time.Now()
	same(t, before, after)
	if passed := after.Mono - before.Mono; passed < 0 || passed > (saved+answered.Sub(began)).Seconds() {
		t.Errorf("monotonic clock went on by %.3f s; it ran for %v before the snapshot and %v after", passed, saved, answered.Sub(began))
	}
	wall := time.UnixMicro(int64(after.Wall * 1e6))
	if wall.Before(began.Add(-50*time.Millisecond)) || wall.After(answered.Add(50*time.Millisecond)) {
		t.Errorf("wall clock says %v, which is not between %v and %v", wall, began, answered)
	}
	if err := c.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := c.Thaw(); err != nil {
		t.Fatal(err)
	}
	same(t, after, c.ask(t, "thawed"))
	used, err := c.MemoryUsed()
	t.Logf("stages %v; memory %d MB, %v", c.Stages(), used>>20, err)
}

func generations(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	last := x.ask(t, "first")
	drawn := newDraws(t)
	drawn.add("original", last)
	for g := 1; g <= 3; g++ {
		d := x.checkpoint(t)
		// Two of each generation; the second goes on.
		twin := s.restore(t, f, b, d)
		st := twin.ask(t, "twin")
		same(t, last, st)
		drawn.add(fmt.Sprint("twin of generation ", g), st)
		x = s.restore(t, f, b, d)
		st = x.ask(t, "next")
		same(t, last, st)
		drawn.add(fmt.Sprint("generation ", g), st)
		last = st
	}
}

// draws finds random values that came twice.
type draws struct {
	t    testing.TB
	mu   sync.Mutex
	seen map[string]string
}

func newDraws(t testing.TB) *draws { return &draws{t: t, seen: make(map[string]string)} }

func (d *draws) add(who string, st state) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, v := range st.Random {
		who := who + " by " + name
		if other, ok := d.seen[v]; ok || v == "" {
			d.t.Errorf("%s drew %s, which %s had drawn", who, v, other)
		}
		d.seen[v] = who
	}
}

// What the backend gives a copy is the same whatever runs in it, so fifty copies are of the quickest function; of the
// others ten. What each language makes of it is compared in runtimes/uniquetest.
func unique(t *testing.T, s *suite, f *function) {
	n := s.few(10, 2)
	if f.name == "Go" {
		n = s.few(50, 4)
	}
	b := s.backend(t)
	x := f.begin(t, s, b)
	drawn := newDraws(t)
	before := x.ask(t, "before")
	drawn.add("original", before)
	d := x.checkpoint(t)
	s.copies(t, f, b, d, n, func(c *box, i int) {
		for j := range 2 {
			st := c.ask(t, fmt.Sprint(j))
			if st.PID != before.PID {
				t.Errorf("the function sees the pid %d, before it was %d", st.PID, before.PID)
			}
			drawn.add(fmt.Sprint("copy ", i), st)
		}
	})
}

// copies restores n at once and has each do something.
func (s *suite) copies(t testing.TB, f *function, b sandbox.Backend, src sandbox.SnapshotSource, n int, do func(c *box, i int)) {
	t.Helper()
	specs := make([]sandbox.Spec, n)
	for i := range specs {
		specs[i] = s.spec(t)
		specs[i].Mounts = f.mounts
	}
	began := time.Now()
	var wg sync.WaitGroup
	for i, spec := range specs {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			sb, err := b.Restore(ctx, spec, src)
			if err != nil {
				t.Errorf("restore %d: %v", i, err)
				return
			}
			c := &box{Sandbox: sb, Host: NewHost(t, sb), backend: b, spec: spec}
			defer c.end(t)
			c.restored()
			do(c, i)
		})
	}
	wg.Wait()
	t.Logf("%d restores, answered and closed, in %v", n, time.Since(began))
}

func originals(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	x.ask(t, "before")
	x.checkpoint(t)
	x.awaitExit(t)
	if e := x.Exit(); !e.Asked || e.Err != nil || e.OutOfMemory {
		t.Errorf("it ended with %+v, want as asked", e)
	}
}

func (x *box) awaitExit(t testing.TB) {
	t.Helper()
	select {
	case <-x.Exited():
	case <-time.After(patience):
		t.Fatal("a sandbox goes on after its checkpoint")
	}
}

func many(t *testing.T, s *suite, f *function) {
	b := s.backend(t)
	x := f.begin(t, s, b)
	before := x.ask(t, "before")
	d := x.checkpoint(t)
	n := s.few(24, 3)
	if v := os.Getenv("THAW_TEST_RESTORES"); v != "" {
		fmt.Sscan(v, &n)
	}
	drawn := newDraws(t)
	s.copies(t, f, b, d, n, func(c *box, i int) {
		st := c.ask(t, "after")
		same(t, before, st)
		drawn.add(fmt.Sprint("copy ", i), st)
	})
}
