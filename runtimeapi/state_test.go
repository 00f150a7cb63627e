package runtimeapi

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"thaw/internal/golden"
)

// TestNext holds the table of AWS's state machine, pair by pair, with the literal refusals.
func TestNext(t *testing.T) {
	var table strings.Builder
	for s := range numStates {
		for e := range numEvents {
			to, verdict := Next(s, e)
			if verdict == Refuse && to != s {
				t.Errorf("%v + %v was refused yet moved to %v", s, e, to)
			}
			switch {
			case verdict != Refuse:
				fmt.Fprintf(&table, "%v + %v -> %v, %v\n", s, e, to, verdict)
			case e <= CallRestoreError:
				fmt.Fprintf(&table, "%v + %v -> 403 %s\n", s, e, refusal(s, e))
			default:
				fmt.Fprintf(&table, "%v + %v -> nothing\n", s, e)
			}
		}
	}
	golden.Equal(t, "testdata/next.golden", table.String())
}

// TestNextSequences walks at random and holds what must be true on every path.
func TestNextSequences(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, delivered, answered := Started, 0, 0
		for range 200 {
			e := Event(r.UintN(uint(numEvents)))
			to, verdict := Next(s, e)
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

func TestNames(t *testing.T) {
	for s := range numStates {
		if s.String() == "" {
			t.Errorf("state %d has no name", s)
		}
	}
	if got := State(200).String(); got != "State(200)" {
		t.Error(got)
	}
}

// TestFilterErrorType holds E-041 and E-042.
func TestFilterErrorType(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "Runtime.Unknown",
		"Function<StandardError>": "Runtime.Unknown",
		"unhandled":               "Runtime.Unknown",
		"Function.bad":            "Function.Unknown",
		"Function.":               "Function.Unknown",
		"Function.B":              "Function.Unknown",
		"Runtime.bad":             "Runtime.Unknown",
		"Runtime.MyReason":        "Runtime.MyReason",
		"Runtime.My Reason":       "Runtime.My Reason",
		"Function.MyReason":       "Function.MyReason",
		"my Runtime.MyReason":     "my Runtime.MyReason",
		"Runtime.x Runtime.Ab":    "Runtime.x Runtime.Ab",
		"Extension.Crash":         "Runtime.Unknown",
	} {
		if got := FilterErrorType(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
