package gvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"thaw/sandbox"
	"thaw/sandbox/host/making"
)

// # How a sandbox is made, and unmade
//
// There are four lists of steps: to a blank sandbox, to an armed one, and from either to one that is somebody's. A step
// that leaves something on the host has an undo. Close runs the undos of all steps that were begun, in reverse, each
// whatever became of the others: a step that failed may have done a part. What the other steps change (limits, mounts,
// memory) is of the sandbox's cgroups and processes, and goes with them.

type step struct {
	name string
	do   func(*Sandbox, context.Context) error
	undo func(*Sandbox) error // nil: there is nothing that outlives the sandbox
}

var (
	// blankSteps make a sandbox whose guest is up.
	blankSteps = []step{
		{"root", (*Sandbox).makeFiles, (*Sandbox).removeFiles},
		{"cgroup", (*Sandbox).makeGroup, (*Sandbox).removeGroup},
		{"network", (*Sandbox).makeNetwork, (*Sandbox).removeNetwork},
		{"processes", (*Sandbox).makeProcesses, (*Sandbox).endProcesses},
		{"start", (*Sandbox).start, nil},
		{"guest", (*Sandbox).awaitGuest, nil},
	}
	// createSteps make a blank sandbox that of its spec.
	createSteps = []step{
		{"limits", (*Sandbox).setLimits, nil},
		{"mounts", (*Sandbox).mount, nil},
	}

	// armedSteps make a sandbox that has not started, and waits for a snapshot, whichever.
	armedSteps = []step{
		{"root", (*Sandbox).makeFiles, (*Sandbox).removeFiles},
		{"cgroup", (*Sandbox).makeGroup, (*Sandbox).removeGroup},
		{"network", (*Sandbox).makeNetwork, (*Sandbox).removeNetwork},
		{"processes", (*Sandbox).makeProcesses, (*Sandbox).endProcesses},
		{"arm", (*Sandbox).arm, nil},
	}
	// restoreSteps let an armed sandbox go on where the snapshot was taken that its source gives, as that of its spec.
	restoreSteps = []step{
		{"source", (*Sandbox).awaitSource, nil},
		{"give", (*Sandbox).takeIn, nil},
		{"limits", (*Sandbox).setLimits, nil},
		{"load", (*Sandbox).load, nil},
	}
)

// run does steps in order, and names the one that failed. Close undoes them.
func (s *Sandbox) run(ctx context.Context, clock *making.Clock, steps []step) (failed string, err error) {
	for _, st := range steps {
		if st.undo != nil { // only those of makeSandbox: nobody else has the sandbox yet
			s.begun = append(s.begun, st)
		}
		if err := st.run(s, ctx); err != nil {
			return st.name, err
		}
		clock.Mark(st.name)
	}
	return "", nil
}

func (st step) run(s *Sandbox, ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
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

// makeSandbox makes a sandbox for nobody yet. A patient one leaves the processor to those for whom somebody waits.
func (b *Backend) makeSandbox(ctx context.Context, clock *making.Clock, patient bool, steps []step) (*Sandbox, error) {
	s := &Sandbox{
		b: b, patient: patient, name: b.newName(),
		exited: make(chan struct{}), exceeded: make(chan struct{}, 1), closing: make(chan struct{}), gone: make(chan struct{}),
	}
	s.dir = filepath.Join(b.opt.Dir, "sandboxes", s.name)
	if failed, err := s.run(ctx, clock, steps); err != nil {
		return nil, errors.Join(making.Failed("blank sandbox", failed, err), s.Close())
	}
	// Only now is it the backend's to close: until here it is that of this goroutine alone.
	b.mu.Lock()
	closed := b.closed
	if !closed {
		b.live[s] = struct{}{}
	}
	b.mu.Unlock()
	if closed {
		return nil, errors.Join(sandbox.ErrClosed, s.Close())
	}
	return s, nil
}

// destroy undoes the steps that were begun, and takes the sandbox from the backend's lists.
func (s *Sandbox) destroy() error {
	var errs []error
	for _, st := range slices.Backward(s.begun) {
		errs = append(errs, st.undo(s))
	}
	if !s.watching {
		close(s.exited)
	}
	s.b.mu.Lock()
	delete(s.b.live, s)
	if s.id != "" {
		delete(s.b.ids, s.id)
	}
	s.b.blanks.DropLocked(s)
	s.b.armed.DropLocked(s)
	s.b.mu.Unlock()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close sandbox %s: %w", s.name, err)
	}
	return nil
}

// endProcesses ends the sandbox's processes, frozen or not, and what speaks with them.
func (s *Sandbox) endProcesses() (err error) {
	if s.conn != nil {
		s.conn.Close()
	}
	s.group.Kill()
	if s.launcher != nil {
		err = s.forget()
	}
	s.wg.Wait()
	s.freezeMu.Lock()
	s.control.close()
	s.freezeMu.Unlock()
	if s.console != nil {
		s.console.close()
	}
	return err
}

func (s *Sandbox) removeNetwork() error {
	if s.net == nil {
		return nil
	}
	return s.net.Close()
}

func (s *Sandbox) removeGroup() error {
	if s.group == nil {
		return nil
	}
	return s.group.Remove()
}

func (s *Sandbox) removeFiles() error {
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("folder: %w", err)
	}
	return nil
}
