package execenv

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"

	"thaw/function"
	"thaw/guest/platform"
	"thaw/guest/wire"
	"thaw/trace"
)

// Prime is one event that is invoked while a snapshot is made.
type Prime struct {
	Name    string
	Nth, Of int // which of its invokes this is, from 1
	Event   []byte
}

// PrimingVariable tells a runtime how many events it is primed with: before it calls restore/next it calls invocation/next so often. It is set only
// then. A customer cannot set it: names that begin with an underscore are not passed on (E-143).
const PrimingVariable = "_THAW_PRIMING_INVOKES"

// PrimingMark is the member of the client context's custom map by which a function sees that it is being primed; its value is the event's name. It is a
// text, because AWS's client for Java takes nothing else there.
const PrimingMark = "thaw-priming"

// PrimingError says which priming event was in the way of a snapshot.
type PrimingError struct {
	Event     string
	Nth, Of   int
	ErrorType string
	Message   string // the function's own, where it gave one
}

func (e *PrimingError) Error() string {
	text := fmt.Sprintf("Priming event %s (%d of %d): %s", e.Event, e.Nth, e.Of, e.ErrorType)
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// prime sends the next event.
func (d *driver) prime() {
	p := d.o.Make.Primes[d.making.primed]
	d.making.primed++
	mark, err := json.Marshal(map[string]any{"custom": map[string]string{PrimingMark: p.Name}})
	if err != nil {
		panic(err) // a map of strings
	}
	now := time.Now()
	d.attempt = &attempt{task: newTask(&function.Invocation{RequestID: uuid.NewString(), InvokedARN: d.o.Version.ARN(), ClientContext: string(mark),
		TraceID: trace.Complete("")}), assigned: now, started: now, deadline: now.Add(d.o.Version.Timeout), priming: &p}
	d.limit.Reset(d.o.Version.Timeout)
	d.looks.Reset(longInvoke)
	a := d.attempt
	d.emit(platform.Priming{RequestID: a.RequestID, Event: p.Name, Invoke: p.Nth, Of: p.Of}) // says in the log that what follows is no caller's
	d.emit(a.start(string(d.o.Version.Number)))
	d.send(wire.KindInvoke, wire.Invoke{RequestID: a.RequestID, InvocationID: a.id, DeadlineUnixMs: a.deadline.UnixMilli(), FunctionARN: string(a.InvokedARN),
		TraceID: a.TraceID, ClientContext: a.ClientContext, Priming: true}, p.Event)
}

// endPriming writes END and REPORT, and lets Init go on under what is left of its limit. The guest has sent all output before the answer.
func (d *driver) endPriming() {
	a := d.attempt
	took := time.Since(a.started)
	if a.errType == errTimedOut {
		took = d.o.Version.Timeout
	}
	d.making.primingTook += took
	if a.stage == unsettled {
		a.settle(function.Outcome{}, statusSuccess, "")
		if d.state != Primed {
			a.status, a.errType = "failure", "Sandbox.Failure" // the sandbox went, or it was told to go
		}
	}
	d.look()
	d.report(took)
	d.attempt = nil
	if d.state == Primed {
		d.limit.Reset(d.longInit() - (time.Since(d.gen.from) - d.making.primingTook))
	}
}

// primingFailed ends the making because of the event in flight.
func (d *driver) primingFailed(errType, message string) {
	a := d.attempt
	status := statusError
	if errType == errTimedOut {
		status = statusTimeout
	}
	if errType == "" {
		errType = "Runtime.Unknown"
	}
	a.settle(function.Outcome{}, status, errType)
	if a.posted.FunctionError == "" {
		d.emit(platform.Fault{RequestID: a.RequestID, Message: message, ErrorType: errType, Timeout: errType == errTimedOut})
	}
	d.failure = &PrimingError{Event: a.priming.Name, Nth: a.priming.Nth, Of: a.priming.Of, ErrorType: errType, Message: message}
}

// primingAnsweredBadly: the function's answer to the event in flight is an error.
func (d *driver) primingAnsweredBadly() {
	a := d.attempt
	errType := a.errType
	var body struct { // the function's own word, which the header holds only where it is one of the platform's
		Type string `json:"errorType"`
	}
	if json.Unmarshal(a.posted.Payload, &body) == nil && body.Type != "" {
		errType = body.Type
	}
	d.primingFailed(errType, messageOf(a.posted.Payload))
}

// primingRefused: the runtime reached its snapshot point and left events over.
func (d *driver) primingRefused() {
	p := d.o.Make.Primes[d.making.primed]
	d.failure = &PrimingError{Event: p.Name, Nth: p.Nth, Of: p.Of, ErrorType: "Runtime.NotPrimed",
		Message: "the runtime called restore/next without taking it: under " + PrimingVariable + " it must call invocation/next first"}
}
