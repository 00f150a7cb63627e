package agent

import (
	"errors"
	"reflect"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"gvisor.dev/gvisor/pkg/atomicbitops"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
)

// # Why a frozen function's clock goes wrong, and does not here
//
// gVisor computes the time from the processor's cycles, at a rate that it corrects once a second: what the clock is
// ahead or behind by is made up for within the next second, by a rate that is wrong on purpose. A sandbox that is
// frozen meanwhile goes on with that rate for as long as it is frozen, is then farther off than before, and corrects
// that the same way: "Repeated updates after more than 2*ApproxUpdateInterval will cause unbounded increases in error."
// Source: pkg/sentry/time/parameters.go. Clocks were seen two seconds off after a minute of invokes and freezes.
//
// gVisor has a remedy for sandboxes that have nothing to do: after two seconds without a reader its clocks are parked,
// and the next reader finds them calibrated from scratch, before it reads. So a pause parks them at once.

// Control answers the server, which stops and continues the tasks of a sandbox around a freeze (urpc allows no other
// exported methods on it).
type Control struct{}

// running is the kernel of this process: that of a restore takes the place of the first.
var running atomic.Pointer[kernel.Kernel]

var errNoKernel = errors.New("no kernel runs here")

// Pause returns when no task runs any more, and the clocks are parked.
func (*Control) Pause(_, _ *struct{}) error {
	k := running.Load()
	if k == nil {
		return errNoKernel
	}
	k.Pause()
	return parkClocks(k.Timekeeper())
}

// Resume lets tasks run.
func (*Control) Resume(_, _ *struct{}) error {
	k := running.Load()
	if k == nil {
		return errNoKernel
	}
	if k.IsPaused() {
		k.Unpause()
	}
	return nil
}

// updaterParked is the state of a timekeeper whose clocks nobody reads. Source: pkg/sentry/kernel/timekeeper.go.
const updaterParked = 1

// parkLimit bounds the wait for the timekeeper's goroutine, which has to run twice.
const parkLimit = 5 * time.Second

var errNotParked = errors.New("the clocks were not parked")

// parkClocks takes the timekeeper the way that it goes by itself when nobody reads the time for two intervals, without
// the waiting: with each step its goroutine goes from active to idle, and from idle to parked. Nothing reads the time
// meanwhile: no task runs.
func parkClocks(tk *kernel.Timekeeper) error {
	state := updaterState(tk)
	if state == nil {
		return errNotParked
	}
	for end := time.Now().Add(parkLimit); state.Load() != updaterParked; {
		timer := updaterTimer(tk)
		if timer == nil || time.Now().After(end) {
			return errNotParked
		}
		before := state.Load()
		timer.Reset(0)
		for spin := 0; state.Load() == before && spin < 1000; spin++ {
			runtime.Gosched()
		}
	}
	return nil
}

// updaterState is what the timekeeper's goroutine, and those who read the time, move. nil: this gVisor keeps it otherwise.
func updaterState(tk *kernel.Timekeeper) *atomicbitops.Int32 {
	f := reflect.ValueOf(tk).Elem().FieldByName("updaterState")
	if !f.IsValid() || f.Type() != reflect.TypeFor[atomicbitops.Int32]() {
		return nil
	}
	return (*atomicbitops.Int32)(unsafe.Pointer(f.UnsafeAddr()))
}
