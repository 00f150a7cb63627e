package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"thaw/sandbox"
	"thaw/sandbox/gvisor/launch"
)

// Checkpoint implements sandbox.Sandbox.
func (s *Sandbox) Checkpoint(ctx context.Context, sink sandbox.SnapshotSink, leaveRunning bool) error {
	s.b.mu.Lock()
	s.b.wantArmedLocked() // a restore follows
	s.b.mu.Unlock()
	w, err := s.openSink(sink)
	if err != nil {
		return &sandbox.SnapshotError{Stage: sandbox.StageSink, Err: err}
	}
	if !leaveRunning {
		s.mu.Lock()
		s.saving = true
		s.mu.Unlock()
	}
	rep, err := s.launcher.Call(ctx, launch.Request{
		Op: launch.OpSave, ID: s.name, Root: s.root(), Key: s.b.key, Resume: leaveRunning, Baseline: s.memory.baseline,
	}, w.files...)
	if err != nil {
		stage := rep.Stage
		if stage == "" {
			stage = sandbox.StageSave
		}
		err = errors.Join(&sandbox.SnapshotError{Stage: stage, Err: err}, w.close(false))
		if !leaveRunning {
			err = errors.Join(err, s.Close())
		}
		return err
	}
	if !leaveRunning {
		select {
		case <-s.exited:
		case <-ctx.Done():
			return errors.Join(&sandbox.SnapshotError{Stage: sandbox.StageSave, Err: context.Cause(ctx)}, w.close(false), s.Close())
		}
	}
	if err := w.close(true); err != nil {
		return &sandbox.SnapshotError{Stage: sandbox.StageSink, Err: err}
	}
	return nil
}

// sinkWriters are a sink's writers beside the files that the sandbox writes.
type sinkWriters struct {
	files   []*os.File
	writers []io.WriteCloser // as the sink gave them
	direct  []bool           // the file is the writer
}

func (s *Sandbox) openSink(sink sandbox.SnapshotSink) (_ *sinkWriters, err error) {
	w := new(sinkWriters)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(false))
		}
	}()
	for _, name := range sandbox.Parts {
		out, err := sink.Create(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		w.writers = append(w.writers, out)
		f, direct := out.(*os.File)
		if direct {
			fi, err := f.Stat()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			direct = fi.Mode().IsRegular() && fi.Size() == 0
		}
		if !direct {
			// On disk, not in memory: what the sandbox writes is charged to it.
			if f, err = os.CreateTemp(s.dir, "save-"); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			os.Remove(f.Name())
		}
		w.files, w.direct = append(w.files, f), append(w.direct, direct)
	}
	return w, nil
}

// close passes on what was written, when all was, and closes everything.
func (w *sinkWriters) close(complete bool) error {
	var errs []error
	for i, out := range w.writers {
		if i < len(w.files) && !w.direct[i] {
			if complete {
				_, err := io.Copy(out, io.NewSectionReader(w.files[i], 0, 1<<62))
				if err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", sandbox.Parts[i], err))
					complete = false
				}
			}
			w.files[i].Close()
		}
		if err := out.Close(); err != nil && complete {
			errs = append(errs, fmt.Errorf("%s: %w", sandbox.Parts[i], err))
		}
	}
	return errors.Join(errs...)
}
