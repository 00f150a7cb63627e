package execenv

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"thaw/function"
	"thaw/guest/platform"
	"thaw/guest/wire"
	"thaw/trace"
)

// errTimedOut is the outward name of a timeout. Source: recordings of the real service; spec Appendix B3.
const errTimedOut = "Sandbox.Timedout"

func (d *driver) assign(t *task) {
	if _, _, err := Next(d.state, Assigned); err != nil {
		t.reply <- function.Outcome{Err: ErrNotTaken}
		return
	}
	if d.invokes > 0 && t.TenantID != d.tenant { // whoever keeps the environments apart has failed
		t.reply <- function.Outcome{Err: &SandboxError{Env: d.id, Phase: "assign", Err: errors.New("the environment belongs to another tenant")}}
		return
	}
	d.tenant = t.TenantID
	if t.TraceID == "" {
		t.TraceID = trace.Complete("") // nobody decided about it
	}
	now := time.Now()
	d.attempt = &attempt{task: t, assigned: now, deadline: now.Add(d.o.Version.Timeout), tail: tailBuffer{on: t.Tail}}
	if d.early.on && t.Tail {
		d.attempt.tail.buf = d.early.buf
	}
	d.early = tailBuffer{}
	d.invokes++
	d.handle(Assigned)
}

func (d *driver) sendInvoke() {
	a := d.attempt
	a.started = time.Now()
	d.limit.Reset(time.Until(a.deadline))
	d.looks.Reset(longInvoke)
	start := a.start(string(d.o.Version.Number))
	d.tell(a.started, start) // before what the function says
	d.send(wire.KindInvoke, wire.Invoke{RequestID: a.RequestID, InvocationID: a.id, DeadlineUnixMs: a.deadline.UnixMilli(),
		FunctionARN: string(a.InvokedARN), TraceID: a.TraceID, ClientContext: a.ClientContext, TenantID: a.TenantID,
		ContentType: a.ContentType}, a.Event)
	a.Event = nil // the guest has it
	d.record(a.started, start)
}

func (d *driver) answerCaller() {
	a := d.attempt
	a.settle(a.posted, statusSuccess, "")
	a.posted = function.Outcome{}
	if !a.Tail {
		a.answer()
	}
}

// errorBody is the body that the platform itself answers with. Source: spec 2.11; member order as recorded.
func errorBody(errType, message, requestID string) []byte {
	if requestID != "" {
		message = "RequestId: " + requestID + " Error: " + message
	} else {
		message = "Error: " + message
	}
	b, _ := json.Marshal(struct {
		Type    string `json:"errorType"`
		Message string `json:"errorMessage"`
	}{errType, message})
	return b
}

// exitType is the error that an exit is.
func exitType(x *wire.Exited) string {
	switch {
	case x.ErrorType != "":
		return x.ErrorType
	case x.LaunchError != "":
		return x.LaunchError
	}
	return "Runtime.ExitError"
}

// failInvoke makes the answer for a function that could not make one itself.
func (d *driver) failInvoke(ev Event) {
	a := d.attempt
	if a == nil {
		return
	}
	if a.started.IsZero() { // Init inside the invoke failed: START comes after INIT_REPORT. Source: spec 1.5
		a.started = time.Now()
		d.emit(a.start(string(d.o.Version.Number)))
	}
	if ev == Starved || ev == ProcessExited && d.gen.exit != nil && d.gen.exit.Starved { // nothing of the function ran
		d.sandboxFailed("init", errors.New(d.gen.exit.Reason()))
		return
	}
	o := function.Outcome{ContentType: "application/json", FunctionError: unhandled}
	status, errType, message := statusError, "Runtime.ExitError", ""
	switch {
	case ev == LimitReached:
		status, errType = statusTimeout, errTimedOut
		message = fmt.Sprintf("Task timed out after %.2f seconds", d.o.Version.Timeout.Seconds())
	case d.gen.initError != nil && len(d.gen.initError.body) > 0:
		o.Payload, o.ContentType, errType = d.gen.initError.body, d.gen.initError.contentType, d.gen.initError.errType
	case d.gen.initError != nil:
		errType, message = d.gen.initError.errType, "Runtime failed to initialise"
	case ev == ProcessExited && d.gen.exit != nil:
		errType = exitType(d.gen.exit)
		message = d.gen.exit.Reason()
	case ev == SandboxExited && errors.Is(d.failure, errSandboxMemory):
		message = "Runtime exited with error: signal: killed"
	default: // the sandbox went, or it was told to go
		err := d.failure
		if err == nil {
			err = errors.New(d.stopWhy)
		}
		d.sandboxFailed("invoke", err)
		return
	}
	if o.Payload == nil {
		o.Payload = errorBody(errType, message, a.RequestID)
		d.emit(platform.Fault{RequestID: a.RequestID, Message: message, ErrorType: errType, Timeout: errType == errTimedOut})
	}
	if d.gen.exit != nil && d.gen.exit.OutOfMemory || errors.Is(d.failure, errSandboxMemory) {
		errType = "Runtime.OutOfMemory" // of the REPORT line; the caller sees the exit. Source: spec 1.7
	}
	d.endStreamInto(&o, errType)
	a.settle(o, status, errType)
	if !a.Tail {
		a.answer()
	}
}

// sandboxFailed answers an invocation that failed by no doing of its function.
func (d *driver) sandboxFailed(phase string, err error) {
	a := d.attempt
	a.settle(function.Outcome{Err: &SandboxError{Env: d.id, Phase: phase, Err: err}}, "failure", "Sandbox.Failure")
	a.errType = "Sandbox.Failure"
	d.endStream("Sandbox.Failure", errorBody("Sandbox.Failure", "the environment ended", a.RequestID))
	if !a.Tail {
		a.answer()
	}
}

// reportInvoke ends the invocation: END, REPORT, and the answer of those who wanted the log with it.
func (d *driver) reportInvoke(ev Event) {
	a := d.attempt
	if a == nil {
		return
	}
	took := time.Since(a.started)
	if !a.started.IsZero() && a.assigned.Before(a.started) && d.gen.phase == phaseInvoke {
		took = time.Since(a.assigned) // Init inside the invoke is part of its Duration. Source: spec 1.5
	}
	if a.status == statusTimeout || (ev == LimitReached && d.state == Resetting) {
		took = d.o.Version.Timeout // what is printed and billed is the configured limit. Source: spec 1.5 notes
	}
	switch { // the runtime answered and then did not come back
	case ev == LimitReached && a.status == statusSuccess:
		a.status = statusTimeout
	case ev == ProcessExited && a.status == statusSuccess && d.gen.exit != nil:
		a.status, a.errType = statusError, exitType(d.gen.exit)
		if d.gen.exit.OutOfMemory {
			a.errType = "Runtime.OutOfMemory"
		}
	case a.stage == unsettled:
		a.settle(function.Outcome{Err: &SandboxError{Env: d.id, Phase: "invoke", Err: errors.New("no answer")}}, "failure", "Sandbox.Failure")
	}
	d.looks.Stop()
	if d.box != nil && ev != SandboxExited && (a.Tail || took > longInvoke || time.Since(d.sampled) > memorySampleEvery) {
		d.look()
	}
	if d.gen.exit != nil && d.gen.exit.OutOfMemory || errors.Is(d.failure, errSandboxMemory) {
		d.maxMemory = max(d.maxMemory, int64(d.o.Version.MemoryMiB)<<20)
	}
	d.report(took)
	a.answer()
	d.attempt, d.gen.exit, d.gen.phase = nil, nil, ""
}
