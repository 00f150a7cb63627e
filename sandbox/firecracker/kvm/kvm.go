// Package kvm says whether this host's KVM runs virtual machines. It asks no file and no flag of the processor: it makes
// a machine as Firecracker does, runs instructions in it that an ordinary kernel needs early, and looks what came of it.
// A device that is there and answers all calls may still run none of them: /dev/kvm without hardware behind it does so.
package kvm

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Device is KVM's.
const Device = "/dev/kvm"

// limit bounds a probe. It takes two milliseconds on hardware, and a hundred where the processor is emulated.
const limit = 10 * time.Second

// UnusableError says why no virtual machine runs here.
type UnusableError struct {
	Reason string
	// Absent is set when the host has no KVM at all, so that its owner may be able to turn it on.
	Absent bool
	Denied bool // to this user
}

func (e *UnusableError) Error() string { return "KVM: " + e.Reason }

func unusable(format string, args ...any) error {
	return &UnusableError{Reason: fmt.Sprintf(format, args...)}
}

var errTime = errors.New("time")

// Probe returns nil when a virtual machine ran all that was asked of it, else an *UnusableError. It leaves nothing.
func Probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errTime)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- probe(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	// It is told to end by the same context. A kernel that does not let go of it is no usable one either.
	select {
	case err := <-done:
		return err
	case <-time.After(time.Second):
		return unusable("a call to it did not return in %v", limit)
	}
}
