package execenv

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"thaw/function"
	"thaw/guest/platform"
	"thaw/guest/wire"
	"thaw/trace"
)

// LogSink takes what ends up in the environment's log stream; messages keep their trailing newline. It must not block.
type LogSink interface {
	Append(at time.Time, message string)
	// AppendLines takes a text whose lines are a message each.
	AppendLines(at time.Time, text string)
	// Room returns a channel that is closed when there is room for wire.LogWindow more, or soon afterwards where there
	// is no hope of it.
	Room() <-chan struct{}
}

// phase of an Init, as the events spell it.
const (
	phaseInit   = platform.PhaseInit
	phaseInvoke = platform.PhaseInvoke
)

// Words of the status members. Source: spec 4.5.
const (
	statusSuccess = platform.Success
	statusError   = platform.Error
	statusTimeout = platform.Timeout
)

// emit says what the platform has to say about the environment: to the log, and to those in it who subscribed to telemetry.
func (d *driver) emit(e platform.Event) {
	now := time.Now()
	d.record(now, e)
	d.tell(now, e)
}

// record writes an event into the log, in the format that the function logs in.
func (d *driver) record(at time.Time, e platform.Event) {
	if d.o.Version.LogFormat == "JSON" {
		if line := platform.JSONLine(at, e, platform.LevelOf(d.o.Version.SysLogLevel)); line != "" {
			d.write(at, line)
		}
		return
	}
	for _, line := range platform.Lines(at, e) {
		d.write(at, line)
	}
}

// tell hands an event to the guest, for telemetry. Until the first Ready nobody has subscribed yet who may, so that is when
// what matters to a later subscriber is told, too. It goes with the next frame where that follows at once, and where the
// phase is over: until the next one nobody hears anything.
func (d *driver) tell(at time.Time, e platform.Event) {
	switch d.state {
	case Initializing, Reinitializing, Restoring:
	default:
		if d.gen.listeners == 0 {
			return
		}
	}
	send := d.send
	if _, start := e.(platform.Start); start && d.state == Invoking || d.state == Parked {
		send = d.queue
	}
	head, body := news(at, e)
	send(wire.KindPlatform, head, body)
}

// news is an event as it goes to the guest.
func news(at time.Time, e platform.Event) (wire.Platform, []byte) {
	body, err := json.Marshal(e)
	if err != nil {
		panic(err) // our own types
	}
	return wire.Platform{UnixMicros: at.UnixMicro(), Type: e.Type()}, body
}

func (d *driver) write(at time.Time, text string) {
	d.o.Sink.Append(at, text)
	d.keep(text)
}

// writeLines is write of each line of a text.
func (d *driver) writeLines(at time.Time, text string) {
	d.o.Sink.AppendLines(at, text)
	d.keep(text)
}

// keep adds what was written to the tail of whoever gets it.
func (d *driver) keep(text string) {
	if d.attempt != nil { // also what an Init inside the invoke says before START: why it failed, for one
		d.attempt.tail.add(text)
		return
	}
	d.early.add(text)
}

// leveled says whether lines are filtered by the level that they name.
func leveled(v *function.Version) bool { return v.LogFormat == "JSON" && v.AppLogLevel != "" }

// appLine writes what the function printed, unless its level is filtered. Source: spec 4.8, E-119.
func (d *driver) appLine(at time.Time, text, level string) {
	if v := d.o.Version; leveled(v) {
		if level == "" && strings.HasPrefix(text, "{") {
			var probe struct {
				Level string `json:"level"`
			}
			if json.Unmarshal([]byte(text), &probe) == nil {
				level = probe.Level
			}
		}
		if platform.LevelOf(level) < platform.LevelOf(v.AppLogLevel) {
			return
		}
	}
	d.write(at, text)
	d.hear(text)
}

// place is what the events say about the environment.
func (d *driver) place() platform.Place {
	v := d.o.Version
	p := platform.Place{FunctionName: v.Name, FunctionVersion: string(v.Number), InstanceID: string(d.id), InstanceMaxMemory: int64(v.MemoryMiB) << 20}
	if d.o.Launch.Release != "" {
		p.RuntimeVersion = d.o.Launch.Release
		p.RuntimeVersionARN = fmt.Sprintf("arn:%s:lambda:%s::runtime:%s", v.Partition, v.Region, d.o.Launch.ReleaseHash)
	}
	return p
}

