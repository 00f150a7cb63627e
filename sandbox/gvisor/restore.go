package gvisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"thaw/sandbox"
	"thaw/sandbox/gvisor/launch"
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
	clock := newStages()
	if err := b.reserve(spec); err != nil {
		return nil, err
	}
	s, err := b.prepare(ctx, src, clock)
	if err != nil {
		b.unreserve(spec)
		return nil, err
	}
	if err := s.claim(ctx, spec, clock); err != nil {
		return nil, err
	}
	return s, nil
}

// prepare takes a sandbox that waits for a snapshot and gives it this one: its pages begin to load.
func (b *Backend) prepare(ctx context.Context, src sandbox.SnapshotSource, clock *stages) (_ *Sandbox, err error) {
	from, err := b.openSource(src)
	if err != nil {
		return nil, err
	}
	defer from.close()
	s, err := b.armed.take(ctx, clock)
	if err != nil {
		if errors.Is(err, sandbox.ErrClosed) {
			return nil, err
		}
		return nil, &sandbox.SnapshotError{Stage: sandbox.StageMake, Err: err}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, restoreLimit, errors.New("the snapshot took too long to be taken in"))
	defer cancel()
	files, err := from.wait(ctx)
	if err != nil {
		return nil, s.snapshotFailed(sandbox.StageSource, err)
	}
	clock.mark("source")
	rep, err := s.launcher.Call(ctx, launch.Request{Op: launch.OpGive, ID: s.name, Key: b.key, Progress: len(files) > len(parts)}, files...)
	if err != nil {
		return nil, s.snapshotFailed(rep.Stage, err)
	}
	s.memory.baseline = rep.Baseline
	clock.mark("give")
	return s, nil
}

// claim makes a sandbox that holds a snapshot that of spec, and lets it run.
func (s *Sandbox) claim(ctx context.Context, spec sandbox.Spec, clock *stages) error {
	s.id, s.spec = spec.ID, spec
	if err := s.limit(); err != nil {
		return s.snapshotFailed(sandbox.StageBind, err)
	}
	clock.mark("limits")
	ctx, cancel := context.WithTimeoutCause(ctx, restoreLimit, errors.New("the kernel took too long to load"))
	defer cancel()
	rep, err := s.launcher.Call(ctx, launch.Request{Op: launch.OpRun, ID: s.name, Root: s.root(), Mounts: spec.Mounts})
	if err != nil {
		return s.snapshotFailed(rep.Stage, err)
	}
	clock.mark("load")
	for _, m := range rep.Marks {
		clock.list = append(clock.list, sandbox.Stage{Name: "load: " + m.Name, Seconds: m.Wall}, sandbox.Stage{Name: "load: " + m.Name + ", cpu", Seconds: m.CPU})
	}
	s.stages = clock.list
	s.untrimmed.Store(trims)
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

// snapshotFailed ends a sandbox whose restore went wrong.
func (s *Sandbox) snapshotFailed(stage string, err error) error {
	if stage == "" {
		stage = sandbox.StageLoad
	}
	if s.ended() {
		err = fmt.Errorf("%w (%w)", err, s.Exit().Err)
	}
	return errors.Join(&sandbox.SnapshotError{Stage: stage, Err: err}, s.Close())
}
