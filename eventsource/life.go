package eventsource

import "fmt"

// State is where a mapping is in its life. Two states have one name on the wire: see Name.
type State uint8

// The states.
const (
	Creating  State = iota // its pollers are being opened for the first time
	Enabling               // its pollers are being opened again
	Enabled                // its pollers run, or wait for a source or function that is not there
	Updating               // its pollers are being opened with other options
	Retuning               // other options of a mapping that is disabled; Updating on the wire
	Disabling              // nothing is begun any more; invokes in flight are waited for
	Disabled               // nothing runs, positions are stored
	Deleting               // as Disabling, and what is stored will be removed
	Gone                   // nothing is left: 404
	NumStates
)

var stateNames = [NumStates]string{"Creating", "Enabling", "Enabled", "Updating", "Retuning", "Disabling", "Disabled", "Deleting", "Gone"}

func (s State) String() string {
	if s < NumStates {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Name is the state as clients see it.
func (s State) Name() string {
	if s == Retuning {
		return Updating.String()
	}
	return s.String()
}

// Event is what happens to a mapping.
type Event uint8

// The events.
const (
	Started       Event = iota // the server that runs the mapping has started
	Opened                     // the source was reached, and pollers run
	SourceFailed               // the source cannot be reached, refuses, or is gone
	FunctionGone               // nothing answers to the function's name
	FunctionBack               // something does again
	UpdateAsked                // UpdateEventSourceMapping
	EnableAsked                // the same, with Enabled true for one that is not
	DisableAsked               // the same, with Enabled false for one that is
	Settled                    // the options of a disabled mapping are in force
	DrainFinished              // no invoke is in flight, and positions are stored
	DeleteAsked                // DeleteEventSourceMapping
	Removed                    // checkpoints and record are removed
	TagAsked                   // TagResource, UntagResource
	NumEvents
)

var eventNames = [NumEvents]string{"started", "opened", "source-failed", "function-gone", "function-back", "update-asked", "enable-asked",
	"disable-asked", "settled", "drain-finished", "delete-asked", "removed", "tag-asked"}

func (e Event) String() string {
	if e < NumEvents {
		return eventNames[e]
	}
	return fmt.Sprintf("event %d", uint8(e))
}

// Action is what the owner of a mapping does after a move, in the order given.
type Action uint8

// The actions.
const (
	Save   Action = iota // store the record with its new state
	Open                 // open the source and start pollers
	Reopen               // end the pollers as in a drain, then Open with the options of now
	Report               // say in LastProcessingResult and StateTransitionReason what is wrong, and try again after a pause
	Rest                 // end the pollers and wait: there is nobody to deliver to
	Drain                // begin nothing, wait for invokes in flight, store positions
	Settle               // put options in force where nothing runs
	Remove               // remove checkpoints and record
)

var actionNames = [...]string{"save", "open", "reopen", "report", "rest", "drain", "settle", "remove"}

func (a Action) String() string {
	if int(a) < len(actionNames) {
		return actionNames[a]
	}
	return fmt.Sprintf("action %d", uint8(a))
}

// BadMoveError refuses an event. Clients see ResourceInUseException.
type BadMoveError struct {
	State State
	Event Event
}

func (e *BadMoveError) Error() string { return fmt.Sprintf("%v in state %v", e.Event, e.State) }

// Next is the whole life of a mapping: no I/O, no clock, no lock. A refused event leaves the state as it is.
//
// Unlike the service, a mapping whose source was never reached can be updated, so that a wrong address or secret can be
// corrected, and any mapping that is not already being deleted can be deleted.
func Next(s State, e Event) (State, []Action, error) {
	switch e {
	case Started:
		return started(s, e)
	case DeleteAsked:
		if s != Deleting && s != Gone {
			return Deleting, []Action{Save, Drain}, nil
		}
	case DrainFinished:
		switch s {
		case Disabling:
			return Disabled, []Action{Save}, nil
		case Deleting:
			return Deleting, []Action{Remove}, nil
		}
	case TagAsked:
		if s != Deleting && s != Gone {
			return s, []Action{Save}, nil
		}
	case Removed:
		if s == Deleting {
			return Gone, nil, nil
		}
	case Settled:
		if s == Retuning {
			return Disabled, []Action{Save}, nil
		}
	case EnableAsked:
		if s == Disabled || s == Retuning {
			return Enabling, []Action{Save, Open}, nil
		}
	case UpdateAsked:
		switch s {
		case Disabled, Retuning:
			return Retuning, []Action{Save, Settle}, nil
		case Creating, Enabling, Enabled, Updating:
			return Updating, []Action{Save, Reopen}, nil
		}
	default:
		return running(s, e)
	}
	return s, nil, &BadMoveError{s, e}
}

// Asked is the event of UpdateEventSourceMapping in a state. enabled is its member Enabled; nil: it has none.
func Asked(s State, enabled *bool) Event {
	if enabled == nil {
		return UpdateAsked
	}
	switch s {
	case Disabled, Retuning:
		if *enabled {
			return EnableAsked
		}
	case Creating, Enabling, Enabled, Updating:
		if !*enabled {
			return DisableAsked
		}
	}
	return UpdateAsked
}

// started takes up what a server before has left.
func started(s State, e Event) (State, []Action, error) {
	switch s {
	case Creating, Enabling, Enabled, Updating:
		return s, []Action{Open}, nil
	case Retuning:
		return s, []Action{Settle}, nil
	case Disabling, Deleting: // nothing of ours is in flight
		return s, []Action{Drain}, nil
	case Disabled:
		return s, nil, nil
	}
	return s, nil, &BadMoveError{s, e}
}

// running is what happens while pollers run or are being opened.
func running(s State, e Event) (State, []Action, error) {
	switch s {
	case Creating, Enabling, Enabled, Updating:
	case Disabling, Disabled, Retuning, Deleting:
		if e != DisableAsked { // news of pollers that end: too late to matter
			return s, nil, nil
		}
		return s, nil, &BadMoveError{s, e}
	default:
		return s, nil, &BadMoveError{s, e}
	}
	switch e {
	case Opened:
		if s == Enabled {
			return s, nil, nil // again, after a failure
		}
		return Enabled, []Action{Save}, nil
	case SourceFailed:
		return s, []Action{Report}, nil
	case FunctionGone:
		return s, []Action{Rest, Report}, nil
	case FunctionBack:
		return s, []Action{Open}, nil
	case DisableAsked:
		return Disabling, []Action{Save, Drain}, nil
	}
	return s, nil, &BadMoveError{s, e}
}
