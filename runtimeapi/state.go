package runtimeapi

import "fmt"

// State is where one generation's runtime stands. The names are the literal strings that AWS's core puts into its 403 messages.
// Source: aws-lambda-runtime-interface-emulator, internal/lambda/core/states.go.
type State uint8

// The states. What is true in each, and what can no longer happen:
const (
	Started                 State = iota // the process runs and has called nothing yet
	InitError                            // it reported that its init failed; only its end can follow
	RestoreReady                         // parked in restore/next: the snapshot point
	Restoring                            // released from restore/next; after-restore hooks run
	Ready                                // parked in invocation/next
	Running                              // an event was handed out; no answer yet
	InvocationResponse                   // the body of its response is being received
	InvocationErrorResponse              // the body of its error is being received
	ResponseSent                         // the invocation is answered; only next can follow
	RestoreError                         // it reported that an after-restore hook failed; only its end can follow
	Primed                               // a priming invocation is answered; the next one, the snapshot point or a failed hook can follow
	numStates
)

var stateNames = [numStates]string{
	"Started", "InitError", "RestoreReady", "Restoring", "Ready", "Running",
	"InvocationResponse", "InvocationErrorResponse", "RuntimeResponseSentState", "RuntimeRestoreErrorState",
	"RuntimePrimedState",
}

func (s State) String() string {
	if s < numStates {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Event is what moves a runtime: a call of its own, or something the platform does.
type Event uint8

// Calls of the runtime, then moves of the platform.
const (
	CallNext Event = iota
	CallResponse
	CallError
	CallInitError
	CallRestoreNext
	CallRestoreError
	BodyEnded    // the body of a response or error has ended, one way or another
	PrimingEnded // so it has, of an invocation that primes a snapshot
	Delivered    // an event goes to a parked next
	Released     // the snapshot was restored: restore/next is answered
	numEvents
)

var eventNames = [numEvents]string{
	"next", "response", "error", "init/error", "restore/next", "restore/error", "body ended", "priming ended", "event delivered", "restore released",
}

func (e Event) String() string {
	if e < numEvents {
		return eventNames[e]
	}
	return fmt.Sprintf("Event(%d)", uint8(e))
}

// Verdict is what to do about an event.
type Verdict uint8

// The verdicts.
const (
	Refuse  Verdict = iota // 403 InvalidStateTransition for a call; nothing for a move of the platform
	Park                   // hold the call, and tell the host that the runtime is parked
	ParkToo                // hold the call; the host knows already
	Repeat                 // answer with the outstanding event, again
	Receive                // read the body, then BodyEnded
	Accept                 // 202
	Answer                 // answer the parked call
	Done                   // nothing more to do
	numVerdicts
)

var verdictNames = [numVerdicts]string{"refuse", "park", "park too", "repeat event", "receive body", "accept", "answer parked", "done"}

func (v Verdict) String() string { return verdictNames[v] }

// Next is the whole life of a runtime as the Runtime API sees it: no I/O, no clock, no lock. A refused event leaves the state.
//
// Checks of the request id come before it, deliberately: a call that names the wrong invocation must not move anything.
func Next(s State, e Event) (State, Verdict) {
	switch e {
	case CallNext:
		switch s {
		case Started, Restoring, ResponseSent, Primed:
			return Ready, Park
		case Ready:
			return Ready, ParkToo
		case Running: // no lease: an event lost on a broken connection is read again
			return Running, Repeat
		}
	case CallResponse:
		if s == Running {
			return InvocationResponse, Receive
		}
	case CallError:
		if s == Running {
			return InvocationErrorResponse, Receive
		}
	case CallInitError:
		switch s {
		case Started, Primed:
			return InitError, Accept
		case Restoring: // older Java clients report failed after-restore hooks here
			return RestoreError, Accept
		}
	case CallRestoreNext:
		if s == Started || s == Primed {
			return RestoreReady, Park
		}
	case CallRestoreError:
		if s == Restoring {
			return RestoreError, Accept
		}
	case BodyEnded:
		if s == InvocationResponse || s == InvocationErrorResponse {
			return ResponseSent, Done
		}
	case PrimingEnded:
		if s == InvocationResponse || s == InvocationErrorResponse {
			return Primed, Done
		}
	case Delivered:
		if s == Ready {
			return Running, Answer
		}
	case Released:
		if s == RestoreReady {
			return Restoring, Answer
		}
	}
	return s, Refuse
}

// target is the state that a refused call wanted, as 403 messages name it. restore/next says Ready although it would lead
// to RestoreReady: that is AWS's own wording.
func target(e Event) State {
	switch e {
	case CallResponse:
		return InvocationResponse
	case CallError:
		return InvocationErrorResponse
	case CallInitError:
		return InitError
	case CallRestoreError:
		return RestoreError
	}
	return Ready
}

func refusal(from State, e Event) string {
	return "State transition from " + from.String() + " to " + target(e).String() + " failed for runtime. Error: State transition is not allowed"
}
