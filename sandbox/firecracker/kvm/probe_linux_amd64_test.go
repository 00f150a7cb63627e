package kvm

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func needDevice(t *testing.T) {
	t.Helper()
	m := &machine{fd: -1, vm: -1, vcpu: -1}
	defer m.close()
	if err := m.open(); err != nil {
		t.Skip(err)
	}
}

// The machine itself is right where KVM only interprets, too: real mode, then long mode with its tables.
func TestProbeMachine(t *testing.T) {
	needDevice(t)
	if err := runSteps(context.Background(), long64[len(long64)-1:]); err != nil {
		t.Error(err)
	}
	left(t)
}

func TestProbeRefuses(t *testing.T) {
	needDevice(t)
	for _, c := range []struct {
		name string
		code []byte
		want string
	}{
		{"no such instruction", []byte{0x0f, 0x0b}, "stopped at"},         // ud2: there is no handler, so it is a triple fault
		{"another answer", []byte{0xb0, 'x', 0xe6, port}, "does not"},     // mov al, 'x'; out
		{"stray access", []byte{0x8a, 0x04, 0x25, 0, 0, 0x10, 0}, "stop"}, // mov al, [0x100000]: no memory is there
	} {
		t.Run(c.name, func(t *testing.T) {
			err := runSteps(context.Background(), []step{{c.name, c.code}, long64[len(long64)-1]})
			if !errors.As(err, new(*UnusableError)) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A guest that never stops does not keep the probe.
func TestProbeEnds(t *testing.T) {
	needDevice(t)
	over := errors.New("over")
	ctx, cancel := context.WithTimeoutCause(context.Background(), 50*time.Millisecond, over)
	defer cancel()
	if err := runSteps(ctx, []step{{"for ever", []byte{0xeb, 0xfe}}}); !errors.Is(err, over) { // jmp to itself
		t.Errorf("got %v", err)
	}
	left(t)
}
