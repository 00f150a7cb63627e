package gvisor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"thaw/sandbox"
	"thaw/sandbox/gvisor/launch"
	"thaw/sandbox/host/making"
)

// restoreLimit bounds one restore from the moment that it has a core, whatever the caller's patience: a sandbox that was given a snapshot
// and has not started by then never will.
const restoreLimit = time.Minute

func (s *Sandbox) arm(ctx context.Context) error {
	_, err := s.launcher.Call(ctx, launch.Request{Op: launch.OpArm, ID: s.name})
	return err
}

// Restore implements sandbox.Backend.
func (b *Backend) Restore(ctx context.Context, spec sandbox.Spec, src sandbox.SnapshotSource) (sandbox.Sandbox, error) {
	clock := making.NewClock()
	if err := b.reserve(spec); err != nil {
		return nil, err
	}
	s, err := b.restore(ctx, spec, src, clock)
	if err != nil {
		return nil, err
	}
	s.stages = clock.Stages
	s.untrimmed.Store(trims)
	return s, nil
}

func (b *Backend) restore(ctx context.Context, spec sandbox.Spec, src sandbox.SnapshotSource, clock *making.Clock) (*Sandbox, error) {
	from, err := b.openSource(src)
	if err != nil {
		b.unreserve(spec)
		return nil, err
	}
	defer from.close()
	s, err := b.armed.Take(ctx, clock)
	if err != nil {
		b.unreserve(spec)
		if errors.Is(err, sandbox.ErrClosed) {
			return nil, err
		}
		return nil, &sandbox.SnapshotError{Stage: sandbox.StageMake, Err: err}
	}
	s.become(spec)
	s.restoring = &restoring{from: from}
	failed, err := s.run(ctx, clock, restoreSteps)
	if err != nil {
		return nil, s.snapshotFailed(failed, err)
	}
	clock.Stages = append(clock.Stages, s.restoring.marks...)
	s.restoring = nil
	return s, nil
}

// restoring is what a sandbox has while restoreSteps are done.
type restoring struct {
	from  *source
	files []*os.File      // the source's
	stage string          // that the launcher says it ended in
	marks []sandbox.Stage // what the load has passed
}

// awaitSource waits for the files of the snapshot.
func (s *Sandbox) awaitSource(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, restoreLimit, errors.New("the snapshot took too long to be taken in"))
	defer cancel()
	s.restoring.files, err = s.restoring.from.wait(ctx)
	return err
}

// takeIn gives the sandbox the snapshot: its pages begin to load.
func (s *Sandbox) takeIn(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, restoreLimit, errors.New("the snapshot took too long to be taken in"))
	defer cancel()
	files := s.restoring.files
	rep, err := s.launcher.Call(ctx, launch.Request{Op: launch.OpGive, ID: s.name, Key: s.b.key, Progress: len(files) > len(parts)}, files...)
	s.restoring.stage = rep.Stage
	if err != nil {
		return err
	}
	s.memory.baseline = rep.Baseline
	return nil
}

// load puts the files of the spec into the sandbox while its kernel loads, and returns when the guest runs.
func (s *Sandbox) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, restoreLimit, errors.New("the kernel took too long to load"))
	defer cancel()
	rep, err := s.launcher.Call(ctx, launch.Request{Op: launch.OpRun, ID: s.name, Root: s.root(), Mounts: s.spec.Mounts})
	s.restoring.stage = rep.Stage
	if err != nil {
		return err
	}
	for _, m := range rep.Marks {
		s.restoring.marks = append(s.restoring.marks, sandbox.Stage{Name: "load: " + m.Name, Seconds: m.Wall}, sandbox.Stage{Name: "load: " + m.Name + ", cpu", Seconds: m.CPU})
	}
	return nil
}

// trimLimit bounds the wait for a restored sandbox to give back what its restore needed.
const trimLimit = time.Second

// trims is how often a restored sandbox is trimmed. A restore leaves some 10 MB of garbage in gVisor's heap, which nobody collects while the sandbox is frozen: the
// first trim gives it back. The second is for what the first invoke touched, where the sandbox was frozen before it, as a spare is.
const trims = 2

// trim is called before a sandbox is frozen.
func (s *Sandbox) trim() {
	left := s.untrimmed.Add(-1)
	if left < 0 {
		s.untrimmed.Store(0)
		return
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), trimLimit, errors.New("it takes too long"))
	defer cancel()
	if _, err := s.launcher.Call(ctx, launch.Request{Op: launch.OpTrim, ID: s.name, Last: left == 0}); err != nil {
		select {
		case <-s.closing: // it goes, and all its memory with it
			return
		case <-s.exited:
			return
		default:
		}
		s.b.log.Warn("restored sandbox does not give memory back", "sandbox", s.name, "err", err)
	}
}

// restoreStages are the stages of a SnapshotError that a step ends in, where the launcher does not say it.
var restoreStages = map[string]string{"source": sandbox.StageSource, "give": sandbox.StageLoad, "limits": sandbox.StageBind, "load": sandbox.StageLoad}

// snapshotFailed ends a sandbox whose restore went wrong at a step.
func (s *Sandbox) snapshotFailed(step string, err error) error {
	stage := s.restoring.stage
	if stage == "" {
		stage = restoreStages[step]
	}
	if s.ended() {
		err = fmt.Errorf("%w (%w)", err, s.Exit().Err)
	}
	return errors.Join(&sandbox.SnapshotError{Stage: stage, Err: err}, s.Close())
}
