package firecracker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"thaw/sandbox"
	"thaw/sandbox/host/making"
)

// # How a sandbox is made, and unmade
//
// There are three lists of steps: to a slot, and from a slot to a sandbox that was booted or restored. A step that
// leaves something on the host has an undo. Close runs the undos of all steps that were begun, in reverse, each whatever
// became of the others: a step that failed may have done a part. What the other steps change is of the sandbox's machine
// and groups, and goes with them.

type step struct {
	name string
	do   func(*Sandbox, context.Context) error
	undo func(*Sandbox) error // nil: there is nothing that outlives the sandbox
}

var (
	// slotSteps make a monitor that waits.
	slotSteps = []step{
		{"folder", (*Sandbox).makeFolder, (*Sandbox).removeFolder},
		{"cgroup", (*Sandbox).makeGroup, (*Sandbox).removeGroup},
		{"network", (*Sandbox).makeNetwork, (*Sandbox).removeNetwork},
		{"monitor", (*Sandbox).openMonitor, (*Sandbox).endMonitor},
	}
	// createSteps boot a machine in a slot and make it that of its spec.
	createSteps = []step{
		{"images", (*Sandbox).findImages, (*Sandbox).releaseImages},
		{"disk", (*Sandbox).makeDisk, nil},
		{"limits", (*Sandbox).limitMemory, nil},
		{"boot", (*Sandbox).boot, nil},
		{"guest", (*Sandbox).awaitBoot, nil},
		{"bind", (*Sandbox).bind, nil},
		{"stream", (*Sandbox).openStream, nil},
		{"hello", (*Sandbox).awaitHello, nil},
		{"cpus", (*Sandbox).limitCPU, nil},
	}
	// restoreSteps let a saved machine go on in a slot, as that of its spec.
	restoreSteps = []step{
		{"source", (*Sandbox).awaitSource, nil},
		{"fit", (*Sandbox).checkFit, nil},
		{"images", (*Sandbox).findSavedImages, (*Sandbox).releaseImages},
		{"disk", (*Sandbox).restoreDisk, nil},
		{"limits", (*Sandbox).limitMemory, nil},
		{"load", (*Sandbox).load, nil},
		{"guest", (*Sandbox).awaitRestored, nil},
		{"stream", (*Sandbox).openStream, nil},
		{"cpus", (*Sandbox).limitCPU, nil},
	}
)

// run does steps in order, and names the one that failed. Close cuts them short, waits for the one that is being done,
// and undoes them.
func (s *Sandbox) run(ctx context.Context, clock *making.Clock, steps []step) (failed string, err error) {
	s.steps.Lock()
	defer s.steps.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() { // not counted: it ends with this call
		select {
		case <-s.closing:
			cancel(sandbox.ErrClosed)
		case <-s.exited: // of a machine that ended nothing will come
			cancel(s.Exit().Err)
		case <-ctx.Done():
		}
	}()
	for _, st := range steps {
		if st.undo != nil {
			s.begun = append(s.begun, st)
		}
		if err := st.run(s, ctx); err != nil {
			if errors.Is(context.Cause(ctx), sandbox.ErrClosed) && !errors.Is(err, sandbox.ErrClosed) {
				err = fmt.Errorf("%w: %w", sandbox.ErrClosed, err) // whatever it was that Close cut short
			}
			return st.name, err
		}
		clock.Mark(st.name)
	}
	return "", nil
}

func (st step) run(s *Sandbox, ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	spoil := s.b.opt.spoil
	if spoil == nil {
		return st.do(s, ctx)
	}
	if err := spoil(st.name, false); err != nil {
		return err
	}
	if err := st.do(s, ctx); err != nil {
		return err
	}
	return spoil(st.name, true)
}

// makeSlot makes a slot for nobody yet. A patient one leaves the processor to those for whom somebody waits.
func (b *Backend) makeSlot(ctx context.Context, clock *making.Clock, patient bool) (*Sandbox, error) {
	s := &Sandbox{
		b: b, patient: patient, name: b.newName(), console: new(console),
		exited: make(chan struct{}), exceeded: make(chan struct{}, 1), closing: make(chan struct{}), gone: make(chan struct{}),
	}
	s.dir = filepath.Join(b.opt.Dir, sandboxesDir, s.name)
	if failed, err := s.run(ctx, clock, slotSteps); err != nil {
		return nil, errors.Join(making.Failed("slot", failed, err), s.Close())
	}
	// Only now is it the backend's to close: until here it is that of this goroutine alone.
	b.work.mu.Lock()
	closed := b.work.closed
	if !closed {
		b.work.live[s] = struct{}{}
	}
	b.work.mu.Unlock()
	if closed {
		return nil, errors.Join(sandbox.ErrClosed, s.Close())
	}
	return s, nil
}

// destroy undoes the steps that were begun, and takes the sandbox from the backend's lists.
func (s *Sandbox) destroy() error {
	s.steps.Lock()
	defer s.steps.Unlock()
	var errs []error
	for _, st := range slices.Backward(s.begun) {
		errs = append(errs, st.undo(s))
	}
	if !s.watching {
		close(s.exited)
	}
	s.b.work.mu.Lock()
	delete(s.b.work.live, s)
	if s.id != "" {
		delete(s.b.work.ids, s.id)
	}
	s.b.work.slots.DropLocked(s)
	s.b.work.mu.Unlock()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close sandbox %s: %w", s.name, err)
	}
	return nil
}
