package readiness

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"thaw/internal/golden"
)

// TestNext holds the table of AWS's state machines, of each role and pair by pair, with the literal refusals.
func TestNext(t *testing.T) {
	t.Parallel()
	var table strings.Builder
	for r := range numRoles {
		who := "runtime"
		if r != Runtime {
			who = "extension x"
		}
		for s := range numStates {
			for e := range numEvents {
				to, verdict := Next(r, s, e)
				if verdict == Refuse && to != s {
					t.Errorf("%v: %v + %v was refused yet moved to %v", r, s, e, to)
				}
				switch {
				case verdict != Refuse:
					fmt.Fprintf(&table, "%v: %v + %v -> %v, %v\n", r, s, e, to, verdict)
				case e.call():
					fmt.Fprintf(&table, "%v: %v + %v -> 403 %s\n", r, s, e, Refusal(who, s, e))
				default:
					fmt.Fprintf(&table, "%v: %v + %v -> nothing\n", r, s, e)
				}
			}
		}
	}
	golden.Equal(t, "testdata/next.golden", table.String())
}

// TestRuntimeSequences walks at random and holds what must be true of a runtime on every path.
func TestRuntimeSequences(t *testing.T) {
	t.Parallel()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, delivered, answered := Started, 0, 0
		for range 200 {
			e := Event(r.UintN(uint(numEvents)))
			to, verdict := Next(Runtime, s, e)
			switch {
			case e == Delivered && verdict == Answer:
				delivered++
			case verdict == Receive:
				answered++
			case e == CallNext && verdict == Park && delivered != answered:
				t.Fatalf("seed %d: parked again with %d delivered and %d answered", seed, delivered, answered)
			}
			if answered > delivered {
				t.Fatalf("seed %d: an answer without an event", seed)
			}
			if (s == InitError || s == RestoreError) && to != s {
				t.Fatalf("seed %d: %v is the end, yet %v led to %v", seed, s, e, to)
			}
			s = to
		}
	}
}

// TestCrewSequences walks a whole crew at random. E-001, E-002 and E-007 as far as they are decided here: the runtime may be
// started once, when every external extension has registered; a phase is over only when everybody is parked; what has failed
// never comes back.
func TestCrewSequences(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		c := NewCrew()
		for range r.IntN(3) {
			c.Add(External, "e")
		}
		for range r.IntN(3) {
			c.Add(Internal, "i")
		}
		for range 300 {
			who, e := r.IntN(len(c.Members)), Event(r.UintN(uint(numEvents)))
			before := c.Members[who]
			verdict, meaning := c.Step(who, e)
			after := c.Members[who]
			switch before.State {
			case LaunchError, Exited, ShutdownFailed, InitError, ExitError, RestoreError:
				if after.State != before.State {
					t.Fatalf("seed %d: %v is the end, yet %v led to %v", seed, before.State, e, after.State)
				}
			}
			if verdict == Refuse && meaning != 0 {
				t.Fatalf("seed %d: a refused %v meant %v", seed, e, meaning)
			}
			parked, registered := true, true
			for i, m := range c.Members {
				parked = parked && (m.State == Ready || i == 0 && m.State == RestoreReady)
				registered = registered && (m.Role != External || m.State == Registered || m.State == Ready || m.State == Running)
			}
			if c.Holds(AllParked) != parked || c.Holds(AllRegistered) != registered {
				t.Fatalf("seed %d: %+v: holds parked %v, registered %v", seed, c.Members, c.Holds(AllParked), c.Holds(AllRegistered))
			}
			if meaning&AllParked != 0 && verdict != Park {
				t.Fatalf("seed %d: %v with verdict %v ended a phase", seed, e, verdict)
			}
			if meaning&AllRegistered != 0 && e != CallRegister {
				t.Fatalf("seed %d: %v completed the registration", seed, e)
			}
		}
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for s := range numStates {
		if s.String() == "" {
			t.Errorf("state %d has no name", s)
		}
	}
	for e := range numEvents {
		if e.String() == "" {
			t.Errorf("event %d has no name", e)
		}
	}
	if got := State(200).String(); got != "State(200)" {
		t.Error(got)
	}
	if got := fmt.Sprint((Invoke | Shutdown).Names(), Wants(0).Names()); got != "[INVOKE SHUTDOWN] []" {
		t.Error(got)
	}
}
