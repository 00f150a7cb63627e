package firecracker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thaw/guest/control"
	"thaw/sandbox"
	"thaw/sandbox/host/etc"
	"thaw/sandbox/host/making"
	"thaw/sandbox/host/network"
)

const (
	// bootLimit bounds a boot from the moment that it has a processor, whatever the caller's patience. With KVM it takes
	// less than a second; without, on a busy machine, some twenty.
	bootLimit = 3 * time.Minute
	// askLimit bounds what a guest that is up is asked for.
	askLimit = time.Minute
	// maxProcesses bounds the function's processes and threads; memory ends most before.
	maxProcesses = 4096
)

// Create implements sandbox.Backend.
func (b *Backend) Create(ctx context.Context, spec sandbox.Spec) (sandbox.Sandbox, error) {
	if err := b.reserve(spec); err != nil {
		return nil, err
	}
	clock := making.NewClock()
	s, err := b.work.slots.Take(ctx, clock)
	if err != nil {
		b.unreserve(spec)
		return nil, err
	}
	s.become(spec)
	if err := s.create(ctx, clock); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.stages = clock.Stages
	return s, nil
}

func (s *Sandbox) create(ctx context.Context, clock *making.Clock) error {
	if err := s.b.boots.Acquire(ctx, 1); err != nil {
		return s.describe(context.Cause(ctx))
	}
	defer s.b.boots.Release(1)
	clock.Mark("wait for a processor")
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, errors.New("the machine took too long to boot"))
	defer cancel()
	failed, err := s.run(ctx, clock, createSteps)
	if err == nil {
		return nil
	}
	if s.ended() && s.Exit().Err != nil {
		err = fmt.Errorf("%w (%w)", err, s.Exit().Err)
	}
	return making.Failed("sandbox "+string(s.id), failed, err)
}

func (s *Sandbox) boot(ctx context.Context) error { return s.machine.Boot(ctx, s.config()) }

// awaitBoot returns when the guest listens.
func (s *Sandbox) awaitBoot(ctx context.Context) (err error) {
	if s.control, err = dialControl(ctx, s.machine, s.noteExceeded); err != nil {
		return err
	}
	s.watchControl()
	return nil
}

// lastWords is how long a machine has to end whose guest is gone, before it is ended.
const lastWords = 2 * time.Second

// watchControl ends a machine with whose guest nobody can speak any more.
func (s *Sandbox) watchControl() {
	s.wg.Go(func() {
		<-s.control.ended
		select {
		case <-s.exited:
		case <-s.closing:
		case <-time.After(lastWords):
			s.fail(errors.New("its guest has broken off"))
		}
	})
}

// bind makes the machine the sandbox of its function.
func (s *Sandbox) bind(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askLimit, errors.New("the guest does not answer"))
	defer cancel()
	bind := control.Bind{
		Mounts: s.disks.set.Mounts, Folders: sandbox.Roots, Tmp: len(s.disks.set.Drives), TmpBytes: int64(s.spec.TmpMiB) << 20,
		MemoryBytes: int64(s.spec.MemoryMiB) << 20, MaxProcesses: maxProcesses, Files: s.b.files, Hostname: etc.HostName, Fresh: fresh(),
		Users: []control.User{{UID: etc.UserID, GID: etc.GroupID, Home: "/home/" + etc.UserName}},
	}
	if s.net != nil {
		bind.Network = &control.Network{Address: network.Inside, Gateway: network.Gateway, MTU: s.net.MTU()}
	}
	var bound control.Bound
	return s.control.ask(ctx, control.KindBind, bind, &bound)
}
