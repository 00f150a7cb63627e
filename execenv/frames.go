package execenv

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"thaw/function"
	"thaw/guest/wire"
)

// frame takes one message of the guest. A message of an earlier generation of processes is dropped: it was said too late.
func (d *driver) frame(f wire.Frame) {
	var err error
	switch f.Kind {
	case wire.KindHello:
		err = d.hello(f)
	case wire.KindStarted:
		if d.o.Observe != nil && d.phase == phaseInit {
			d.o.Observe("start runtime", time.Since(d.initFrom))
		}
	case wire.KindReady:
		var m wire.Ready
		if err = f.Decode(&m); err == nil && m.Generation == d.generation {
			d.graceTimer.Stop()
			d.parked(m)
		}
	case wire.KindInitError, wire.KindRestoreError:
		var m wire.ErrorHead
		if err = f.Decode(&m); err == nil && m.Generation == d.generation && d.initError == nil {
			d.initError = &initError{errType: m.ErrorType, contentType: m.ContentType, body: f.Body}
			d.graceTimer.Reset(initErrorGrace)
		}
	case wire.KindResponse:
		var m wire.ResponseHead
		if err = f.Decode(&m); err == nil && d.current(m.RequestID) {
			d.attempt.produced = int64(len(f.Body))
			d.answer = function.Outcome{Payload: f.Body, ContentType: m.ContentType}
			d.answered("")
		}
	case wire.KindError:
		var m wire.ErrorHead
		if err = f.Decode(&m); err == nil && d.current(m.RequestID) {
			d.answer = function.Outcome{Payload: f.Body, ContentType: m.ContentType, FunctionError: unhandled}
			d.endStreamInto(&d.answer, m.ErrorType)
			d.answered(m.ErrorType)
		}
	case wire.KindStreamHead:
		var m wire.ResponseHead
		if err = f.Decode(&m); err == nil && d.current(m.RequestID) {
			d.streamHead(m)
		}
	case wire.KindStreamChunk:
		var m wire.StreamChunk
		if err = f.Decode(&m); err == nil && d.current(m.RequestID) {
			d.streamChunk(f.Body)
		}
	case wire.KindStreamEnd:
		var m wire.StreamEnd
		if err = f.Decode(&m); err == nil && d.current(m.RequestID) {
			d.streamEnd(m)
		}
	case wire.KindExited:
		var m wire.Exited
		if err = f.Decode(&m); err == nil && m.Generation == d.generation {
			d.exit = &m
			if d.making() {
				d.makeFailed(RuntimeExited)
			} else {
				d.handle(d.runtimeExited())
			}
			if d.attempt == nil {
				d.exit = nil
			}
		}
	case wire.KindLog:
		var m wire.LogHead
		if err = f.Decode(&m); err == nil {
			d.logFrame(m, f.Body)
			d.owe(wire.LogCost(f.Body))
		}
	case wire.KindQuiesced:
		d.quiesced()
	case wire.KindSnapshotNote:
		var m wire.SnapshotNote
		if err = f.Decode(&m); err == nil && m.Generation == d.generation && d.o.Make != nil {
			if m.ExpiresUnixMs != 0 {
				d.snapshot.StatedExpiry = time.UnixMilli(m.ExpiresUnixMs)
			}
			if m.Hooks != nil {
				d.snapshot.Hooks = m.Hooks
			}
		}
	case wire.KindKilled:
		var m wire.Killed
		if err = f.Decode(&m); err == nil && m.Generation == d.generation {
			if m.Left > 0 {
				d.failure = fmt.Errorf("%d processes would not end", m.Left)
				d.handle(KillFailed)
			} else {
				d.handle(ProcessesKilled)
			}
		}
	case wire.KindFault:
		var m wire.Fault
		if err = f.Decode(&m); err == nil {
			d.o.Log.Error("guest is in trouble", "env", d.id, "doing", m.Doing, "text", m.Text)
		}
	}
	if err != nil {
		d.o.Log.Error("guest speaks nonsense", "env", d.id, "error", err)
		d.lost(err)
	}
}

