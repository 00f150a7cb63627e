package execenv

import (
	"context"
	"errors"
	"time"

	"thaw/function"
	"thaw/guest/wire"
	"thaw/sandbox"
)

// driver performs the life of one environment. Everything in it belongs to its goroutine.
type driver struct {
	e  *Environment
	id ID
	o  Options

	story
	link
	flow
	footprint
	gen       generation // of processes, the last one that was started
	first     first      // what the first REPORT still has to tell
	making    *making    // of an environment that makes a snapshot
	restoring *restoring // of one that began from a snapshot
	attempt   *attempt   // the invocation in flight
	early     tailBuffer // what an Init that somebody waits for has said: part of that one's tail
	starved   int        // Inits in a row for which the runtime could not be started (wire.Exited.Starved)

	limit      *deadline   // of the state
	graceTimer *time.Timer // freeze grace, or grace after init/error
}

// story is the environment's life so far.
type story struct {
	state   State
	since   time.Time
	created time.Time
	moves   []Move
	invokes uint64
	tenant  string // whom it serves, since its first invoke; empty where nobody tells tenants apart
	stopWhy string
	failure error // why it goes without being asked
}

// link is the sandbox, and all by which it is heard.
type link struct {
	box      sandbox.Sandbox
	pids     []int
	out      *wire.Writer
	made     chan madeSandbox
	cancel   context.CancelFunc
	frames   chan wire.Frame
	exited   <-chan struct{}
	memory   <-chan struct{}
	closed   chan struct{}
	changing chan struct{} // closed when the last freeze or thaw that was begun has ended; nil before the first
	changed  chan change
}

// generation is one Init and the processes that it started: it lives until they are killed.
type generation struct {
	number     uint64
	phase      string // of its Init, until the first report after it
	from       time.Time
	initError  *initError
	exit       *wire.Exited
	overMemory bool   // the limit was reached: whatever ends the processes from now on, that did
	heldBytes  int64  // by them then
	heard      string // the end of what the function printed during Init or Restore
	extensions []wire.Extension
	listeners  int // subscriptions to telemetry
}

// first is what the first REPORT of an environment tells once.
type first struct {
	init                   time.Duration   // of a successful Init in phase init
	restore, restoreBilled time.Duration   // of a successful restore: all of it, and from the word to the runtime's next
	initial, restored      function.Period // the same for a trace, also what failed and what was inside an invocation
}

// making is the making of a snapshot.
type making struct {
	checkpointed chan error
	endSaving    func()        // ends what saves the sandbox, and waits for it; nil: nothing does
	next         wire.NextKind // where the runtime parked at the snapshot point
	draft        Made          // what is known of the snapshot so far
	made         *Made         // nil: it is not saved
	primed       int           // priming events that were sent
	primingTook  time.Duration // of all of them
}

// restoring is the restore from a snapshot.
type restoring struct {
	from, released time.Time
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
	d := &driver{e: e, id: e.id, o: e.o, limit: newDeadline(), graceTimer: stoppedTimer()}
	d.story = story{state: Creating, since: now, created: now}
	d.link = link{made: make(chan madeSandbox, 1), closed: make(chan struct{}), changed: make(chan change, maxChanges)}
	d.footprint.looks = stoppedTimer()
	d.gen.phase = phaseInit
	d.early.on = e.o.Make == nil && e.o.Restore == nil && !e.o.Provisioned
	if e.o.Make != nil {
		d.making = &making{checkpointed: make(chan error, 1)}
	}
	if e.o.Restore != nil {
		d.restoring = &restoring{}
	}
	return d
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
	if d.restoring != nil {
		d.beginRestore()
	}
	go d.makeSandbox(ctx)
	for d.state != Gone {
		d.step()
	}
	d.limit.Stop()
	d.graceTimer.Stop()
	d.looks.Stop()
	if d.making != nil && d.making.endSaving != nil {
		d.making.endSaving() // from now on the sink is its owner's
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

func (d *driver) makeSandbox(ctx context.Context) {
	spec := sandbox.Spec{
		ID: sandbox.ID(d.id[:16]), MemoryMiB: d.o.Version.MemoryMiB, TmpMiB: d.o.Version.EphemeralMiB,
		CPUs: d.o.CPUs, Processors: d.o.Processors, Mounts: d.o.Launch.Mounts,
	}
	var m madeSandbox
	if r := d.o.Restore; r != nil {
		m.box, m.err = r.open(ctx, d.o.Backend, spec)
	} else {
		m.box, m.err = d.o.Backend.Create(ctx, spec)
	}
	d.made <- m
}

func (d *driver) refuse(c command) {
	if c.assign != nil {
		c.assign.reply <- function.Outcome{Err: ErrNotTaken}
	}
}

// step waits for one thing to happen and does what follows from it.
func (d *driver) step() {
	var checkpointed chan error
	if d.making != nil {
		checkpointed = d.making.checkpointed
	}
	select {
	case f, ok := <-d.frames:
		if !ok {
			d.frames = nil
			d.lost(errors.New("the guest closed its stream"))
			return
		}
		d.frame(f)
	case c := <-d.e.cmds:
		d.command(c)
	case <-d.limit.C:
		if d.limit.reached(time.Now()) {
			d.happened(LimitReached)
		}
	case <-d.graceTimer.C:
		d.graceOver()
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
	case err := <-checkpointed:
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

func (d *driver) command(c command) {
	if c.assign != nil {
		d.assign(c.assign)
		return
	}
	if d.stopWhy == "" {
		d.stopWhy = c.stop
	}
	d.handle(StopAsked)
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

// keepsLimit says which moves go on under the running deadline: the answer does not end an invoke, the next calls do; a thaw
// goes on when an invoke is assigned meanwhile; and a reset goes on when the environment is to go.
func keepsLimit(from, to State) bool {
	return from == Invoking && to == Responded || from == Responded && to == Finishing || from == Thawing && to == Waking ||
		from == Resetting && to == ShuttingDown
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
	case EndRuntime:
		d.endRuntime()
	case FailInvoke:
		d.failInvoke(ev)
	case ReportInvoke:
		d.reportInvoke(ev)
	case KillProcesses:
		d.killProcesses(ev)
	case ShutDown:
		d.shutDown(ev)
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
	if d.out != nil {
		d.sent(kind, d.out.Send(kind, head, body))
	}
}

// queue has a frame written together with the next one that is sent.
func (d *driver) queue(kind wire.Kind, head any, body []byte) {
	if d.out != nil {
		d.sent(kind, d.out.Queue(kind, head, body))
	}
}

func (d *driver) sent(kind wire.Kind, err error) {
	if err != nil {
		d.o.Log.Debug("message not sent", "env", d.id, "kind", kind, "error", err)
	}
}
