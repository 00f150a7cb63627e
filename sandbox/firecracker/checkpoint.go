package firecracker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"thaw/guest/control"
	"thaw/sandbox"
)

// saveLimit bounds what the guest does before it is saved: caches are dropped, the disk of /tmp is written.
const saveLimit = 2 * time.Minute

// Checkpoint implements sandbox.Sandbox.
func (s *Sandbox) Checkpoint(ctx context.Context, sink sandbox.SnapshotSink) error {
	w, err := s.b.openSink(sink)
	if err != nil {
		return errors.Join(&sandbox.SnapshotError{Stage: sandbox.StageSink, Err: err}, s.Close())
	}
	s.mu.Lock()
	s.saving = true
	s.mu.Unlock()
	m := s.b.describe(s.spec)
	m.Images = s.disks.set.Digests
	if err := s.save(ctx, w, m); err != nil {
		if s.ended() && s.Exit().Err != nil {
			err = fmt.Errorf("%w (%w)", err, s.Exit().Err)
		}
		return errors.Join(&sandbox.SnapshotError{Stage: sandbox.StageSave, Err: err}, w.close(), s.Close())
	}
	if err := w.finish(m); err != nil {
		return errors.Join(&sandbox.SnapshotError{Stage: sandbox.StageSink, Err: err}, s.Close())
	}
	return nil
}

// save has the machine written, ends it, and notes in m what was written.
func (s *Sandbox) save(ctx context.Context, w *sinkParts, m *manifest) error {
	if s.ended() {
		return sandbox.ErrClosed
	}
	quiet, cancel := context.WithTimeoutCause(ctx, saveLimit, errors.New("the guest takes too long"))
	defer cancel()
	if err := s.control.ask(quiet, control.KindSave, nil, nil); err != nil {
		return err
	}
	if err := s.machine.Pause(ctx); err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	if err := s.giveRoom(); err != nil {
		return err
	}
	if err := s.machine.Snapshot(ctx, w.file(partState), w.file(partMemory)); err != nil {
		return err
	}
	if err := s.machine.Close(); err != nil { // it ends with its checkpoint
		return err
	}
	select {
	case <-s.exited:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if err := s.saveDisk(w.file(partTmp), m); err != nil {
		return fmt.Errorf("disk of /tmp: %w", err)
	}
	return w.sum(m)
}

// saveDisk packs the disk of /tmp: the machine has written all of it, and writes no more.
func (s *Sandbox) saveDisk(to *os.File, m *manifest) error {
	f, err := os.Open(s.disks.tmp)
	if err != nil {
		return err
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	m.TmpSize = fi.Size()
	if m.Tmp, err = extents(f); err != nil {
		return err
	}
	return pack(to, f, m.Tmp)
}