func (d *driver) hello(f wire.Frame) error {
	var m wire.Hello
	if err := f.Decode(&m); err != nil {
		return err
	}
	if m.Version != wire.Version {
		return fmt.Errorf("guest speaks version %d of the wire, the server version %d: install one release", m.Version, wire.Version)
	}
	if d.o.Observe != nil {
		d.o.Observe("guest up", time.Since(d.created))
	}
	d.handle(SandboxMade)
	return nil
}

// starvedInits is after how many Inits in a row an environment goes whose runtime cannot be started.
const starvedInits = 2

// runtimeExited is the event for d.exit.
func (d *driver) runtimeExited() Event {
	if !d.exit.Starved {
		d.starved = 0
		return RuntimeExited
	}
	d.starved++
	d.o.Log.Warn("runtime cannot be started", "env", d.id, "fn", d.o.Version.Name, "qualifier", d.o.Version.Number, "times", d.starved, "error", d.exit.Reason())
	if d.state != Reinitializing || d.starved < starvedInits {
		return RuntimeExited
	}
	d.failure = fmt.Errorf("the runtime cannot be started: %s", d.exit.Reason())
	return Starved
}

// current says whether the invocation in flight is the one named.
func (d *driver) current(requestID string) bool {
	return d.attempt != nil && d.attempt.RequestID == requestID && (d.state == Invoking || d.state == Priming)
}

// answered: the runtime's answer is in d.answer. errType is the function's error, if it is one.
func (d *driver) answered(errType string) {
	if d.state == Priming && d.answer.FunctionError != "" {
		var body struct { // the function's own word, which the header holds only where it is one of the platform's
			Type string `json:"errorType"`
		}
		if json.Unmarshal(d.answer.Payload, &body) == nil && body.Type != "" {
			errType = body.Type
		}
		d.primingFailed(errType, messageOf(d.answer.Payload))
		return
	}
	d.handle(Answered)
}

func (d *driver) startRuntime() {
	d.generation++
	d.exit, d.initError, d.heard = nil, nil, ""
	d.phase = phaseInit
	limit := initLimit
	if d.o.Version.InitWithoutLimit || d.o.Provisioned || d.o.Make != nil { // E-013
		limit = d.longInit()
	}
	if d.state == Reinitializing {
		d.phase = phaseInvoke
		limit = time.Until(d.attempt.deadline)
	}
	d.initFrom = time.Now()
	d.limit.Reset(limit)
	d.looks.Reset(longInvoke)
	d.lineInitStart()
	d.send(wire.KindStart, d.start(), nil)
}

// longInit is what Init may take where nobody waits for it.
func (d *driver) longInit() time.Duration { return max(longInitLimit, d.o.Version.Timeout) }

func (d *driver) endInit() {
	d.starved = 0
	took := time.Since(d.initFrom) - d.primingTook
	if d.phase == phaseInit {
		d.initTook = took
		if d.o.Observe != nil {
			d.o.Observe("init", took)
		}
	}
	if d.o.Version.LogFormat == "JSON" || d.o.Make != nil || d.o.Provisioned {
		d.lineInitDone(took, statusSuccess, "")
	}
}

func (d *driver) reportInit(ev Event) {
	took := time.Since(d.initFrom) - d.primingTook
	status, errType := statusError, "Runtime.Unknown"
	switch {
	case ev == LimitReached && d.phase == phaseInit:
		status, errType = statusTimeout, ""
	case ev == LimitReached: // recorded as an error of unknown type. Source: spec 1.5 notes
	case d.initError != nil:
		errType = d.initError.errType
	case d.exit != nil && d.exit.Starved:
		errType = "Sandbox.Failure"
	case d.exit != nil && d.exit.LaunchError != "":
		errType = d.exit.LaunchError
	case d.exit != nil:
		errType = "Runtime.ExitError"
	}
	d.lineInitDone(took, status, errType)
}

