package execenv

import (
	"time"

	"thaw/guest/wire"
)

// Shutdown, and the reset, which is a shutdown that keeps the sandbox. Source: spec 1.3, 1.8, 1.9; Lambda Developer Guide,
// Extensions API, Shutdown phase. E-096 to E-100

// The budget of a shutdown, and what of it is the runtime's.
const (
	externalBudget       = 2 * time.Second
	runtimeShare         = 300 * time.Millisecond
	internalBudget       = 500 * time.Millisecond // and the runtime's share where it contains an internal extension
	resetTimeout         = "TIMEOUT"
	resetFailure         = "FAILURE"
	shutdownSpindown     = "SPINDOWN"
	stateOfLaunchedOnly  = "Started"
	stateOfNeverLaunched = "LaunchError"
)

// budget is what the processes are owed: all of them, and the runtime of that.
func (d *driver) budget() (total, runtime time.Duration) {
	for _, x := range d.gen.extensions {
		switch {
		case x.Internal:
			total, runtime = max(total, internalBudget), internalBudget
		case x.State != stateOfLaunchedOnly && x.State != stateOfNeverLaunched:
			total, runtime = externalBudget, max(runtime, runtimeShare)
		}
	}
	return total, runtime
}

// reason is why there is a shutdown, in the words of the SHUTDOWN event. E-068
func reason(ev Event) string {
	switch ev {
	case LimitReached:
		return resetTimeout
	case StopAsked:
		return shutdownSpindown
	}
	return resetFailure
}

// kill sends Kill, and begins the limit within which it must be done.
func (d *driver) kill(ev Event, total, runtime time.Duration) {
	d.send(wire.KindKill, wire.Kill{Generation: d.gen.number, BudgetMs: total.Milliseconds(), RuntimeMs: runtime.Milliseconds(), Reason: reason(ev)}, nil)
	d.limit.Reset(total + killLimit)
}

// killProcesses ends the generation, and keeps the sandbox.
func (d *driver) killProcesses(ev Event) {
	d.e.spent.Store(d.o.Restore != nil || d.o.Provisioned)
	d.gen.initError = nil
	total, runtime := d.budget()
	d.kill(ev, total, runtime)
}

// shutDown ends the generation before the sandbox is closed. Where nobody is owed anything there is nothing to wait for, and a
// frozen sandbox is not thawed for it.
func (d *driver) shutDown(ev Event) {
	total, runtime := d.budget()
	if total == 0 {
		d.limit.Reset(0)
		return
	}
	d.change(Thawed, ThawFailed, d.box.Thaw)
	d.kill(ev, total, runtime)
}
