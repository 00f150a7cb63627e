package execenv

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"thaw/internal/golden"
)

func TestEveryMoveIsInTheTable(t *testing.T) {
	golden.Moves(t, "testdata/next.golden", numStates, numEvents, Next)
}

func TestEveryStateCanBeStoppedAndLosesItsSandbox(t *testing.T) {
	for s := range numStates {
		if s == Gone {
			continue
		}
		if to, _, err := Next(s, SandboxExited); err != nil || to != Stopping {
			t.Errorf("%v + SandboxExited -> %v, %v; want Stopping", s, to, err)
		}
		if to, _, err := Next(s, StopAsked); err != nil || to != Stopping && to != ShuttingDown {
			t.Errorf("%v + StopAsked -> %v, %v; want ShuttingDown or Stopping", s, to, err)
		}
	}
}

func TestEveryWaitingStateHasAMoveForItsLimit(t *testing.T) {
	for _, s := range []State{Creating, Initializing, Priming, Primed, Checkpointing, Restoring, Freezing, Thawing, Waking, Reinitializing, Invoking, Responded, Finishing, Resetting, ShuttingDown} {
		if _, _, err := Next(s, LimitReached); err != nil {
			t.Errorf("%v has no move for its limit", s)
		}
	}
}

// life follows what events and actions did to an environment, and says when an invariant broke. frozen holds from the
// moment a freeze begins until a thaw has succeeded: in between nobody knows.
type life struct {
	frozen, inFlight, sent, answered, reported, offered, runs bool
	ended                                                     bool // by a shutdown
	closed, told                                              int
}

func (l *life) hear(s State, e Event) error {
	switch e {
	case Assigned:
		if l.inFlight {
			return fmt.Errorf("has two invokes in flight")
		}
		if !l.offered {
			return fmt.Errorf("takes an invoke that it did not offer to take")
		}
		l.inFlight, l.sent, l.answered, l.reported, l.offered = true, false, false, false, false
	case Froze:
		if s != Freezing && !l.frozen {
			return fmt.Errorf("hears of a freeze that it did not ask for")
		}
	case Thawed:
		l.frozen = false
	}
	return nil
}

func (l *life) do(a Action) error {
	switch a {
	case Freeze:
		if l.inFlight {
			return fmt.Errorf("freezes during an invoke")
		}
		l.frozen = true
	case ReturnInvoke:
		if !l.inFlight || l.sent || l.answered {
			return fmt.Errorf("returns an invoke that was sent or answered")
		}
		l.inFlight = false
	case StartRuntime:
		if l.runs {
			return fmt.Errorf("starts a second runtime")
		}
		l.runs = true
	case SendRestored:
		if l.runs {
			return fmt.Errorf("is restored over a running runtime")
		}
		l.runs = true
	case Checkpoint:
		if l.inFlight || l.offered {
			return fmt.Errorf("is saved while others may use it")
		}
	case SendInvoke:
		if l.frozen {
			return fmt.Errorf("sends an event into a frozen sandbox")
		}
		if !l.inFlight || l.sent {
			return fmt.Errorf("sends an event twice, or one that nobody assigned")
		}
		l.sent = true
	case SendPriming:
		if l.inFlight || l.offered {
			return fmt.Errorf("is primed while others may use it")
		}
		l.inFlight = true
	case EndPriming, FailPriming:
		if !l.inFlight {
			return fmt.Errorf("reports a priming event that was not sent")
		}
		l.inFlight = false
	case AnswerCaller, FailInvoke:
		if !l.inFlight || l.answered {
			return fmt.Errorf("answers twice, or nobody")
		}
		l.answered = true
	case ReportInvoke:
		if !l.inFlight || !l.answered {
			return fmt.Errorf("reports an invoke that was not answered")
		}
		l.inFlight, l.reported = false, true
	case Offer:
		if l.inFlight || l.offered {
			return fmt.Errorf("offers itself while at work, or twice")
		}
		l.offered = true
	case Withdraw:
		if !l.offered {
			return fmt.Errorf("withdraws what was not offered")
		}
		l.offered = false
	case KillProcesses, ShutDown:
		if l.inFlight || l.offered {
			return fmt.Errorf("kills with an invoke in flight, or while others may assign one")
		}
		if l.ended {
			return fmt.Errorf("shuts down twice")
		}
		l.runs, l.ended = false, a == ShutDown
	case CloseSandbox:
		l.closed++
	case TellGone:
		l.told++
	}
	return nil
}

func TestRandomLivesKeepTheInvariants(t *testing.T) {
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, l := Creating, &life{}
		var story []string
		for step := 0; s != Gone; step++ {
			e := Event(r.IntN(int(numEvents)))
			if step > 60 {
				e = []Event{StopAsked, LimitReached, SandboxClosed}[step%3] // every path must end in Gone
			}
			to, do, err := Next(s, e)
			if err != nil {
				continue
			}
			if err := l.hear(s, e); err != nil && s != Resetting && s != ShuttingDown && s != Stopping { // where late words are heard and mean nothing
				t.Fatalf("seed %d: %v + %v: %v\n%s", seed, s, e, err, strings.Join(story, "\n"))
			}
			story = append(story, fmt.Sprintf("%v + %v -> %v %v", s, e, to, do))
			for _, a := range do {
				if err := l.do(a); err != nil {
					t.Fatalf("seed %d: %v: %v\n%s", seed, a, err, strings.Join(story, "\n"))
				}
			}
			s = to
			if step > 200 {
				t.Fatalf("seed %d: no way to Gone\n%s", seed, strings.Join(story, "\n"))
			}
		}
		if l.closed != 1 || l.told != 1 || l.inFlight {
			t.Fatalf("seed %d: closed %d times, told %d times, in flight %v\n%s", seed, l.closed, l.told, l.inFlight, strings.Join(story, "\n"))
		}
	}
}

func TestNamesAreComplete(t *testing.T) {
	if slices.Contains(stateNames[:], "") || slices.Contains(eventNames[:], "") || slices.Contains(actionNames[:], "") {
		t.Error("a state, event or action has no name")
	}
}
