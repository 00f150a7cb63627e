package execenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"thaw/function"
	"thaw/guest/wire"
	"thaw/sandbox"
)

// errTimedOut is the outward name of a timeout. Source: recordings of the real service; spec Appendix B3.
const errTimedOut = "Sandbox.Timedout"

// driver performs the life of one environment. Everything in it belongs to its goroutine.
type driver struct {
	e  *Environment
	id ID
	o  Options

	state   State
	since   time.Time
	created time.Time
	moves   []Move
	stopWhy string
	failure error // why it goes without being asked

	box    sandbox.Sandbox
	pids   []int
	out    *wire.Writer
	made   chan madeSandbox
	cancel context.CancelFunc
	frames chan wire.Frame
	exited <-chan struct{}
	memory <-chan struct{}
	closed chan struct{}

	changing chan struct{} // closed when the last freeze or thaw that was begun has ended; nil before the first
	changed  chan change

	generation                 uint64
	phase                      string // of the running Init
	initFrom                   time.Time
	initTook                   time.Duration // of a successful Init in phase init
	initReported               bool
	restoreFrom, released      time.Time
	restoreTook, restoreBilled time.Duration // of a successful restore: all of it, and from the word to the runtime's next
	checkpointed               chan error
	endSaving                  func()        // ends what saves the sandbox, and waits for it; nil: nothing does
	snapshotNext               wire.NextKind // where the runtime parked at the snapshot point
	snapshot                   Made          // of a snapshot that was made
	saved                      bool
	primed                     int           // priming events that were sent
	primingTook                time.Duration // of all of them
	initError                  *initError
	exit                       *wire.Exited
	starved                    int         // Inits in a row for which the runtime could not be started (wire.Exited.Starved)
	limit                      *deadline   // of the state
	graceTimer                 *time.Timer // freeze grace, or grace after init/error

	heard     string // the end of what the function printed during Init or Restore
	attempt   *attempt
	answer    function.Outcome // posted by the runtime, on its way to the caller
	owed      int64            // cost of the output that the guest has no credit for yet
	room      <-chan struct{}  // of the sink; nil: not asked for
	invokes   uint64
	maxMemory int64
	sampled   time.Time   // when maxMemory was looked at last
	looks     *time.Timer // when it is looked at next
}

type madeSandbox struct {
	box sandbox.Sandbox
	err error
}

// initError is what a runtime posted to init/error.
type initError struct {
	errType, contentType string
	body                 []byte
}

