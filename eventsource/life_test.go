package eventsource

import (
	"math/rand/v2"
	"slices"
	"testing"

	"thaw/internal/golden"
)

func TestNextIsTheWholeLife(t *testing.T) {
	golden.Moves(t, "testdata/next.golden", NumStates, NumEvents, Next)
}

// Whatever happens in whatever order: what is being drained or is at rest opens nothing, and deletion ends in Gone.
func TestLivesKeepTheirPromises(t *testing.T) {
	for range 2000 {
		s := Creating
		for range 40 {
			was := s
			to, do, err := Next(s, Event(rand.N(int(NumEvents))))
			if err == nil {
				s = to
			}
			opens := slices.Contains(do, Open) || slices.Contains(do, Reopen)
			if opens && (was == Disabling || was == Deleting || was == Gone) {
				t.Fatalf("%v opens its source", was)
			}
			if (was == Deleting || was == Gone) && s < was {
				t.Fatalf("from %v to %v", was, s)
			}
			if s == Gone && slices.Contains(do, Save) {
				t.Fatal("a mapping that is gone is stored")
			}
		}
		if s == Gone {
			continue
		}
		for _, e := range []Event{DeleteAsked, DrainFinished, Removed} {
			if to, _, err := Next(s, e); err == nil {
				s = to
			}
		}
		if s != Gone {
			t.Fatalf("after its deletion a mapping is %v", s)
		}
	}
}
