// Package pool decides which environment takes which invoke: warm, cold or throttled. It is the owner of every environment.
//
//	Invoke -> limits -> an idle environment, most recently used first        -> its outcome
//	                 -> else a place in the queue, and a start that is wanted -> admission -> memory -> the starter
//
// A member is the pool's side of one environment, from the wish for it to its end:
//
//	         Placed            Offered         Assigned           CallerAnswered
//	Wanted --------> Starting ---------> Idle ---------> Claimed ----------------> Answered
//	                                     |  ^ <------------- |                        |
//	                           Withdrawn |  |   Offered,     | Withdrawn,             | Offered
//	                                     |  |   GivenBack    | NotTaken               v
//	         Adopted                     v  | Offered        |                       Idle
//	Wanted ---------------------------> Away <---------------+
//
//	Wanted: Unwanted, Unplaced -> Gone
//	all others: StopAsked, Unfit, Spent -> Leaving; Ended -> Gone
//
// Next decides and does nothing. Pool.moveLocked performs what Next says, and keeps every count that follows from
// states; nobody else writes a member's state. A member's purpose, its age and whether its generation was replaced
// decide which event happens to it, never what an event means.
//
// Locks: Pool.mu guards all fields of Pool, set, member and budget that change after Open, and concurrency whole.
// Functions whose names end in Locked, and all methods of set, member, usage, tally, budget and concurrency, are called
// with it held. Nothing slow happens under it: the starter is called, memory is read and drivers are stopped without
// it. What a function needs after it let go of the lock it takes along as a value (turn, not member.env). A driver
// calls the pool; the pool never waits for a driver under the lock. admission has a lock of its own, under which it
// calls nobody.
//
// Goroutines: expire, keepProvisioned and keepSpares run until Close; each start but a spare's has one, which Close waits for.
package pool

import "fmt"

// State is where a member is in its life.
type State uint8

const (
	// Wanted: somebody wished for an environment, and its start waits for its turn or for memory. It holds nothing and
	// can be dropped.
	Wanted State = iota
	// Starting: it has its place and its memory. Its environment is being made, or is about to be, and has never been offered.
	Starting
	// Idle: its environment was offered and is in the set's idle list. The next invocation may have it.
	Idle
	// Claimed: one invocation has it. It is in no list.
	Claimed
	// Answered: the caller has the answer, and the environment is still at work. It will be offered in a moment.
	Answered
	// Away: no invocation has it and none can: the environment withdrew its offer. It is offered again, or ends.
	Away
	// Leaving: it was asked to go. No invocation gets it any more; one that has it is answered.
	Leaving
	// Gone: nothing is left of it. The invocation that had it last may not have said its last word; nothing else is legal.
	Gone
	numStates
)

// Event is something that happened to a member.
type Event uint8

const (
	Placed         Event = iota // there is room for it
	Adopted                     // its environment was made for another purpose, and is there
	Unwanted                    // its turn came, and nobody needs it any more
	Unplaced                    // it gets no place: the pool drains, or memory is short
	Opened                      // its environment can be stopped from now on: the first one, or the Init that a failed restore has become
	Offered                     // its environment can take an invoke
	Unfit                       // so it can, but none may run in it any more: superseded, replaced, past its time, draining
	Spent                       // so it can, but another environment would be faster: its runtime ended
	Withdrawn                   // its environment can take no invoke after all
	Assigned                    // an invocation has it
	CallerAnswered              // the caller of that invocation has the answer
	NotTaken                    // its environment refused that invocation; nothing of it has run
	GivenBack                   // that invocation's caller left before it was handed to the environment
	StopAsked                   // the pool lets it go: idle, expired, superseded, reclaimed, drained
	Ended                       // nothing is left of its environment, or there will be none
	numEvents
)

// Action is something the pool does because of a move.
type Action uint8

const (
	Join         Action = iota // it is one of the pool's environments: it counts against their number, its age begins
	Promise                    // its memory is promised
	Settle                     // its memory is taken, or will not be: the promise ends
	List                       // put it among the idle ones of its set
	Unlist                     // take it out
	BeginTurn                  // count the invocation; a spare is an ordinary environment from now on
	Stop                       // stop its environment, if there is one yet
	StartAnother               // those who wait may need another start
	NoteFailure                // if it was made ahead of demand and has served nobody: the next one comes later
	TellWaiter                 // those who wait will not get it: the oldest is told, or another start is wanted
	Forget                     // it is none of the pool's environments any more
	numActions
)

// BadMoveError refuses an event; the state is unchanged and nothing is to be done.
type BadMoveError struct {
	State State
	Event Event
}

func (e *BadMoveError) Error() string { return fmt.Sprintf("%v in state %v", e.Event, e.State) }

