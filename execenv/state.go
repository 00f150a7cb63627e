// Package execenv is one execution environment: a sandbox, its runtime, and the life they lead together.
//
//	            SandboxMade           RuntimeParked
//	Creating ---------------> Initializing ----------> Parked <---------------------------+
//	                               |                    |  |  FreezeDue          Froze    |
//	                     InitEnded |                    |  +----------> Freezing --> Frozen
//	                 or its limit  |           Assigned |         Assigned |     | Assigned
//	                               v                    v   Thawed         v     v        | RuntimeParked
//	                           Resetting <--------- Invoking <---------- Waking           |
//	          ProcessesKilled |    ^  exit, limit       | Answered                        |
//	                          v    |                    v                                 |
//	                        Cold   +---------------- Responded ---------------------------+
//	                          | Assigned               ^
//	                          v                        | (through Invoking)
//	                      Reinitializing --------------+
//
//	from anywhere: StopAsked -> ShuttingDown -- ProcessesKilled, its limit --> Stopping -- SandboxClosed --> Gone
//	from anywhere: SandboxExited, ThawFailed -> Stopping
//
// Where extensions take part in invokes, Responded becomes Finishing when the runtime has called next, and Parked when
// they have.
//
// A shutdown has a budget: 0 without extensions, 500 ms with internal ones, 2,000 ms with external ones. It is the
// limit of ShuttingDown and of Resetting, which is a shutdown that keeps the sandbox. Why there is one (SPINDOWN,
// TIMEOUT, FAILURE) is told to the guest with it.
//
// An environment that cannot be frozen or thawed goes. An invoke that was assigned to it has not reached the function:
// it is returned, and the pool gives it to another environment. Freezing and thawing happen beside the driver, in the
// order in which they were asked for.
//
// A Cold environment whose runtime cannot be started, twice in a row and for want of what the sandbox gives, goes:
// Reinitializing -- Starved --> Stopping.
//
// An environment that makes a snapshot, and one that is restored from it, begin otherwise:
//
//	Creating -- SandboxMade --> Initializing -- SnapshotPoint --> Checkpointing -- CheckpointDone --> Stopping
//	                                 | PrimingPoint                    ^
//	                                 v           Answered              | SnapshotPoint
//	                              Priming ------------------------> Primed
//	                                 ^         PrimingPoint            |
//	                                 +---------------------------------+
//	Creating -- SandboxRestored --> Restoring -- RuntimeParked --> Parked, and on as above
//
// Next decides and does nothing; one goroutine per environment, the driver, performs what Next says. The driver owns the sandbox
// handle, the timers and the state; everybody else sees a published Status. No lock is held while the driver acts, so there is no
// lock order to know here.
package execenv

import "fmt"

// State is where an environment is in its life.
type State uint8

const (
	// Creating: the sandbox is being made. Nothing of the function runs; this is not Init time.
	Creating State = iota
	// Initializing: the runtime was started for the first time and has not called next. The Init limit is running.
	Initializing
	// Priming: the runtime has a priming event, of an environment that makes a snapshot. No caller waits; the function's timeout runs.
	Priming
	// Primed: a priming event is answered. The runtime takes the next one, or its before-checkpoint hooks run; what is left of the Init limit is running.
	Primed
	// Checkpointing: the runtime is parked at the snapshot point, the guest is quiet, and the sandbox is being saved. It serves nobody.
	Checkpointing
	// Restoring: the sandbox goes on where the snapshot was taken; after-restore hooks run. The restore limit is running.
	Restoring
	// Parked: the runtime waits in next, and is not frozen yet. An invoke may be assigned without a thaw.
	Parked
	// Freezing: as Parked, and the freeze is under way. Whether anything in the sandbox still runs is not known.
	Freezing
	// Frozen: as Parked, and nothing in the sandbox runs.
	Frozen
	// Thawing: as Parked, and a thaw is under way that no invoke asked for.
	Thawing
	// Waking: an invoke was assigned and a thaw is under way. Nothing of the invoke has been sent; the caller waits.
	Waking
	// Cold: the sandbox and its /tmp are there, no process of the function is: Init is pending and will run inside the next invoke.
	Cold
	// Reinitializing: an invoke was assigned to a Cold environment; Init runs inside it, under the function's own timeout.
	Reinitializing
	// Invoking: the runtime has the event. The caller waits.
	Invoking
	// Responded: the caller has been answered; the runtime has not called next again. The function's timeout still runs.
	Responded
	// Finishing: the runtime has called next; extensions that the invoke was shown to have not. The function's timeout
	// still runs.
	Finishing
	// Resetting: every process of the function is being ended; no invoke is in flight any more. The sandbox stays. The
	// limit is the shutdown budget, and some time to kill what is left.
	Resetting
	// ShuttingDown: the environment goes, and its processes are given the shutdown budget. The limit is that budget,
	// and some time to kill what is left; 0 where nobody is owed a SHUTDOWN event or a SIGTERM.
	ShuttingDown
	// Stopping: the sandbox is being closed. Nothing is answered any more but what was in flight when it began.
	Stopping
	// Gone: nothing is left. No event is legal.
	Gone
	numStates
)

