package sns

// State is where a delivery of one message to one subscription is.
type State uint8

// The states.
const (
	Waiting State = iota // for its time, or its turn: on disk
	Sending              // an attempt is under way
	Giving               // an attempt to reach the dead-letter queue is
	Parked               // for another attempt to reach the dead-letter queue: on disk
	Over                 // nothing of it is left
	numStates
)

// Event is what happens to a delivery.
type Event uint8

// The events.
const (
	Due       Event = iota // its time has come
	Delivered              // whoever it is for has it
	Failed                 // another attempt may help
	Refused                // no other attempt will help
	GaveUp                 // Failed, and no retries are left
	Gone                   // the subscription is gone
	numEvents
)

// Action is what follows.
type Action uint8

// The actions.
const (
	Attempt      Action = iota + 1 // send to the endpoint
	AttemptQueue                   // send to the dead-letter queue
	Write                          // note on disk what is known
	Forget                         // the letter no longer needs it
	Lose                           // say that the message is lost
)

func (s State) String() string {
	return [...]string{"Waiting", "Sending", "Giving", "Parked", "Over"}[s]
}

func (e Event) String() string {
	return [...]string{"Due", "Delivered", "Failed", "Refused", "GaveUp", "Gone"}[e]
}

func (a Action) String() string {
	return [...]string{"", "Attempt", "AttemptQueue", "Write", "Forget", "Lose"}[a]
}

// Next is the whole life of a delivery: no I/O, no clock. queue says whether there is a dead-letter queue. ok is false for
// a move that there is not; then nothing changes.
func Next(s State, e Event, queue bool) (to State, do []Action, ok bool) {
	switch {
	case s == Over:
	case e == Gone: // a subscription that ended gets nothing more; its dead letters still go
		if s == Waiting || s == Sending {
			return Over, []Action{Forget}, true
		}
	case s == Waiting && e == Due:
		return Sending, []Action{Attempt}, true
	case s == Parked && e == Due:
		return Giving, []Action{AttemptQueue}, true
	case s == Sending && e == Delivered, s == Giving && e == Delivered:
		return Over, []Action{Forget}, true
	case s == Sending && e == Failed:
		return Waiting, []Action{Write}, true
	case s == Sending && (e == Refused || e == GaveUp) && queue:
		return Parked, []Action{Write}, true
	case s == Sending && (e == Refused || e == GaveUp):
		return Over, []Action{Lose, Forget}, true
	case s == Giving && e == Failed:
		return Parked, []Action{Write}, true
	case s == Giving && (e == Refused || e == GaveUp):
		return Over, []Action{Lose, Forget}, true
	}
	return s, nil, false
}