// logFrame writes what the function printed, line by line, or as the one message that a framed record is.
func (d *driver) logFrame(m wire.LogHead, body []byte) {
	at := time.UnixMicro(m.UnixMicros)
	if m.UnixMicros == 0 {
		at = time.Now()
	}
	if m.Source == wire.LogFrame {
		d.appLine(at, ended(string(body)), m.Level, m.JSON)
		return
	}
	for len(body) > 0 {
		n := bytes.IndexByte(body, '\n') + 1
		if n == 0 {
			n = len(body)
		}
		d.appLine(at, ended(string(body[:n])), "", false)
		body = body[n:]
	}
}

// ended gives a message the newline that every log event ends with.
func ended(s string) string {
	if strings.HasSuffix(s, "\n") {
		return s
	}
	return s + "\n"
}

func (d *driver) streamHead(m wire.ResponseHead) {
	a := d.attempt
	d.answer.ContentType = m.ContentType
	if a.Stream == nil {
		a.collect = []byte{}
		return
	}
	id, out := a.RequestID, d.out
	a.pump = startPump(a.Stream, m.ContentType, func(n int64) {
		// A broken stream is noticed by the reader.
		_ = out.Send(wire.KindCredit, wire.Credit{RequestID: id, Bytes: n}, nil)
	})
}

func (d *driver) streamChunk(b []byte) {
	a := d.attempt
	a.produced += int64(len(b))
	if a.pump != nil {
		a.pump.add(b)
		return
	}
	if len(a.collect)+len(b) > wire.MaxPayload {
		a.tooLarge, a.collect = true, a.collect[:0]
	}
	if !a.tooLarge {
		a.collect = append(a.collect, b...)
	}
	d.send(wire.KindCredit, wire.Credit{RequestID: a.RequestID, Bytes: int64(len(b))}, nil)
}

func (d *driver) streamEnd(m wire.StreamEnd) {
	a := d.attempt
	o := function.Outcome{ContentType: d.answer.ContentType}
	switch {
	case a.pump != nil:
		o.StreamErrorType, o.StreamErrorDetails = m.ErrorType, string(m.ErrorBody)
		if m.ErrorType != "" {
			o.FunctionError = unhandled
			if o.StreamErrorDetails == "" {
				o.StreamErrorDetails = string(errorBody(m.ErrorType, "Response was truncated", a.RequestID))
			}
		}
	case a.tooLarge:
		o.FunctionError, o.ContentType = unhandled, "application/json"
		o.Payload = []byte(`{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}`)
	case m.ErrorType != "":
		o.FunctionError, o.ContentType = unhandled, "application/json"
		if o.Payload = m.ErrorBody; len(o.Payload) == 0 {
			o.Payload = errorBody(m.ErrorType, "Response was truncated", a.RequestID)
		}
	default:
		o.Payload = a.collect
	}
	a.collect = nil
	d.answer = o
	d.answered(m.ErrorType)
}

// endStreamInto turns a failure into the end of the stream, when one has begun: its bytes cannot be taken back.
func (d *driver) endStreamInto(o *function.Outcome, errType string) {
	if d.attempt == nil || d.attempt.pump == nil {
		return
	}
	o.StreamErrorType, o.StreamErrorDetails = errType, string(o.Payload)
	o.Payload = nil
	d.attempt.pump.abandon()
}

// endStream is endStreamInto for an invocation that is settled by an error.
func (d *driver) endStream(errType string, details []byte) {
	if d.attempt == nil || d.attempt.pump == nil {
		return
	}
	d.attempt.outcome.StreamErrorType, d.attempt.outcome.StreamErrorDetails = errType, string(details)
	d.attempt.pump.abandon()
}