// Event is something that happened to an environment.
type Event uint8

const (
	SandboxMade      Event = iota // the sandbox runs and its guest is listening
	CreateFailed                  // there will be no sandbox
	RuntimeParked                 // the runtime and all extensions called next
	PrimingPoint                  // so it did, in an environment that makes a snapshot and has events to prime it with
	SnapshotPoint                 // so it did, in an environment that makes a snapshot, with no event left
	CheckpointDone                // the sandbox is saved
	CheckpointFailed              // it is not
	SandboxRestored               // the sandbox runs, restored, and its guest waits for the word
	MakeFailed                    // Init, a hook or a priming event of an environment that makes a snapshot did not succeed: there is no second try
	InitEnded                     // the runtime posted init/error and did not go within the grace
	RuntimeDone                   // the runtime called next after an invocation; extensions have not
	ProcessExited                 // the process of the runtime or of an extension ended by itself, or an extension reported that it failed
	Starved                       // the runtime could not be started once more, for want of what the sandbox gives: another try would end alike
	Answered                      // the runtime's response or error has been received completely
	Assigned                      // the pool gave an invoke
	LimitReached                  // the deadline of the state passed
	FreezeDue                     // the environment stayed parked for the freeze grace
	Froze                         // nothing in the sandbox runs any more
	FreezeFailed                  // the sandbox could not be frozen
	Thawed                        // the sandbox runs again
	ThawFailed                    // it does not, and nothing in it has run since the freeze
	ProcessesKilled               // the guest says that no process is left
	KillFailed                    // the guest says that some process would not go
	MemoryReached                 // the memory limit was reached
	StopAsked                     // the pool lets it go: idle, superseded, reclaimed, drained
	SandboxExited                 // the sandbox or the stream to it ended by itself
	SandboxClosed                 // everything of the sandbox has been removed
	numEvents
)

// Action is something the driver does because of a move.
type Action uint8

const (
	StartRuntime  Action = iota // send Start; the Init limit begins, or the invoke's own limit goes on
	SendPriming                 // PRIMING and START, then the event; the function's timeout begins
	EndPriming                  // END and REPORT of a priming event; the Init limit goes on
	FailPriming                 // the same of one that was not answered, or by an error
	Checkpoint                  // save the sandbox
	SendRestored                // tell the guest the time, randomness and credentials; the restore limit begins
	EndRestore                  // RESTORE_REPORT of a restore that succeeded
	ReportRestore               // and of one that did not
	EndInit                     // Init succeeded: note its duration
	ReportInit                  // Init failed: INIT_REPORT with its phase
	Offer                       // tell the pool that an invoke can be assigned
	Withdraw                    // tell the pool that it cannot after all
	Thaw                        // let the sandbox run; its own limit begins
	Freeze                      // stop everything in the sandbox; its own limit begins
	ReturnInvoke                // give the invoke back to the pool: nothing of it has run
	SendInvoke                  // START, then the event; the function's timeout begins unless it already runs
	AnswerCaller                // hand over what the runtime posted
	FailInvoke                  // answer for the function: it timed out, exited, or could not be initialised
	ReportInvoke                // END and REPORT
	EndRuntime                  // the runtime's part of the invocation is over
	KillProcesses               // send Kill with the shutdown budget; the limit of the reset begins
	ShutDown                    // let the sandbox run and send Kill with the shutdown budget; where it is 0, only the limit begins
	KillForMemory               // send OutOfMemory
	CancelCreate                // stop making the sandbox
	CloseSandbox                // remove everything
	TellGone                    // tell the pool; the driver ends
	numActions
)

// BadMoveError refuses an event; the state is unchanged and nothing is to be done.
type BadMoveError struct {
	State State
	Event Event
}

func (e *BadMoveError) Error() string { return fmt.Sprintf("%v in state %v", e.Event, e.State) }

