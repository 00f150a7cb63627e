package websocket

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"thaw/internal/golden"
)

// The whole life of a connection.
func TestNext(t *testing.T) {
	var table strings.Builder
	for s := range numStates {
		for e := range numEvents {
			to, do := Next(s, e)
			if to == s && len(do) == 0 {
				continue
			}
			fmt.Fprintf(&table, "%v + %v -> %v %v\n", s, e, to, do)
		}
	}
	golden.Equal(t, "testdata/next.golden", table.String())
}

// Whatever happens, $disconnect is told once where $connect has accepted, and never where it has not; what is open hangs
// up once, and nothing follows the end.
func TestLivesEndOnce(t *testing.T) {
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, accepted, did := Opening, false, map[Action]int{}
		for range 40 {
			e := Event(r.IntN(int(numEvents)))
			accepted = accepted || s == Opening && (e == Accepted || e == AnswerLost)
			var do []Action
			was := s
			s, do = Next(s, e)
			if was == Gone && (s != Gone || len(do) > 0) {
				t.Fatalf("seed %d: %v after the end", seed, e)
			}
			if was == Gone && slices.Contains(do, SendClose) {
				t.Fatalf("seed %d: a close frame after the end", seed)
			}
			for _, a := range do {
				did[a]++
			}
		}
		want := 0
		if s == Gone && accepted {
			want = 1
		}
		if did[TellFunction] != want || did[HangUp] > 1 || did[SendClose] > 1 {
			t.Fatalf("seed %d: %v, accepted %v, ended in %v", seed, did, accepted, s)
		}
	}
}
