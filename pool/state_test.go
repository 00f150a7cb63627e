package pool

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"thaw/function"
	"thaw/internal/golden"
)

func TestEveryMoveIsInTheTable(t *testing.T) {
	golden.Moves(t, "testdata/next.golden", numStates, numEvents, Next)
}

func TestEveryMemberCanBeStoppedAndEnds(t *testing.T) {
	for s := range numStates {
		if s == Gone {
			continue
		}
		if to, _, err := Next(s, StopAsked); err != nil || to != Leaving && s != Wanted {
			t.Errorf("%v + StopAsked -> %v, %v", s, to, err)
		}
		if s == Wanted {
			continue // it has no environment that could end
		}
		if to, _, err := Next(s, Ended); err != nil || to != Gone {
			t.Errorf("%v + Ended -> %v, %v", s, to, err)
		}
	}
}

// What an invocation says of a member that it had is legal in every state that the member can be in by then.
func TestAnInvocationIsNeverTooLate(t *testing.T) {
	for _, s := range []State{Idle, Claimed, Answered, Away, Leaving, Gone} {
		for _, e := range []Event{CallerAnswered, NotTaken, GivenBack} {
			if _, do, err := Next(s, e); err != nil || s != Claimed && len(do) > 0 {
				t.Errorf("%v + %v does %v, %v", s, e, do, err)
			}
		}
	}
}

// life follows what actions did to a member, and says when an invariant broke.
type life struct {
	joined, promised, listed, claimed, stopped, forgotten bool
}

func (l *life) hear(e Event) error {
	switch {
	case e == Assigned && (l.claimed || l.stopped):
		return fmt.Errorf("is given to an invocation while another has it, or while it goes")
	case e == Assigned:
		l.claimed = true
	case e == Offered, e == Withdrawn, e == NotTaken, e == GivenBack, e == CallerAnswered:
		l.claimed = false
	}
	return nil
}

func (l *life) do(a Action) error {
	wrong := false
	switch a {
	case Join:
		wrong, l.joined = l.joined, true
	case Promise:
		wrong, l.promised = l.promised || !l.joined, true
	case Settle:
		l.promised = false
	case List:
		wrong, l.listed = l.listed || l.claimed || l.promised || l.stopped, true
	case Unlist:
		wrong, l.listed = !l.listed, false
	case BeginTurn:
		wrong = !l.claimed || l.listed
	case Stop:
		wrong, l.stopped = !l.joined || l.listed || l.forgotten, true
	case Forget:
		wrong, l.forgotten = !l.joined || l.listed || l.promised || l.forgotten, true
	}
	if wrong {
		return fmt.Errorf("%+v", *l)
	}
	return nil
}

func TestRandomLivesKeepTheInvariants(t *testing.T) {
	for seed := range uint64(20000) {
		r := rand.New(rand.NewPCG(seed, 1))
		s, l := Wanted, &life{}
		var story []string
		for step := 0; s != Gone; step++ {
			e := Event(r.IntN(int(numEvents)))
			if step > 60 {
				e = []Event{StopAsked, Unwanted, Ended}[step%3] // every path must end in Gone
			}
			to, do, err := Next(s, e)
			if err != nil {
				continue
			}
			story = append(story, fmt.Sprintf("%v + %v -> %v %v", s, e, to, do))
			if err := l.hear(e); err != nil {
				t.Fatalf("seed %d: %v\n%s", seed, err, strings.Join(story, "\n"))
			}
			for _, a := range do {
				if err := l.do(a); err != nil {
					t.Fatalf("seed %d: %v: %v\n%s", seed, a, err, strings.Join(story, "\n"))
				}
			}
			if to == Idle != l.listed || to == Leaving && !l.stopped || s == Wanted && to == Starting && !l.promised {
				t.Fatalf("seed %d: %v with %+v\n%s", seed, to, *l, strings.Join(story, "\n"))
			}
			if s = to; step > 200 {
				t.Fatalf("seed %d: no way to Gone\n%s", seed, strings.Join(story, "\n"))
			}
		}
		if l.joined != l.forgotten || l.listed || l.promised {
			t.Fatalf("seed %d: it ended as %+v\n%s", seed, *l, strings.Join(story, "\n"))
		}
	}
}