// Next is the whole life of an environment: no I/O, no clock, no lock.
func Next(s State, e Event) (State, []Action, error) {
	switch {
	case s == Gone:
		return Gone, nil, &BadMoveError{s, e}
	case e == SandboxClosed:
		if s != Stopping {
			return s, nil, &BadMoveError{s, e}
		}
		return Gone, []Action{TellGone}, nil
	case s == Stopping:
		return stopping(e)
	case s == ShuttingDown:
		return shuttingDown(e)
	case e == StopAsked:
		return leave(s)
	case e == SandboxExited, e == ThawFailed:
		return Stopping, append(owed(s), CloseSandbox), nil
	case e == MemoryReached:
		return memory(s)
	}
	switch s {
	case Creating:
		switch e {
		case SandboxMade:
			return Initializing, []Action{StartRuntime}, nil
		case SandboxRestored:
			return Restoring, []Action{SendRestored}, nil
		case CreateFailed:
			return Stopping, []Action{CloseSandbox}, nil
		case LimitReached: // the sandbox runs, its guest says nothing
			return Stopping, []Action{CancelCreate, CloseSandbox}, nil
		}
	case Initializing:
		switch e {
		case RuntimeParked:
			return Parked, []Action{EndInit, Offer}, nil
		case InitEnded, ProcessExited, LimitReached:
			return Resetting, []Action{ReportInit, KillProcesses}, nil
		case PrimingPoint:
			return Priming, []Action{SendPriming}, nil
		case SnapshotPoint:
			return Checkpointing, []Action{EndInit, Checkpoint}, nil
		case MakeFailed:
			return ShuttingDown, []Action{ReportInit, ShutDown}, nil
		}
	case Priming:
		switch e {
		case Answered:
			return Primed, []Action{EndPriming}, nil
		case MakeFailed, ProcessExited, LimitReached:
			return ShuttingDown, []Action{FailPriming, ShutDown}, nil
		}
	case Primed:
		switch e {
		case PrimingPoint:
			return Priming, []Action{SendPriming}, nil
		case SnapshotPoint:
			return Checkpointing, []Action{EndInit, Checkpoint}, nil
		case RuntimeDone:
			return Primed, nil, nil
		case MakeFailed, ProcessExited, LimitReached:
			return ShuttingDown, []Action{ReportInit, ShutDown}, nil
		}
	case Checkpointing:
		switch e {
		case CheckpointDone, CheckpointFailed, ProcessExited, LimitReached:
			return Stopping, []Action{CloseSandbox}, nil
		}
	case Restoring:
		switch e {
		case RuntimeParked:
			return Parked, []Action{EndRestore, Offer}, nil
		case InitEnded, ProcessExited, LimitReached:
			return ShuttingDown, []Action{ReportRestore, ShutDown}, nil
		}
	case Parked:
		switch e {
		case Assigned:
			return Invoking, []Action{SendInvoke}, nil
		case FreezeDue:
			return Freezing, []Action{Freeze}, nil
		case ProcessExited:
			return Resetting, []Action{Withdraw, KillProcesses}, nil
		}
	case Freezing, Frozen, Thawing, Waking:
		return asleep(s, e)
	case Cold:
		if e == Assigned {
			return Reinitializing, []Action{StartRuntime}, nil
		}
	case Reinitializing:
		switch e {
		case RuntimeParked:
			return Invoking, []Action{EndInit, SendInvoke}, nil
		case InitEnded, ProcessExited, LimitReached:
			return Resetting, []Action{ReportInit, FailInvoke, ReportInvoke, KillProcesses}, nil
		case Starved:
			return ShuttingDown, []Action{ReportInit, FailInvoke, ReportInvoke, ShutDown}, nil
		}
	case Invoking:
		switch e {
		case Answered:
			return Responded, []Action{AnswerCaller}, nil
		case ProcessExited, LimitReached:
			return Resetting, []Action{FailInvoke, ReportInvoke, KillProcesses}, nil
		}
	case Responded, Finishing:
		switch e {
		case RuntimeDone:
			if s == Responded {
				return Finishing, []Action{EndRuntime}, nil
			}
		case RuntimeParked:
			return Parked, []Action{ReportInvoke, Offer}, nil
		case ProcessExited, LimitReached:
			return Resetting, []Action{ReportInvoke, KillProcesses}, nil
		}
	case Resetting:
		switch e {
		case ProcessesKilled:
			return Cold, []Action{Offer}, nil
		case KillFailed, LimitReached:
			return Stopping, []Action{CloseSandbox}, nil
		case ProcessExited, RuntimeParked, RuntimeDone, InitEnded, Answered: // said before it was killed
			return Resetting, nil, nil
		case Froze, FreezeFailed, Thawed: // a thaw was asked for, too, and precedes the kill
			return Resetting, nil, nil
		}
	}
	return s, nil, &BadMoveError{s, e}
}

