package execenv

import (
	"syscall"
	"time"

	"thaw/guest/platform"
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

// killForMemory has the guest kill the runtime.
func (d *driver) killForMemory() {
	d.overMemory()
	d.send(wire.KindOutOfMemory, nil, nil)
}

func (d *driver) overMemory() {
	d.gen.overMemory, d.gen.heldBytes = true, max(d.gen.heldBytes, d.look())
}

// processExited makes the end of a runtime that the memory limit has brought what it is at AWS, and says in the log what was
// there. The kernel's last word to the process may be another one: at the limit it has no page for what is touched
// (SIGSEGV, SIGBUS) or allocated, and a runtime may give up by itself before the guest has heard of it.
func (d *driver) processExited(m *wire.Exited) {
	select {
	case <-d.memory: // reached before the exit, and read after it
		d.overMemory()
	default:
	}
	if m.Extension != "" || m.LaunchError != "" || !m.OutOfMemory && !d.gen.overMemory {
		return
	}
	m.OutOfMemory, m.Code, m.Signal = true, -1, int(syscall.SIGKILL)
	d.sayOutOfMemory(m.Processes, false)
}

// sayOutOfMemory writes what was there at the limit into the log.
func (d *driver) sayOutOfMemory(processes int, ended bool) {
	if d.gen.heldBytes == 0 { // nobody looked before it went
		d.gen.heldBytes = int64(d.o.Version.MemoryMiB) << 20
	}
	e := platform.OutOfMemory{LimitMB: d.o.Version.MemoryMiB, HeldMB: d.gen.heldBytes >> 20, Processes: processes, Ended: ended}
	now := time.Now()
	d.record(now, e)
	for _, line := range platform.Lines(now, e) {
		d.hear(line)
	}
}