// Whatever happens to the members of a pool: what is counted is what a count of them gives, and the lists hold those
// whose state says so.
func TestCountsAndListsFollowFromStates(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		p := &Pool{o: Options{Now: time.Now, Log: slog.New(slog.DiscardHandler)}, sets: map[setKey]*set{}, members: map[*member]bool{}, flight: newConcurrency(), rates: newRates(0),
			drained: make(chan struct{}), provision: make(chan struct{}, 1), memory: &budget{pending: map[*member]int64{}}}
		var all []*member
		for step := range 400 {
			switch k := r.IntN(10); {
			case k == 0 || len(all) == 0:
				v := &function.Version{Name: fmt.Sprint("f", r.IntN(2)), Number: "1", MemoryMiB: 128 * (1 + r.IntN(3))}
				p.mu.Lock()
				all = append(all, p.newMemberLocked(p.setLocked(keyOf(v), v), purpose(r.IntN(int(numPurposes)))))
				p.mu.Unlock()
			case k == 1:
				p.mu.Lock()
				p.becomeLocked(all[r.IntN(len(all))], purpose(r.IntN(int(numPurposes))))
				p.mu.Unlock()
			default:
				m, e := all[r.IntN(len(all))], Event(r.IntN(int(numEvents)))
				before := *m
				p.mu.Lock()
				legal := p.moveLocked(m, e, reason("test"))
				p.mu.Unlock()
				if !legal && *m != before {
					t.Fatalf("seed %d: %v was refused and changed %+v into %+v", seed, e, before, *m)
				}
			}
			if err := recount(p, all); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
}

// Recount compares what an open pool has counted with its members, those apart that are wanted only.
func (p *Pool) Recount() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	counted := p.in
	defer func() { p.in = counted }()
	var all []*member
	for m := range p.members {
		all = append(all, m)
	}
	for of := range p.in {
		p.in[of][Wanted] = 0
	}
	return recount(p, all)
}

func recount(p *Pool, all []*member) error {
	var sum tally
	sets := map[*set]*tally{}
	var promised int64
	for _, m := range all {
		if sets[m.set] == nil {
			sets[m.set] = &tally{}
		}
		if m.state != Gone {
			sum[m.purpose][m.state]++
			sets[m.set][m.purpose][m.state]++
		}
		listed := 0
		for _, x := range m.set.idle {
			if x == m {
				listed++
			}
		}
		_, pending := p.memory.pending[m]
		switch {
		case m.state == Idle && listed != 1, m.state != Idle && listed > 0:
			return fmt.Errorf("a member is %v and is listed %d times", m.state, listed)
		case p.members[m] != (m.state != Wanted && m.state != Gone):
			return fmt.Errorf("a member is %v; that the pool has it is %v", m.state, p.members[m])
		case m.state == Starting && !pending, pending && m.state != Starting && m.state != Leaving:
			return fmt.Errorf("a member is %v; that memory is promised to it is %v", m.state, pending)
		case m.state != Gone && p.sets[m.set.key] != m.set:
			return fmt.Errorf("a set was dropped with a member that is %v", m.state)
		}
		promised += p.memory.pending[m]
	}
	if p.in != sum || p.memory.sum != promised {
		return fmt.Errorf("counted %v, and there are %v; %d bytes are promised and should be %d", p.in, sum, p.memory.sum, promised)
	}
	for s, of := range sets {
		for why := range of {
			for state := Starting; state < numStates; state++ {
				if s.in[why][state] != of[why][state] {
					return fmt.Errorf("a set counted %v, and there are %v", s.in, *of)
				}
			}
		}
	}
	return nil
}

func TestNamesAreComplete(t *testing.T) {
	if slices.Contains(stateNames[:], "") || slices.Contains(eventNames[:], "") || slices.Contains(actionNames[:], "") {
		t.Error("a state, event or action has no name")
	}
}
