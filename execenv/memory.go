package execenv

import (
	"time"

	"thaw/guest/wire"
)

// Max Memory Used is the most that was seen in the life of the environment. What ends before its invoke ends (a child
// process, above all) is only seen by looking meanwhile. One look costs the kernel up to a millisecond: it walks the
// pages of a process, or adds up a control group.
const (
	// memorySampleEvery is how often short invokes are looked at, at their end: at each it would be more than the rest
	// of the invoke.
	memorySampleEvery = time.Second
	// longInvoke is from when on the look is small beside the invoke. So long after its beginning is the first one.
	longInvoke = 200 * time.Millisecond
	// lookEvery is the time between looks while something runs for longer.
	lookEvery = 250 * time.Millisecond
)

// footprint is what was seen so far.
type footprint struct {
	maxMemory int64
	sampled   time.Time   // when it was looked at last
	looks     *time.Timer // when it is looked at next
}

// look notes what the function's processes hold now.
func (d *driver) look() (used int64) {
	if d.box == nil {
		return 0
	}
	d.sampled = time.Now()
	used, err := d.box.MemoryUsed()
	if err != nil {
		return 0
	}
	d.maxMemory = max(d.maxMemory, used)
	return used
}

// lookDue: Init or an invoke is still running.
func (d *driver) lookDue() {
	switch d.state {
	case Initializing, Reinitializing, Priming, Primed, Invoking, Responded, Finishing:
		d.look()
		d.looks.Reset(lookEvery)
	}
}

// killForMemory has the guest kill the runtime, and say why.
func (d *driver) killForMemory() {
	d.send(wire.KindOutOfMemory, wire.OutOfMemory{LimitMiB: d.o.Version.MemoryMiB, HeldBytes: d.look()}, nil)
}