// initDone tells how Init ended, in the order of the service. Source: spec 1.2, step 10.
func (d *driver) initDone(took time.Duration, status, errType string) {
	if status == statusTimeout {
		errType = "Runtime.Unknown" // a pure timeout. Source: spec 1.5
	}
	how := d.initType()
	d.first.initial = function.Period{From: d.gen.from, To: time.Now(), Failed: status != statusSuccess}
	d.emit(platform.InitRuntimeDone{InitializationType: how, Phase: d.gen.phase, Status: status, ErrorType: errType})
	for _, x := range d.gen.extensions {
		d.emit(platform.Extension{Name: x.Name, State: x.State, Events: x.Events, ErrorType: x.ErrorType})
	}
	d.emit(platform.InitReport{InitializationType: how, Phase: d.gen.phase, Status: status, ErrorType: errType, Metrics: platform.Duration{Duration: platform.Millis(took)}})
}

func (a *attempt) start(version string) platform.Start {
	return platform.Start{RequestID: a.RequestID, Version: version, Tracing: a.tracing(a.Segments.Function, a.Segments.Service), TenantID: a.TenantID}
}

// tracing is what an event says of the trace: nothing, unless that is sampled. span and parent are segments where the
// invocation is recorded; otherwise the event has the header. Source: spec 4.4, 4.5.
func (a *attempt) tracing(span, parent string) *platform.Tracing {
	if !strings.Contains(a.TraceID, "Sampled=1") {
		return nil
	}
	if span == "" {
		return platform.Traced("", a.TraceID)
	}
	h := trace.ParseHeader(a.TraceID)
	return platform.Traced(span, trace.Header{Root: h.Root, Parent: parent, Sampled: h.Sampled}.String())
}

// endRuntime: the runtime called next, or never will.
func (d *driver) endRuntime() {
	a := d.attempt
	a.doneAt = time.Now().Add(-a.lateBy)
	done := platform.RuntimeDone{RequestID: a.RequestID, Status: a.status, ErrorType: a.errorType(), Tracing: a.tracing(a.Segments.Invocation, a.Segments.Function), TenantID: a.TenantID,
		Metrics: platform.RuntimeMetrics{Duration: platform.Millis(a.doneAt.Sub(a.started)), ProducedBytes: a.produced}}
	if a.status == statusTimeout {
		done.Metrics.Duration = platform.Millis(d.o.Version.Timeout)
	}
	if !a.headAt.IsZero() && !a.endAt.IsZero() {
		done.Spans = []platform.Span{span("responseLatency", a.started, a.headAt), span("responseDuration", a.headAt, a.endAt), span("runtimeOverhead", a.endAt, a.doneAt)}
	}
	d.emit(done)
}

func span(name string, from, to time.Time) platform.Span {
	return platform.Span{Name: name, Start: platform.Stamp(from), Duration: platform.Millis(to.Sub(from))}
}

// errorType is that of the events; only what the function did wrong has one there.
func (a *attempt) errorType() string {
	if a.status != statusError {
		return ""
	}
	return a.errType
}

// report ends the invocation. billed adds the Init that this invocation paid for.
// Source: spec 1.11, 4.7.
func (d *driver) report(took time.Duration) {
	a := d.attempt
	if a.doneAt.IsZero() {
		d.endRuntime()
	}
	billed := took + d.first.init + d.first.restoreBilled
	if a.priming != nil {
		billed = 0
	}
	r := platform.Report{RequestID: a.RequestID, Status: a.status, ErrorType: a.errorType(), Tracing: a.tracing(a.Segments.Invocation, a.Segments.Function), TenantID: a.TenantID, Metrics: platform.Metrics{
		Duration: platform.Millis(took), BilledMs: ceilMs(billed), MemorySizeMB: d.o.Version.MemoryMiB, MaxMemoryUsedMB: d.maxMemory >> 20}}
	switch { // told once
	case d.first.init > 0:
		init := platform.Millis(d.first.init)
		r.Metrics.InitDuration = &init
	case d.first.restore > 0: // E-132
		restore := platform.Millis(d.first.restore)
		r.Metrics.RestoreDuration, r.Metrics.BilledRestoreMs = &restore, ceilMs(d.first.restoreBilled)
	}
	once := d.first
	d.first = first{}
	extensions := time.Duration(-1)
	now := time.Now()
	if len(d.gen.extensions) > 0 {
		r.Spans = []platform.Span{span("extensionOverhead", a.doneAt, now)}
		extensions = max(0, now.Sub(a.doneAt))
	}
	d.emit(r)
	if a.Timed != nil {
		times := a.timings(now, d.id, once)
		times.Extensions = len(d.gen.extensions) > 0
		a.Timed(times)
	}
	if d.o.Reported != nil && a.priming == nil && a.status != platform.Failure {
		d.o.Reported(Reported{InvokedARN: a.InvokedARN, TenantID: a.TenantID, Error: a.erred(), Duration: took, Extensions: extensions})
	}
}

// erred says that the function failed, whether it said so itself, exited or timed out, and when it had answered, too.
func (a *attempt) erred() bool {
	return a.status != statusSuccess || a.outcome.FunctionError != "" || a.outcome.StreamErrorType != ""
}

func ceilMs(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
