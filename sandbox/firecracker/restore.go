package firecracker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"thaw/guest/control"
	"thaw/sandbox"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/host/making"
)

// restoreLimit bounds one restore from the moment that its snapshot is there, whatever the caller's patience.
const restoreLimit = 2 * time.Minute

// Restore implements sandbox.Backend.
func (b *Backend) Restore(ctx context.Context, spec sandbox.Spec, src sandbox.SnapshotSource) (sandbox.Sandbox, error) {
	clock := making.NewClock()
	if err := b.reserve(spec); err != nil {
		return nil, err
	}
	from, err := b.openSource(src)
	if err != nil {
		b.unreserve(spec)
		return nil, err
	}
	defer from.close()
	s, err := b.work.slots.Take(ctx, clock)
	if err != nil {
		b.unreserve(spec)
		if errors.Is(err, sandbox.ErrClosed) {
			return nil, err
		}
		return nil, &sandbox.SnapshotError{Stage: sandbox.StageMake, Err: err}
	}
	s.become(spec)
	s.restoring = &restoring{from: from}
	ctx, cancel := context.WithTimeoutCause(ctx, restoreLimit, errors.New("the machine took too long to be restored"))
	defer cancel()
	if failed, err := s.run(ctx, clock, restoreSteps); err != nil {
		return nil, s.restoreFailed(failed, err)
	}
	s.restoring, s.stages = nil, clock.Stages
	return s, nil
}

// restoring is what a sandbox has while restoreSteps are done.
type restoring struct {
	from *source
	saved
}

// awaitSource waits for the files of the snapshot.
func (s *Sandbox) awaitSource(ctx context.Context) (err error) {
	s.restoring.saved, err = s.restoring.from.wait(ctx)
	return err
}

// checkFit compares what was saved with what is asked for. What mounts show is in images, which are known by their
// digests: the sources are not read, but must be there.
func (s *Sandbox) checkFit(context.Context) error {
	for _, m := range s.spec.Mounts {
		if _, err := os.Stat(m.Source); err != nil {
			return fmt.Errorf("mount at %s: %w", m.Target, err)
		}
	}
	return s.restoring.manifest.fit(s.b.describe(s.spec))
}

// restoreDisk makes the disk of /tmp, which is the machine's own, what it was.
func (s *Sandbox) restoreDisk(context.Context) error {
	f, err := os.OpenFile(s.disks.tmp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("disk of /tmp: %w", err)
	}
	m := s.restoring.manifest
	err = unpack(f, io.NewSectionReader(s.restoring.tmp, 0, m.Parts[partTmp].Size), m.Tmp, m.TmpSize)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("disk of /tmp: %w", err)
	}
	return s.ownDisk()
}

func (s *Sandbox) load(ctx context.Context) error {
	saved := vmm.Saved{State: s.restoring.state, Memory: s.restoring.memory}
	if s.restoring.late != nil {
		s.serveLate(&saved)
	}
	return s.machine.Restore(ctx, s.config(), saved)
}

// awaitRestored tells the guest what no two copies may share, before anything else.
func (s *Sandbox) awaitRestored(ctx context.Context) (err error) {
	if s.control, err = redialControl(ctx, s.machine, s.noteExceeded); err != nil {
		return err
	}
	s.watchControl()
	ctx, cancel := context.WithTimeoutCause(ctx, askLimit, errors.New("the guest does not answer"))
	defer cancel()
	// The host may ask other name servers by now.
	const resolv = "/etc/resolv.conf"
	restored := control.Restored{Fresh: fresh(), Files: map[string][]byte{resolv: s.b.files[resolv]}}
	return s.control.ask(ctx, control.KindRestored, restored, nil)
}

// restoreStages are the stages of a SnapshotError that a step ends in, where the error does not say it.
var restoreStages = map[string]string{
	"source": sandbox.StageSource, "images": sandbox.StageBind, "fit": sandbox.StageBind, "disk": sandbox.StageLoad,
	"limits": sandbox.StageBind, "load": sandbox.StageLoad, "guest": sandbox.StageLoad, "stream": sandbox.StageLoad, "cpus": sandbox.StageBind,
}

// restoreFailed ends a sandbox whose restore went wrong at a step.
func (s *Sandbox) restoreFailed(step string, err error) error {
	stage := restoreStages[step]
	var known *stageError
	if errors.As(err, &known) {
		stage = known.stage
	}
	if s.ended() && s.Exit().Err != nil {
		err = fmt.Errorf("%w (%w)", err, s.Exit().Err)
	}
	return errors.Join(&sandbox.SnapshotError{Stage: stage, Err: err}, s.Close())
}
