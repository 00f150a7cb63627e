package firecracker

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"thaw/guest/control"
	"thaw/sandbox"
)

// # What counts as a function's memory
//
// The machine's own kernel counts: the guest keeps all processes of the function in a group of that kernel, with the
// limit of the Spec, without /tmp (a disk) and without the guest itself. At the limit that kernel kills them, the guest
// says Exited with OutOfMemory, and a word comes by control, too: the owner's MemoryExceeded.
//
// The machine is larger than the limit by what its kernel and the guest need. The host's group around the monitor is
// larger again, and only holds a monitor that somebody has taken over: a machine cannot take more than it has.
const (
	// machineMiB is what kernel and guest need of a machine, beside a part of its size for the kernel's table of pages
	// (64 bytes for 4096) and what it keeps in reserve. Measured with Debian's cloud kernel: 60 MB with its modules.
	machineMiB  = 96
	machinePart = 16
	// firecrackerMiB is for Firecracker's own memory (5 MB at most, as its specification says), and file cache to work with.
	firecrackerMiB = 48
	// tablesPart is for page tables of the machine's memory, the monitor's and the processor's: 8 bytes for 4096 each,
	// and as much again.
	tablesPart = 128
)

// machineMemory is how large the machine of a function is, in MiB.
func machineMemory(functionMiB int) int {
	n := functionMiB + functionMiB/machinePart + machineMiB
	return n + n%2
}

// memory is what was heard of it last.
type memory struct {
	used  atomic.Int64 // bytes
	heard atomic.Bool  // ever
}

// limitMemory bounds the monitor, and lets it have its share of the processor.
func (s *Sandbox) limitMemory(context.Context) error {
	if s.patient {
		if err := s.group.Claim(false); err != nil {
			return err
		}
	}
	if !s.b.groups.HasMemory() {
		return nil
	}
	return s.group.BoundMemory(s.bound(1))
}

// bound is what the monitor may have with so many times the machine's memory, in bytes. What it writes to the disk of /tmp
// is file cache, which the kernel writes back; where the data folder is in memory (tmpfs) it is there to stay.
func (s *Sandbox) bound(times int) int64 {
	machine := machineMemory(s.spec.MemoryMiB)
	n := times*machine + machine/tablesPart + s.b.opt.OverheadMiB
	if s.b.inMemory {
		n += s.spec.TmpMiB
	}
	return int64(n) << 20
}

// giveRoom lets the monitor write a machine that is paused. What it writes counts as its group's, all of it where the
// files are in memory (tmpfs). And the function's share of the processor is not for that.
func (s *Sandbox) giveRoom() error {
	if err := s.group.LimitCPU(float64(runtime.NumCPU())); err != nil {
		return err
	}
	if !s.b.groups.HasMemory() {
		return nil
	}
	return s.group.BoundMemory(s.bound(2))
}

// limitCPU comes when the machine is up: its boot is nobody's invoke.
func (s *Sandbox) limitCPU(context.Context) error { return s.group.LimitCPU(s.spec.CPUs) }

// memoryLimit bounds the wait for the guest's answer: whoever asks drives the environment.
const memoryLimit = time.Second

// MemoryUsed implements sandbox.Sandbox. A frozen sandbox holds what it held.
func (s *Sandbox) MemoryUsed() (int64, error) {
	if s.ended() {
		return 0, sandbox.ErrClosed
	}
	if s.freezing.frozen.Load() {
		return s.memory.used.Load(), nil
	}
	err := s.askMemory()
	if err != nil && (s.ended() || !s.memory.heard.Load()) {
		return 0, err
	}
	return s.memory.used.Load(), nil
}

func (s *Sandbox) askMemory() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), memoryLimit, errors.New("it takes too long"))
	defer cancel()
	var m control.Memory
	if err := s.control.ask(ctx, control.KindMemory, nil, &m); err != nil {
		return err
	}
	s.heldMemory(m)
	return nil
}

func (s *Sandbox) heldMemory(m control.Memory) {
	s.memory.used.Store(m.Used)
	s.memory.heard.Store(true)
}

// noteExceeded hears that the machine's kernel has killed for memory.
func (s *Sandbox) noteExceeded() {
	select {
	case s.exceeded <- struct{}{}:
	default: // the owner has not taken the last one yet
	}
}
