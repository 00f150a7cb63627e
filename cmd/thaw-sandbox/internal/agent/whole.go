package agent

import (
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/platform"
)

// # Why an interrupt gives a thread all its registers back
//
// Systrap runs a function's threads on threads of the host, which it calls stub threads: any of them on any thread. When
// a thread comes back to the stub thread that ran it last, its floating-point and vector registers are still there, and
// are not loaded again. Which stub thread ran it last is written down by the one that hands it to gVisor's kernel, also
// when that one has not run it at all: when it took it from the queue, found it interrupted meanwhile, and gave it back.
// Stub thread A runs a thread and waits for the next one. B runs the thread, then A takes it, finds it interrupted and
// gives it back, then takes it again, and believes that what it has of it is the latest: the thread goes on with vector
// registers of some system calls ago. Programs compute with wrong numbers then, or die: copies of memory and pairs of
// pointers go through these registers. Source: switch_context_amd64 and switch_context, in gVisor's
// pkg/sentry/platform/systrap/sysmsg (sighandler_amd64.c, sysmsg_lib.c).
//
// It takes many threads, few cores, and interrupts: of signals, and of every freeze, which interrupts all threads at
// once. A thread that gave way to an interrupt is told to load all of its registers. They are whole at that time, in the
// memory that it shares with gVisor's kernel.

// wholeContext is a thread that loads all its registers after an interrupt.
type wholeContext struct{ platform.Context }

// Switch implements platform.Context.
func (c wholeContext) Switch(ctx context.Context, m platform.MemoryManager, ac *arch.Context64, cpu int32) (*linux.SignalInfo, hostarch.AccessType, error) {
	info, at, err := c.Context.Switch(ctx, m, ac, cpu)
	if err == platform.ErrContextSignal && linux.Signal(info.Signo) == platform.SignalInterrupt {
		if err := c.PullFullState(m.AddressSpace(), ac); err != nil {
			return nil, hostarch.NoAccess, err
		}
		c.FullStateChanged()
	}
	return info, at, err
}
