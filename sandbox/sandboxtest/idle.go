package sandboxtest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"thaw/sandbox"
)

// idleTimes are how long sandboxes lie frozen in the suite. Each is past a limit that something had, has, or may come
// to have: ten seconds of a call to the sandbox, thirty of a stuck task in gVisor, two minutes of its watchdog.
var idleTimes = []time.Duration{12 * time.Second, 45 * time.Second, 130 * time.Second}

// sleepers are sandboxes that lie frozen while the rest of the suite runs: their time costs the suite little.
type sleepers struct {
	backend sandbox.Backend
	list    []*sleeper
}

// sleeper is one of them. It was computing when it was frozen, or it was not.
type sleeper struct {
	*box
	name  string
	busy  bool
	awake time.Time // when it is to be thawed
	clock int64     // its monotonic clock, in nanoseconds, at since
	since time.Time
}

// sleepers makes them and freezes them. They have a backend of their own, which is closed with t.
func (s *suite) sleepers(t *testing.T) *sleepers {
	all := &sleepers{backend: s.backend(t)}
	for _, idle := range s.opt.Idle {
		for _, busy := range []bool{false, true} {
			x := s.create(t, all.backend, s.spec(t))
			x.Hello()
			x.Start(x.start(1))
			x.Ready()
			all.list = append(all.list, x.sleep(t, idle, busy))
		}
	}
	return all
}

// sleep freezes the sandbox, whose runtime is parked.
func (x *box) sleep(t testing.TB, idle time.Duration, busy bool) *sleeper {
	l := &sleeper{box: x, busy: busy, name: fmt.Sprintf("%v after it was idle", idle)}
	if busy {
		l.name = fmt.Sprintf("%v after a thread was computing", idle)
		x.Invoke("spin", []byte("spin"))
		await(t, "the busy thread counts", func() bool { return l.number(t, "spins") > 1000 })
	}
	l.since = time.Now() // before the reading inside: what lies between counts there, too
	l.clock = l.number(t, "clock")
	if err := x.Freeze(); err != nil {
		t.Fatal(err)
	}
	l.awake = time.Now().Add(idle)
	return l
}

// wake thaws each when its time has come.
func (all *sleepers) wake(t *testing.T) {
	if len(all.list) == 0 {
		t.Skip("-short: no sandbox lies frozen for long")
	}
	for _, l := range all.list {
		t.Run(l.name, func(t *testing.T) {
			l.t = t
			time.Sleep(time.Until(l.awake))
			l.answers(t)
			// And it can be frozen and thawed as before.
			for range 3 {
				if err := l.Freeze(); err != nil {
					t.Fatal(err)
				}
				l.answers(t)
			}
			if err := l.Freeze(); err != nil { // a thread that computes would take a processor from the rest of the suite
				t.Fatal(err)
			}
		})
	}
}

func (l *sleeper) answers(t *testing.T) {
	t.Helper()
	if err := l.Thaw(); err != nil {
		t.Fatal(err)
	}
	const event = "after a long sleep"
	if got := string(l.Invoke("s", []byte(event))); got != event {
		t.Fatalf("it answers %q", got)
	}
	went, real := time.Duration(l.number(t, "clock")-l.clock), time.Since(l.since)
	// The reading lies before its answer: by more than usual on a machine that was so busy that waking it took long.
	slack := 2*time.Second + (time.Since(l.awake))/10
	if went < real-slack || went > real+time.Millisecond {
		t.Errorf("its monotonic clock went on by %v in %v", went, real)
	}
	if l.busy {
		before := l.number(t, "spins")
		await(t, "the busy thread goes on", func() bool { return l.number(t, "spins") > before })
	}
}

// number asks the suite's bootstrap for the first of its numbers about something.
func (x *box) number(t testing.TB, what string) int64 {
	t.Helper()
	text, _, _ := strings.Cut(string(x.Invoke("n", []byte(what))), " ")
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %q is no number", what, text)
	}
	return n
}

// sleepingCopy is a restored sandbox that lies frozen while the rest of the suite of snapshots runs.
type sleepingCopy struct {
	*box
	name  string
	awake time.Time
	last  state
}

// sleepingCopies restores each function for each of the idle times, and freezes what it restored.
func (s *suite) sleepingCopies(t *testing.T) []*sleepingCopy {
	b := s.backend(t)
	var all []*sleepingCopy
	for _, f := range s.functions(t) {
		snapshot := f.begin(t, s, b).checkpoint(t)
		for _, idle := range s.opt.Idle {
			c := &sleepingCopy{box: s.restore(t, f, b, snapshot), name: fmt.Sprintf("%s %v", f.name, idle)}
			c.last = c.ask(t, "before")
			if err := c.Freeze(); err != nil {
				t.Fatal(err)
			}
			c.awake = time.Now().Add(idle)
			all = append(all, c)
		}
	}
	return all
}

func (c *sleepingCopy) wake(t *testing.T) {
	c.t = t
	time.Sleep(time.Until(c.awake))
	for range 2 {
		if err := c.Thaw(); err != nil {
			t.Fatal(err)
		}
		before := c.last
		c.last = c.ask(t, "after")
		same(t, before, c.last)
		if late := time.Since(time.UnixMicro(int64(c.last.Wall * 1e6))); late < -50*time.Millisecond || late > patience {
			t.Errorf("its wall clock is late by %v", late)
		}
		if err := c.Freeze(); err != nil {
			t.Fatal(err)
		}
	}
}
