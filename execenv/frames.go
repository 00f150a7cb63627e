package execenv

import (
	"fmt"
	"strings"
	"time"

	"thaw/function"
	"thaw/guest/platform"
	"thaw/guest/wire"
)

// frame takes one message of the guest. A message of an earlier generation of processes is dropped: it was said too late.
func (d *driver) frame(f wire.Frame) {
	var err error
	switch f.Kind {
	case wire.KindHello:
		err = d.hello(f)
	case wire.KindStarted:
		if d.o.Observe != nil && d.gen.phase == phaseInit {
			d.o.Observe("start runtime", time.Since(d.gen.from))
		}
	case wire.KindReady:
		var m wire.Ready
		if err = f.Decode(&m); err == nil && m.Generation == d.gen.number {
			d.graceTimer.Stop()
			if d.making != nil {
				d.making.next = m.Next
			}
			if d.attempt != nil && d.attempt.RequestID == m.RequestID {
				d.attempt.lateBy = time.Duration(m.RuntimeUs) * time.Microsecond
			}
			d.happened(RuntimeParked)
		}
	case wire.KindInitError, wire.KindRestoreError:
		var m wire.ErrorHead
		if err = f.Decode(&m); err == nil && m.Generation == d.gen.number && d.gen.initError == nil {
			d.gen.initError = &initError{errType: m.ErrorType, contentType: m.ContentType, body: f.Body}
			d.graceTimer.Reset(initErrorGrace)
		}
	case wire.KindResponse:
		var m wire.ResponseHead
		if err = f.Decode(&m); err == nil && d.current(m.RequestID) {
			d.attempt.produced = int64(len(f.Body))
			d.answered(function.Outcome{Payload: f.Body, ContentType: m.ContentType}, "")
		}
	case wire.KindError:
		var m wire.ErrorHead
		if err = f.Decode(&m); err == nil && d.current(m.RequestID) {
			o := function.Outcome{Payload: f.Body, ContentType: m.ContentType, FunctionError: unhandled}
			d.endStreamInto(&o, m.ErrorType)
			d.attempt.thrown = thrown{m.ErrorType, []byte(m.XRayCause)}
			d.answered(o, m.ErrorType)
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
		if err = f.Decode(&m); err == nil && m.Generation == d.gen.number {
			d.processExited(&m)
			d.gen.exit = &m
			d.happened(ProcessExited)
			if d.attempt == nil {
				d.gen.exit = nil
			}
		}
	case wire.KindRuntimeDone:
		var m wire.RuntimeDone
		if err = f.Decode(&m); err == nil && m.Generation == d.gen.number && d.attempt != nil && d.attempt.RequestID == m.RequestID {
			d.handle(RuntimeDone)
		}
	case wire.KindExtension:
		var m wire.Extension
		if err = f.Decode(&m); err == nil && m.Generation == d.gen.number {
			d.gen.note(m)
		}
	case wire.KindSubscribed:
		var m wire.Subscribed
		if err = f.Decode(&m); err == nil && m.Generation == d.gen.number {
			d.subscribed(m)
		}
	case wire.KindLog:
		var m wire.LogHead
		if err = f.Decode(&m); err == nil {
			d.logFrame(m, f.Body)
			d.owe(wire.LogCost(f.Body))
		}
	case wire.KindSegment:
		var m wire.Segment
		if err = f.Decode(&m); err == nil && d.o.Segments != nil {
			d.o.Segments(f.Body, m.Dropped)
		}
	case wire.KindQuiesced:
		d.quiesced()
	case wire.KindSnapshotNote:
		var m wire.SnapshotNote
		if err = f.Decode(&m); err == nil && m.Generation == d.gen.number && d.o.Make != nil {
			if m.ExpiresUnixMs != 0 {
				d.making.draft.StatedExpiry = time.UnixMilli(m.ExpiresUnixMs)
			}
			if m.Hooks != nil {
				d.making.draft.Hooks = m.Hooks
			}
		}
	case wire.KindKilled:
		var m wire.Killed
		if err = f.Decode(&m); err == nil && m.Generation == d.gen.number {
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

// current says whether the invocation in flight is the one named.
func (d *driver) current(requestID string) bool {
	return d.attempt != nil && d.attempt.RequestID == requestID && (d.state == Invoking || d.state == Priming)
}

// answered: the runtime's answer is complete. errType is the function's error, if it is one.
func (d *driver) answered(o function.Outcome, errType string) {
	a := d.attempt
	a.posted, a.errType, a.endAt = o, errType, time.Now()
	if a.headAt.IsZero() {
		a.headAt = a.endAt
	}
	d.happened(Answered)
}

// note keeps what is known of an extension.
func (g *generation) note(m wire.Extension) {
	for i := range g.extensions {
		if g.extensions[i].Name == m.Name {
			g.extensions[i] = m
			return
		}
	}
	g.extensions = append(g.extensions, m)
}

// subscribed: from now on there is somebody to tell.
func (d *driver) subscribed(m wire.Subscribed) {
	if m.Restored {
		d.gen.listeners++
		return
	}
	state := "Subscribed"
	if m.Again {
		state = "Already subscribed"
	} else {
		d.gen.listeners++
	}
	if m.Logs {
		d.emit(platform.LogsSubscription{Name: m.Name, State: state, Types: m.Types})
		return
	}
	d.emit(platform.TelemetrySubscription{Name: m.Name, State: state, Types: m.Types})
}

// initTime is what Init has taken, without the priming events.
func (d *driver) initTime() time.Duration {
	took := time.Since(d.gen.from)
	if d.making != nil {
		took -= d.making.primingTook
	}
	return took
}

func (d *driver) startRuntime() {
	d.gen = generation{number: d.gen.number + 1, phase: phaseInit, from: time.Now()}
	limit := initLimit
	if d.o.Version.InitWithoutLimit || d.o.Provisioned || d.o.Make != nil { // E-013
		limit = d.longInit()
	}
	if d.state == Reinitializing {
		d.gen.phase = phaseInvoke
		limit = time.Until(d.attempt.deadline)
	}
	d.limit.Reset(limit)
	d.looks.Reset(longInvoke)
	start := platform.InitStart{InitializationType: d.initType(), Phase: d.gen.phase, Place: d.place()}
	d.record(d.gen.from, start)
	m := d.start()
	var body []byte
	m.First, body = news(d.gen.from, start)
	d.send(wire.KindStart, m, body)
}

// longInit is what Init may take where nobody waits for it.
func (d *driver) longInit() time.Duration { return max(longInitLimit, d.o.Version.Timeout) }

func (d *driver) endInit() {
	d.starved = 0
	took := d.initTime()
	if d.gen.phase == phaseInit {
		d.first.init = took
		if d.o.Observe != nil {
			d.o.Observe("init", took)
		}
	}
	d.initDone(took, statusSuccess, "")
}

func (d *driver) reportInit(ev Event) {
	took := d.initTime()
	status, errType := statusError, "Runtime.Unknown"
	switch {
	case ev == LimitReached && d.gen.phase == phaseInit:
		status = statusTimeout
	case ev == LimitReached: // recorded as an error of unknown type. Source: spec 1.5 notes
	case d.gen.initError != nil:
		errType = d.gen.initError.errType
	case d.gen.exit != nil && d.gen.exit.Starved:
		errType = "Sandbox.Failure"
	case d.gen.exit != nil:
		errType = exitType(d.gen.exit)
	}
	d.initDone(took, status, errType)
}

// logFrame writes what the function printed, line by line, or as the one message that a framed record is.
func (d *driver) logFrame(m wire.LogHead, body []byte) {
	at := time.UnixMicro(m.UnixMicros)
	if m.UnixMicros == 0 {
		at = time.Now()
	}
	if m.Source == wire.LogFrame {
		d.appLine(at, ended(string(body)), m.Level)
		return
	}
	text := ended(string(body))
	switch {
	case m.Source == wire.LogExtension: // levels are the function's
		d.writeLines(at, text)
	case leveled(d.o.Version):
		for line := range strings.Lines(text) {
			d.appLine(at, line, "")
		}
	default:
		d.writeLines(at, text)
		d.hear(text)
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
	a.posted.ContentType, a.headAt = m.ContentType, time.Now()
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
	if a.tooLarge() {
		a.collect = nil
	} else {
		a.collect = append(a.collect, b...)
	}
	d.send(wire.KindCredit, wire.Credit{RequestID: a.RequestID, Bytes: int64(len(b))}, nil)
}

func (d *driver) streamEnd(m wire.StreamEnd) {
	a := d.attempt
	o := function.Outcome{ContentType: a.posted.ContentType}
	switch {
	case a.pump != nil:
		o.StreamErrorType, o.StreamErrorDetails = m.ErrorType, string(m.ErrorBody)
		if m.ErrorType != "" {
			o.FunctionError = unhandled
			if o.StreamErrorDetails == "" {
				o.StreamErrorDetails = string(errorBody(m.ErrorType, "Response was truncated", a.RequestID))
			}
		}
	case a.tooLarge():
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
	d.answered(o, m.ErrorType)
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