func newDriver(e *Environment) *driver {
	now := time.Now()
	return &driver{e: e, id: e.id, o: e.o, state: Creating, since: now, created: now, phase: phaseInit,
		made: make(chan madeSandbox, 1), checkpointed: make(chan error, 1), closed: make(chan struct{}), changed: make(chan change, maxChanges), limit: newDeadline(),
		graceTimer: stoppedTimer(), looks: stoppedTimer()}
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

func (d *driver) run() {
	ctx, cancel := context.WithTimeout(context.Background(), createLimit)
	d.cancel = cancel
	defer cancel()
	spec := sandbox.Spec{ID: sandbox.ID(d.id[:16]), MemoryMiB: d.o.Version.MemoryMiB, TmpMiB: d.o.Version.EphemeralMiB, CPUs: d.o.CPUs, Mounts: d.o.Launch.Mounts}
	if d.o.Restore != nil {
		d.lineRestoreStart()
	}
	go func() {
		var m madeSandbox
		if r := d.o.Restore; r != nil {
			m.box, m.err = r.open(ctx, d.o.Backend, spec)
		} else {
			m.box, m.err = d.o.Backend.Create(ctx, spec)
		}
		d.made <- m
	}()
	for d.state != Gone {
		d.step()
	}
	d.limit.Stop()
	d.graceTimer.Stop()
	d.looks.Stop()
	if d.endSaving != nil {
		d.endSaving() // from now on the sink is its owner's
	}
	if d.o.OnExit != nil {
		d.o.OnExit()
	}
	d.tellMade()
	d.o.Owner.Gone(d.e, d.failure)
	close(d.e.done)
	for { // an invocation that was assigned too late is told so
		select {
		case c := <-d.e.cmds:
			d.refuse(c)
		default:
			return
		}
	}
}

func (d *driver) refuse(c command) {
	if c.assign != nil {
		c.assign.reply <- function.Outcome{Err: ErrNotTaken}
	}
}

// step waits for one thing to happen and does what follows from it.
func (d *driver) step() {
	select {
	case f, ok := <-d.frames:
		if !ok {
			d.frames = nil
			d.lost(errors.New("the guest closed its stream"))
			return
		}
		d.frame(f)
	case c := <-d.e.cmds:
		switch {
		case c.assign != nil:
			d.assign(c.assign)
		default:
			if d.stopWhy == "" {
				d.stopWhy = c.stop
			}
			d.handle(StopAsked)
		}
	case <-d.limit.C:
		if !d.limit.reached(time.Now()) {
			return
		}
		if d.making() {
			d.makeFailed(LimitReached)
			return
		}
		if d.state == Checkpointing {
			d.failure = fmt.Errorf("checkpoint: not done within %v", checkpointLimit)
		}
		if d.state == Creating {
			d.failure = fmt.Errorf("the guest did not answer within %v", helloLimit)
		}
		if d.state == Freezing || d.state == Thawing || d.state == Waking {
			d.failure = fmt.Errorf("%v: not done within %v", d.state, changeLimit)
		}
		d.handle(LimitReached)
	case <-d.graceTimer.C:
		switch d.state {
		case Parked:
			d.handle(FreezeDue)
		case Initializing, Primed:
			if d.making() {
				d.makeFailed(InitEnded)
				return
			}
			d.handle(InitEnded)
		case Reinitializing, Restoring:
			d.handle(InitEnded)
		}
	case m := <-d.made:
		d.sandboxMade(m)
	case <-d.exited:
		d.exited = nil
		d.lost(exitError(d.box.Exit()))
	case <-d.memory:
		d.handle(MemoryReached)
	case <-d.looks.C:
		d.lookDue()
	case <-d.room:
		d.creditLog()
	case err := <-d.checkpointed:
		d.checkpointEnded(err)
	case c := <-d.changed:
		if c.event == ThawFailed && d.state != Stopping || c.event == FreezeFailed && d.state == Freezing {
			d.failure = c.err
		}
		d.handle(c.event)
	case <-d.closed:
		d.handle(SandboxClosed)
	}
}

func exitError(x sandbox.Exit) error {
	switch {
	case x.OutOfMemory:
		return errSandboxMemory
	case x.Err != nil:
		return fmt.Errorf("sandbox ended: %w", x.Err)
	}
	return errors.New("sandbox ended")
}

var errSandboxMemory = errors.New("sandbox was killed at its memory limit")

func (d *driver) lost(err error) {
	if d.state == Checkpointing { // a sandbox ends with its checkpoint; whether that was one, Checkpoint says
		return
	}
	if d.state == Stopping || d.state == Gone {
		return
	}
	if d.frames != nil { // what the guest said before it went still counts
		for {
			select {
			case f, ok := <-d.frames:
				if !ok {
					d.frames = nil
				} else {
					d.frame(f)
					continue
				}
			default:
			}
			break
		}
	}
	if d.state == Stopping || d.state == Gone {
		return
	}
	if d.box != nil && err != errSandboxMemory && d.exited != nil { // the stream may end a moment before the sandbox is known to be gone
		select {
		case <-d.exited:
			d.exited = nil
			err = exitError(d.box.Exit())
		case <-time.After(500 * time.Millisecond):
		}
	}
	d.failure = err
	d.handle(SandboxExited)
}

func (d *driver) sandboxMade(m madeSandbox) {
	if m.err != nil {
		if d.state == Creating {
			d.failure = m.err
			d.handle(CreateFailed)
		} else {
			close(d.closed) // it was asked to go meanwhile: that is no failure, and there is nothing to close
		}
		return
	}
	d.box = m.box
	if d.state != Creating {
		d.close()
		return
	}
	d.limit.Reset(helloLimit)
	d.observeStages()
	d.pids = d.box.PIDs()
	d.exited, d.memory = d.box.Exited(), d.box.MemoryExceeded()
	d.out = wire.NewWriter(d.box.Conn())
	frames := make(chan wire.Frame, 8)
	d.frames = frames
	go func() {
		defer close(frames)
		r := wire.NewReader(d.box.Conn())
		for {
			f, err := r.Next()
			if err != nil {
				return
			}
			select {
			case frames <- f:
			case <-d.e.done:
				return
			}
		}
	}()
	if d.o.Restore != nil { // its guest has said Hello in another life, and waits for a word
		d.generation = 1
		d.handle(SandboxRestored)
	}
	// Otherwise the guest's Hello is the proof that it is up: SandboxMade is handled when it has been read.
}

func (d *driver) observeStages() {
	if d.o.Observe == nil {
		return
	}
	for _, s := range d.box.Stages() {
		d.o.Observe(s.Name, time.Duration(s.Seconds*float64(time.Second)))
	}
}

// handle asks Next and performs what it says. A refused event is logged and changes nothing.
func (d *driver) handle(ev Event) {
	to, do, err := Next(d.state, ev)
	if err != nil {
		d.o.Log.Debug("event refused", "env", d.id, "event", ev, "state", d.state)
		return
	}
	from := d.state
	if to != from {
		d.state = to
		d.remember(from, to, ev)
		if !keepsLimit(from, to) {
			d.limit.Stop()
		}
		d.graceTimer.Stop()
	}
	for _, a := range do {
		d.perform(a, ev)
	}
	if to != from {
		if to == Parked {
			d.graceTimer.Reset(d.o.FreezeGrace)
		}
		d.publish()
	}
}

// keepsLimit says which moves go on under the running deadline: the answer does not end an invoke, the next call does;
// and a thaw goes on when an invoke is assigned meanwhile.
func keepsLimit(from, to State) bool {
	return from == Invoking && to == Responded || from == Thawing && to == Waking
}

func (d *driver) perform(a Action, ev Event) {
	switch a {
	case StartRuntime:
		d.startRuntime()
	case SendPriming:
		d.prime()
	case EndPriming, FailPriming:
		d.endPriming()
	case Checkpoint:
		d.limit.Reset(checkpointLimit)
		d.send(wire.KindQuiesce, nil, nil)
	case SendRestored:
		d.sendRestored()
	case EndRestore:
		d.endRestore()
	case ReportRestore:
		d.reportRestore(ev)
	case EndInit:
		d.endInit()
	case ReportInit:
		d.reportInit(ev)
	case Offer:
		d.o.Owner.Offered(d.e)
	case Withdraw:
		d.o.Owner.Withdrawn(d.e)
	case Thaw:
		d.change(Thawed, ThawFailed, d.box.Thaw)
	case Freeze:
		d.change(Froze, FreezeFailed, d.box.Freeze)
	case ReturnInvoke:
		d.returnInvoke()
	case SendInvoke:
		d.sendInvoke()
	case AnswerCaller:
		d.answerCaller()
	case FailInvoke:
		d.failInvoke(ev)
	case ReportInvoke:
		d.reportInvoke(ev)
	case KillProcesses:
		d.e.spent.Store(d.o.Restore != nil || d.o.Provisioned)
		d.initError = nil
		d.send(wire.KindKill, wire.Kill{Generation: d.generation}, nil)
		d.limit.Reset(killLimit)
	case KillForMemory:
		d.killForMemory()
	case CancelCreate:
		d.cancel()
	case CloseSandbox:
		d.close()
	case TellGone: // by run, when everything else is done
	}
}

// send writes one frame; a broken stream is noticed by the reader.
func (d *driver) send(kind wire.Kind, head any, body []byte) {
	if d.out == nil {
		return
	}
	if err := d.out.Send(kind, head, body); err != nil {
		d.o.Log.Debug("message not sent", "env", d.id, "kind", kind, "error", err)
	}
}

// close removes the sandbox beside the driver, which goes on telling late callers that it is leaving.
func (d *driver) close() {
	if d.box == nil {
		if d.state == Stopping && d.failure != nil { // creation failed
			close(d.closed)
		}
		return // sandboxMade closes what arrives
	}
	changing := d.changing
	go func() {
		if err := d.box.Close(); err != nil {
			d.o.Log.Error("sandbox left something behind", "env", d.id, "error", err)
		}
		if changing != nil {
			<-changing
		}
		close(d.closed)
	}()
}

func (d *driver) assign(t *task) {
	if _, _, err := Next(d.state, Assigned); err != nil {
		t.reply <- function.Outcome{Err: ErrNotTaken}
		return
	}
	t.TraceID = traceHeader(t.TraceID)
	now := time.Now()
	d.attempt = &attempt{task: t, assigned: now, deadline: now.Add(d.o.Version.Timeout), tail: tailBuffer{on: t.Tail}}
	d.invokes++
	d.handle(Assigned)
}

func (d *driver) sendInvoke() {
	a := d.attempt
	a.started = time.Now()
	d.limit.Reset(time.Until(a.deadline))
	d.looks.Reset(longInvoke)
	d.send(wire.KindInvoke, wire.Invoke{RequestID: a.RequestID, InvocationID: a.id, DeadlineUnixMs: a.deadline.UnixMilli(),
		FunctionARN: string(a.InvokedARN), TraceID: a.TraceID, ClientContext: a.ClientContext, ContentType: a.ContentType}, a.Event)
	a.Event = nil // the guest has it
	d.lineStart()
}

func (d *driver) answerCaller() {
	a := d.attempt
	a.settle(d.answer, statusSuccess, "")
	d.answer = function.Outcome{}
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

// failInvoke makes the answer for a function that could not make one itself.
func (d *driver) failInvoke(ev Event) {
	a := d.attempt
	if a == nil {
		return
	}
	if a.started.IsZero() { // Init inside the invoke failed: START comes after INIT_REPORT. Source: spec 1.5
		a.started = time.Now()
		d.lineStart()
	}
	if ev == Starved || ev == RuntimeExited && d.exit != nil && d.exit.Starved { // nothing of the function ran
		d.sandboxFailed("init", errors.New(d.exit.Reason()))
		return
	}
	o := function.Outcome{ContentType: "application/json", FunctionError: unhandled}
	status, errType, message := statusError, "Runtime.ExitError", ""
	switch {
	case ev == LimitReached:
		status, errType = statusTimeout, errTimedOut
		message = fmt.Sprintf("Task timed out after %.2f seconds", d.o.Version.Timeout.Seconds())
	case d.initError != nil && len(d.initError.body) > 0:
		o.Payload, o.ContentType, errType = d.initError.body, d.initError.contentType, d.initError.errType
	case d.initError != nil:
		errType, message = d.initError.errType, "Runtime failed to initialise"
	case ev == RuntimeExited && d.exit != nil:
		if d.exit.LaunchError != "" {
			errType = d.exit.LaunchError
		}
		message = d.exit.Reason()
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
		d.lineFatal(message, errType)
	}
	if d.exit != nil && d.exit.OutOfMemory || errors.Is(d.failure, errSandboxMemory) {
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
	if !a.started.IsZero() && a.assigned.Before(a.started) && d.phase == phaseInvoke {
		took = time.Since(a.assigned) // Init inside the invoke is part of its Duration. Source: spec 1.5
	}
	if a.status == statusTimeout || (ev == LimitReached && d.state == Resetting) {
		took = d.o.Version.Timeout // what is printed and billed is the configured limit. Source: spec 1.5 notes
	}
	switch { // the runtime answered and then did not come back
	case ev == LimitReached && a.status == statusSuccess:
		a.status = statusTimeout
	case ev == RuntimeExited && a.status == statusSuccess && d.exit != nil:
		a.status, a.errType = statusError, "Runtime.ExitError"
		if d.exit.OutOfMemory {
			a.errType = "Runtime.OutOfMemory"
		}
	case !a.known:
		a.settle(function.Outcome{Err: &SandboxError{Env: d.id, Phase: "invoke", Err: errors.New("no answer")}}, "failure", "Sandbox.Failure")
	}
	d.looks.Stop()
	if d.box != nil && ev != SandboxExited && (a.Tail || took > longInvoke || time.Since(d.sampled) > memorySampleEvery) {
		d.look()
	}
	if d.exit != nil && d.exit.OutOfMemory || errors.Is(d.failure, errSandboxMemory) {
		d.maxMemory = max(d.maxMemory, int64(d.o.Version.MemoryMiB)<<20)
	}
	d.lineReport(took)
	a.answer()
	d.attempt, d.exit, d.phase = nil, nil, ""
}
