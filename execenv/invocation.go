package execenv

import (
	"context"
	"crypto/rand"
	"errors"
	"time"

	"thaw/function"
	"thaw/guest/wire"
)

// ErrNotTaken says that the environment could not take the invocation; nothing of it was run, another environment may.
var ErrNotTaken = errors.New("environment can take no invoke")

// task is one attempt of one invocation on its way to a driver, and the way back for its outcome.
type task struct {
	function.Invocation        // the driver's own copy
	id                  string // unique per attempt
	reply               chan function.Outcome
}

func newTask(inv *function.Invocation) *task {
	return &task{Invocation: *inv, id: rand.Text(), reply: make(chan function.Outcome, 1)}
}

// SandboxError says that the sandbox, not the function, ended an invocation.
type SandboxError struct {
	Env   ID
	Phase string
	Err   error
}

func (e *SandboxError) Error() string {
	return e.Phase + " in environment " + string(e.Env) + ": " + e.Err.Error()
}
func (e *SandboxError) Unwrap() error { return e.Err }

// unhandled is the only function error that the service reports today. Source: spec 1.7 note 2.
const unhandled = "Unhandled"

// attempt is an invocation while an environment has it.
type attempt struct {
	*task
	assigned time.Time        // when the environment took it
	started  time.Time        // when START was written; zero before
	headAt   time.Time        // when the first of the answer came
	endAt    time.Time        // when the last of it came
	doneAt   time.Time        // when the runtime had called next, or was known not to
	lateBy   time.Duration    // how long ago that was when it was told
	posted   function.Outcome // by the runtime, on its way to the caller
	deadline time.Time
	stage    stage
	outcome  function.Outcome // once settled
	status   string           // success, error, timeout
	errType  string
	tail     tailBuffer
	pump     *pump  // streamed responses
	collect  []byte // streamed response to a caller that wants it in one piece, as long as it is not too large
	produced int64  // bytes of the answer
	priming  *Prime // set: nobody waits for it
	thrown   thrown // by the handler
}

// thrown is what the runtime says of an error of the handler, for a trace.
type thrown struct {
	errType string
	cause   []byte // JSON
}

// timings are the attempt's. ended is when the extensions were done, too.
func (a *attempt) timings(ended time.Time, env ID, first first) *function.Timings {
	t := &function.Timings{Taken: a.assigned, Started: a.started, Responding: a.headAt, Responded: a.endAt, RuntimeDone: a.doneAt, Ended: ended,
		Init: first.initial, Restore: first.restored, Status: a.status, ErrorType: a.errType, Cause: a.thrown.cause, Environment: string(env)}
	if a.status == statusSuccess && a.erred() { // to the platform an error of the handler is an answer
		t.Status, t.ErrorType = statusError, a.thrown.errType
	}
	return t
}

// stage is how far an attempt is on its way back to its caller.
type stage uint8

const (
	unsettled stage = iota // what comes of it is not known
	settled                // it is, and the caller has not been answered
	answered               // he has
)

// settle fixes the outcome; the first one wins.
func (a *attempt) settle(o function.Outcome, status, errType string) {
	if a.stage != unsettled {
		return
	}
	a.stage, a.outcome, a.status, a.errType = settled, o, status, errType
}

// tooLarge says that what a caller wants in one piece is more than one piece may be.
func (a *attempt) tooLarge() bool { return a.produced > wire.MaxPayload }

// answer hands the outcome to the caller, once.
func (a *attempt) answer() {
	if a.stage != settled {
		return
	}
	a.stage = answered
	a.outcome.LogTail = a.tail.bytes()
	if p := a.pump; p != nil {
		o, ch := a.outcome, a.reply
		o.Streamed = true
		p.finish(func(delivered error) {
			if delivered != nil && o.StreamErrorType == "" && !errors.Is(delivered, context.Canceled) {
				o.StreamErrorType, o.StreamErrorDetails = errTypeTooLargeOr(delivered)
			}
			ch <- o
		})
		return
	}
	a.reply <- a.outcome
}

// tailBytes is how much of an invocation's log X-Amz-Log-Result carries. Source: Lambda API reference, Invoke, LogResult.
const tailBytes = 4 << 10

// tailBuffer keeps the last tailBytes of what is added to it; it does nothing unless on.
type tailBuffer struct {
	on  bool
	buf []byte
}

func (t *tailBuffer) add(s string) {
	if !t.on {
		return
	}
	t.buf = append(t.buf, s...)
	if len(t.buf) > 4*tailBytes {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-tailBytes:]...)
	}
}

func (t *tailBuffer) bytes() []byte {
	if !t.on {
		return nil
	}
	return t.buf[max(0, len(t.buf)-tailBytes):]
}
