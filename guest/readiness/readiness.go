// Package readiness knows who takes part in the phases of an environment, and when a phase is over: the runtime, the external
// extensions and the internal ones. Whoever takes part ends its part by calling its next; a phase is over when all have.
//
// The runtime:
//
//	Started --next--> Ready --event--> Running --response--> InvocationResponse ------.
//	  |  |              ^                 `------error-----> InvocationErrorResponse --+
//	  |  |              `------------next------------- RuntimeResponseSentState <-----'
//	  |  `--restore/next--> RestoreReady --restored--> Restoring --next--> Ready
//	  |                                                   `--restore/error, init/error--> RuntimeRestoreErrorState
//	  `--init/error--> InitError
//
// An invocation that primes a snapshot ends in RuntimePrimedState instead, which allows what Started allows.
//
// An extension (an internal one begins with its register call, and has no process of its own):
//
//	LaunchError <-- Started --register--> Registered --event/next--> Ready --event--> Running --event/next--> Ready
//	                                          `--init/error--> InitError
//	Registered, Ready, Running --exit/error--> ExitError
//	any, once SHUTDOWN was delivered or the process was killed: Exited, ShutdownFailed
//
// Next is these diagrams as a function; testdata/next.golden is its whole table. Crew is everybody together.
package readiness

import "fmt"

// Role says what a participant is.
type Role uint8

// The roles.
const (
	Runtime Role = iota
	External
	Internal
	numRoles
)

var roleNames = [numRoles]string{"runtime", "external", "internal"}

func (r Role) String() string { return roleNames[r] }

// State is where a participant stands. The names are the literal strings that AWS's core puts into its 403 messages and into
// platform.extension. Source: aws-lambda-runtime-interface-emulator, internal/lambda/core/states.go.
type State uint8

// The states. What is true in each, and what can no longer happen:
const (
	Started                 State = iota // the process runs and has called nothing yet
	Registered                           // an extension has said what it wants to hear of
	InitError                            // it reported that its init failed; only its end can follow
	RestoreReady                         // parked in restore/next: the snapshot point
	Restoring                            // released from restore/next; after-restore hooks run
	Ready                                // parked in its next
	Running                              // an event was handed out; no answer yet
	InvocationResponse                   // the body of its response is being received
	InvocationErrorResponse              // the body of its error is being received
	ResponseSent                         // the invocation is answered; only next can follow
	RestoreError                         // it reported that an after-restore hook failed; only its end can follow
	Primed                               // a priming invocation is answered; the next one, the snapshot point or a failed hook can follow
	ExitError                            // an extension reported that it must go; only its end can follow
	LaunchError                          // an extension's process could not be started
	Exited                               // its process has ended, by itself
	ShutdownFailed                       // its process was killed during shutdown, or ended badly
	numStates
)

var stateNames = [numStates]string{
	"Started", "Registered", "InitError", "RestoreReady", "Restoring", "Ready", "Running",
	"InvocationResponse", "InvocationErrorResponse", "RuntimeResponseSentState", "RuntimeRestoreErrorState",
	"RuntimePrimedState", "ExitError", "LaunchError", "Exited", "ShutdownFailed",
}

func (s State) String() string {
	if s < numStates {
		return stateNames[s]
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Event is what moves a participant: a call of its own, or something the platform does.
type Event uint8

// Calls, then moves of the platform.
const (
	CallRegister     Event = iota // extension/register
	CallNext                      // invocation/next, event/next
	CallResponse                  // of the runtime
	CallError                     // of the runtime
	CallInitError                 // init/error of either
	CallExitError                 // exit/error of an extension
	CallRestoreNext               // of the runtime
	CallRestoreError              // of the runtime
	BodyEnded                     // the body of a response or error has ended, one way or another
	PrimingEnded                  // so it has, of an invocation that primes a snapshot
	Delivered                     // an event goes to a parked next
	Released                      // the snapshot was restored: restore/next is answered
	LaunchFailed                  // there will be no process
	ProcessExited                 // the process has ended with status 0
	ProcessFailed                 // the process has ended otherwise
	numEvents
)

var eventNames = [numEvents]string{
	"register", "next", "response", "error", "init/error", "exit/error", "restore/next", "restore/error", "body ended", "priming ended",
	"event delivered", "restore released", "launch failed", "process exited", "process failed",
}

func (e Event) String() string {
	if e < numEvents {
		return eventNames[e]
	}
	return fmt.Sprintf("Event(%d)", uint8(e))
}

// call says whether an event is a call of a participant, which is refused with an answer.
func (e Event) call() bool { return e <= CallRestoreError }

// Verdict is what to do about an event.
type Verdict uint8

// The verdicts.
const (
	Refuse  Verdict = iota // 403 InvalidStateTransition for a call; nothing for a move of the platform
	Park                   // hold the call
	ParkToo                // hold the call beside the one that is held already
	Repeat                 // answer with the outstanding event, again
	Receive                // read the body, then BodyEnded
	Accept                 // answer that it is done
	Answer                 // answer the parked call
	Done                   // nothing more to do
	numVerdicts
)

var verdictNames = [numVerdicts]string{"refuse", "park", "park too", "repeat event", "receive body", "accept", "answer parked", "done"}

func (v Verdict) String() string { return verdictNames[v] }

// Next is the whole life of a participant: no I/O, no clock, no lock. A refused event leaves the state.
//
// Checks of request ids and identifiers come before it, deliberately: a call that names the wrong invocation must not
// move anything.
func Next(r Role, s State, e Event) (State, Verdict) {
	if r == Runtime {
		return nextOfRuntime(s, e)
	}
	return nextOfExtension(r, s, e)
}

func nextOfRuntime(s State, e Event) (State, Verdict) {
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

func nextOfExtension(r Role, s State, e Event) (State, Verdict) {
	switch e {
	case CallRegister:
		if s == Started {
			return Registered, Accept
		}
	case CallNext:
		if s == Registered || s == Running {
			return Ready, Park
		}
	case CallInitError:
		if s == Registered || s == InitError {
			return InitError, Accept
		}
	case CallExitError:
		switch s {
		case Registered, Ready, Running, ExitError:
			return ExitError, Accept
		}
	case Delivered:
		if s == Ready {
			return Running, Answer
		}
	case LaunchFailed:
		if r == External && s == Started {
			return LaunchError, Done
		}
	case ProcessExited, ProcessFailed:
		if r != External {
			break
		}
		switch s {
		case InitError, ExitError: // that is known already, and says more
			return s, Done
		case LaunchError, Exited, ShutdownFailed:
		default:
			if e == ProcessExited {
				return Exited, Done
			}
			return ShutdownFailed, Done
		}
	}
	return s, Refuse
}

// target is the state that a refused call wanted, as 403 messages name it. restore/next says Ready although it would lead
// to RestoreReady: that is AWS's own wording.
func target(e Event) State {
	switch e {
	case CallRegister:
		return Registered
	case CallResponse:
		return InvocationResponse
	case CallError:
		return InvocationErrorResponse
	case CallInitError:
		return InitError
	case CallExitError:
		return ExitError
	case CallRestoreError:
		return RestoreError
	}
	return Ready
}

// Refusal is the message of a 403. who is "runtime", or "extension" with a name or an identifier.
func Refusal(who string, from State, e Event) string {
	return "State transition from " + from.String() + " to " + target(e).String() + " failed for " + who + ". Error: State transition is not allowed"
}