// Next is the whole life of a member: no I/O, no clock, no lock.
func Next(s State, e Event) (State, []Action, error) {
	switch s {
	case Wanted:
		return whileWanted(e)
	case Leaving:
		return whileLeaving(e)
	case Gone:
		switch e {
		case CallerAnswered, NotTaken, GivenBack: // as from Idle: late, and without a meaning
			return Gone, nil, nil
		}
		return Gone, nil, &BadMoveError{s, e}
	}
	switch e { // from everywhere else
	case StopAsked:
		return Leaving, onStop(s), nil
	case Ended:
		return Gone, onEnd(s), nil
	}
	switch s {
	case Starting:
		switch e {
		case Opened:
			return Starting, nil, nil
		case Offered:
			return Idle, []Action{Settle, List}, nil
		case Unfit:
			return Leaving, []Action{Settle, Stop, StartAnother}, nil
		case Spent:
			return Leaving, []Action{Settle, Stop, NoteFailure, StartAnother}, nil
		}
	case Idle:
		switch e {
		case Assigned:
			return Claimed, []Action{Unlist, BeginTurn}, nil
		case Withdrawn:
			return Away, []Action{Unlist}, nil
		case Unfit:
			return Leaving, []Action{Unlist, Stop, StartAnother}, nil
		case Spent:
			return Leaving, []Action{Unlist, Stop, NoteFailure, StartAnother}, nil
		case CallerAnswered, NotTaken, GivenBack: // the environment was faster than the invocation that says so
			return Idle, nil, nil
		}
	case Claimed, Answered, Away:
		return whileUnlisted(s, e)
	}
	return s, nil, &BadMoveError{s, e}
}

// whileWanted knows the moves of a member that has no place yet.
func whileWanted(e Event) (State, []Action, error) {
	switch e {
	case Placed:
		return Starting, []Action{Join, Promise}, nil
	case Adopted:
		return Away, []Action{Join}, nil
	case Unwanted:
		return Gone, nil, nil
	case Unplaced:
		return Gone, []Action{NoteFailure, TellWaiter}, nil
	case StopAsked: // nothing is there to stop; it is Unwanted when its turn comes
		return Wanted, nil, nil
	}
	return Wanted, nil, &BadMoveError{Wanted, e}
}

// whileUnlisted knows the moves of a member whose environment was offered before, and is not now.
func whileUnlisted(s State, e Event) (State, []Action, error) {
	switch e {
	case Offered:
		return Idle, []Action{List}, nil
	case Unfit:
		return Leaving, []Action{Stop, StartAnother}, nil
	case Spent:
		if s == Away {
			return Leaving, []Action{Stop, NoteFailure, StartAnother}, nil
		}
		return Leaving, []Action{Stop, StartAnother}, nil
	case Withdrawn: // also one that was claimed in the same moment: its environment will refuse the invocation
		return Away, nil, nil
	case CallerAnswered:
		if s == Claimed {
			return Answered, nil, nil
		}
		return s, nil, nil
	case NotTaken:
		return Away, nil, nil
	case GivenBack:
		if s == Claimed {
			return Idle, []Action{List}, nil
		}
		return s, nil, nil
	}
	return s, nil, &BadMoveError{s, e}
}

// whileLeaving: what was under way may still be told, and no longer matters.
func whileLeaving(e Event) (State, []Action, error) {
	switch e {
	case Opened: // a stop that was asked for before it was there
		return Leaving, []Action{Stop}, nil
	case Ended:
		return Gone, []Action{Settle, Forget}, nil
	case Offered, Unfit, Spent, Withdrawn, CallerAnswered, NotTaken, GivenBack, StopAsked:
		return Leaving, nil, nil
	}
	return Leaving, nil, &BadMoveError{Leaving, e}
}

func onStop(s State) []Action {
	switch s {
	case Starting:
		return []Action{Stop, StartAnother}
	case Idle:
		return []Action{Unlist, Stop}
	}
	return []Action{Stop}
}

func onEnd(s State) []Action {
	switch s {
	case Starting:
		return []Action{Settle, NoteFailure, TellWaiter, Forget}
	case Idle:
		return []Action{Unlist, NoteFailure, Forget}
	case Away:
		return []Action{NoteFailure, Forget}
	}
	return []Action{Forget}
}

var stateNames = [numStates]string{"Wanted", "Starting", "Idle", "Claimed", "Answered", "Away", "Leaving", "Gone"}

var eventNames = [numEvents]string{"Placed", "Adopted", "Unwanted", "Unplaced", "Opened", "Offered", "Unfit", "Spent", "Withdrawn", "Assigned",
	"CallerAnswered", "NotTaken", "GivenBack", "StopAsked", "Ended"}

var actionNames = [numActions]string{"Join", "Promise", "Settle", "List", "Unlist", "BeginTurn", "Stop", "StartAnother", "NoteFailure", "TellWaiter", "Forget"}

func (s State) String() string  { return stateNames[s] }
func (e Event) String() string  { return eventNames[e] }
func (a Action) String() string { return actionNames[a] }