// asleep knows the moves of a parked environment that does not run, or is on the way there or back.
func asleep(s State, e Event) (State, []Action, error) {
	late := []Action{Withdraw, CloseSandbox}
	switch {
	case s == Freezing && e == Froze:
		return Frozen, nil, nil
	case s == Freezing && (e == FreezeFailed || e == LimitReached), s == Thawing && e == LimitReached:
		return Stopping, late, nil
	case s == Waking && e == LimitReached:
		return Stopping, []Action{ReturnInvoke, CloseSandbox}, nil
	case (s == Thawing || s == Waking) && (e == Froze || e == FreezeFailed): // the thaw that was asked for after it decides
		return s, nil, nil
	case s == Thawing && e == Thawed:
		return Parked, nil, nil
	case s == Waking && e == Thawed:
		return Invoking, []Action{SendInvoke}, nil
	case (s == Freezing || s == Frozen) && e == Assigned:
		return Waking, []Action{Thaw}, nil
	case s == Thawing && e == Assigned:
		return Waking, nil, nil
	case (s == Freezing || s == Frozen) && e == ProcessExited: // said before the freeze, read after it
		return Resetting, []Action{Withdraw, Thaw, KillProcesses}, nil
	case s == Thawing && e == ProcessExited:
		return Resetting, []Action{Withdraw, KillProcesses}, nil
	case s == Waking && e == ProcessExited:
		return Resetting, []Action{ReturnInvoke, KillProcesses}, nil
	}
	return s, nil, &BadMoveError{s, e}
}

// owed is what callers are owed on the way out of s.
func owed(s State) []Action {
	switch s {
	case Creating:
		return []Action{CancelCreate}
	case Parked, Freezing, Frozen, Thawing, Cold:
		return []Action{Withdraw}
	case Waking:
		return []Action{ReturnInvoke}
	case Reinitializing, Invoking:
		return []Action{FailInvoke, ReportInvoke}
	case Responded, Finishing:
		return []Action{ReportInvoke}
	case Priming:
		return []Action{FailPriming}
	}
	return nil
}

// leave: the pool lets it go. Where processes of the function may be, they are shut down first.
func leave(s State) (State, []Action, error) {
	switch s {
	case Creating, Checkpointing, Cold:
		return Stopping, append(owed(s), CloseSandbox), nil
	case Resetting: // that is a shutdown already; it goes on
		return ShuttingDown, nil, nil
	}
	return ShuttingDown, append(owed(s), ShutDown), nil
}

// shuttingDown: the end of the processes is waited for, and nothing else matters any more.
func shuttingDown(e Event) (State, []Action, error) {
	switch e {
	case ProcessesKilled, KillFailed, LimitReached, SandboxExited, ThawFailed:
		return Stopping, []Action{CloseSandbox}, nil
	case Assigned:
		return ShuttingDown, nil, &BadMoveError{ShuttingDown, e}
	}
	return ShuttingDown, nil, nil
}

// stopping: what was under way may still be told, and no longer matters.
func stopping(e Event) (State, []Action, error) {
	if e == Assigned {
		return Stopping, nil, &BadMoveError{Stopping, e}
	}
	return Stopping, nil, nil
}

// memory: whoever runs when the limit is reached is killed, as the kernel would do it; the exit that follows moves the state.
func memory(s State) (State, []Action, error) {
	switch s {
	case Initializing, Priming, Primed, Restoring, Parked, Thawing, Waking, Reinitializing, Invoking, Responded, Finishing:
		return s, []Action{KillForMemory}, nil
	case Freezing, Frozen: // the sandbox's own upkeep can reach the limit while nothing of the function runs
		return Thawing, []Action{Thaw, KillForMemory}, nil
	}
	return s, nil, nil
}

var stateNames = [numStates]string{"Creating", "Initializing", "Priming", "Primed", "Checkpointing", "Restoring", "Parked", "Freezing",
	"Frozen", "Thawing", "Waking", "Cold", "Reinitializing", "Invoking",
	"Responded", "Finishing", "Resetting", "ShuttingDown", "Stopping", "Gone"}

var eventNames = [numEvents]string{"SandboxMade", "CreateFailed", "RuntimeParked", "PrimingPoint", "SnapshotPoint", "CheckpointDone", "CheckpointFailed",
	"SandboxRestored", "MakeFailed", "InitEnded", "RuntimeDone", "ProcessExited", "Starved", "Answered", "Assigned",
	"LimitReached", "FreezeDue", "Froze", "FreezeFailed", "Thawed", "ThawFailed", "ProcessesKilled", "KillFailed", "MemoryReached", "StopAsked", "SandboxExited", "SandboxClosed"}

var actionNames = [numActions]string{"StartRuntime", "SendPriming", "EndPriming", "FailPriming", "Checkpoint", "SendRestored", "EndRestore", "ReportRestore", "EndInit", "ReportInit", "Offer", "Withdraw",
	"Thaw", "Freeze", "ReturnInvoke", "SendInvoke", "AnswerCaller",
	"FailInvoke", "ReportInvoke", "EndRuntime", "KillProcesses", "ShutDown", "KillForMemory", "CancelCreate", "CloseSandbox", "TellGone"}

func (s State) String() string  { return stateNames[s] }
func (e Event) String() string  { return eventNames[e] }
func (a Action) String() string { return actionNames[a] }
