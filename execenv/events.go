package execenv

import (
	"fmt"

	"thaw/guest/wire"
)

// What happens to an environment means one thing to one that serves and another to one that makes a snapshot. Here, and nowhere
// else, is decided which event of the table it is.

// happened handles the event that something means now.
func (d *driver) happened(ev Event) {
	d.limitNoted(ev)
	if d.beingMade() {
		ev = d.meansForMaking(ev)
	} else if ev == ProcessExited {
		ev = d.meansOfExit()
	}
	d.handle(ev)
}

// beingMade says whether what the runtime does now is on the way to a snapshot.
func (d *driver) beingMade() bool {
	return d.making != nil && (d.state == Initializing || d.state == Priming || d.state == Primed)
}

func (d *driver) meansForMaking(ev Event) Event {
	switch ev {
	case RuntimeParked:
		if d.making.primed == len(d.o.Make.Primes) {
			return SnapshotPoint
		}
		if d.making.next == wire.NextRestore {
			d.primingRefused()
			return MakeFailed
		}
		return PrimingPoint
	case Answered:
		if d.attempt.posted.FunctionError != "" {
			d.primingAnsweredBadly()
			return MakeFailed
		}
	case ProcessExited, LimitReached, InitEnded:
		d.noteMakeFailure(ev)
		return MakeFailed
	}
	return ev
}

// starvedInits is after how many Inits in a row an environment goes whose runtime cannot be started.
const starvedInits = 2

// meansOfExit is the event for the exit that was read last.
func (d *driver) meansOfExit() Event {
	x := d.gen.exit
	if !x.Starved {
		d.starved = 0
		return ProcessExited
	}
	d.starved++
	d.o.Log.Warn("runtime cannot be started", "env", d.id, "fn", d.o.Version.Name, "qualifier", d.o.Version.Number, "times", d.starved, "error", x.Reason())
	if d.state != Reinitializing || d.starved < starvedInits {
		return ProcessExited
	}
	d.failure = fmt.Errorf("the runtime cannot be started: %s", x.Reason())
	return Starved
}

// graceOver: the environment stayed parked for the freeze grace, or a runtime that posted an error did not go.
func (d *driver) graceOver() {
	switch d.state {
	case Parked:
		d.handle(FreezeDue)
	case Initializing, Primed, Reinitializing, Restoring:
		d.happened(InitEnded)
	}
}

// limitNoted notes why an environment goes whose own steps took too long.
func (d *driver) limitNoted(ev Event) {
	if ev != LimitReached {
		return
	}
	switch d.state {
	case Checkpointing:
		d.failure = fmt.Errorf("checkpoint: not done within %v", checkpointLimit)
	case Creating:
		d.failure = fmt.Errorf("the guest did not answer within %v", helloLimit)
	case Freezing, Thawing, Waking:
		d.failure = fmt.Errorf("%v: not done within %v", d.state, changeLimit)
	}
}
