package agent

import (
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/platform"
)

// scripted is a thread that comes back for one reason, and notes what it is asked for.
type scripted struct {
	platform.Context
	info  linux.SignalInfo
	err   error
	asked []string
}

func (s *scripted) Switch(context.Context, platform.MemoryManager, *arch.Context64, int32) (*linux.SignalInfo, hostarch.AccessType, error) {
	return &s.info, hostarch.NoAccess, s.err
}

func (s *scripted) PullFullState(platform.AddressSpace, *arch.Context64) error {
	s.asked = append(s.asked, "pull")
	return nil
}

func (s *scripted) FullStateChanged() { s.asked = append(s.asked, "changed") }

type noMemory struct{ platform.MemoryManager }

func (noMemory) AddressSpace() platform.AddressSpace { return nil }

// After an interrupt all registers are loaded; after a system call or a fault, which come a thousand times as often,
// nothing is added.
func TestAnInterruptedThreadLoadsAllItsRegisters(t *testing.T) {
	for name, c := range map[string]struct {
		signal linux.Signal
		err    error
		want   []string
	}{
		"interrupt":   {platform.SignalInterrupt, platform.ErrContextSignal, []string{"pull", "changed"}},
		"fault":       {linux.SIGSEGV, platform.ErrContextSignal, nil},
		"system call": {0, nil, nil},
	} {
		s := &scripted{info: linux.SignalInfo{Signo: int32(c.signal)}, err: c.err}
		info, _, err := wholeContext{s}.Switch(nil, noMemory{}, nil, -1)
		if info != &s.info || err != c.err {
			t.Errorf("%s: the answer is another: %v, %v", name, info, err)
		}
		if !slices.Equal(s.asked, c.want) {
			t.Errorf("%s: asked for %q, want %q", name, s.asked, c.want)
		}
	}
}
