package gvisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"thaw/sandbox"
	"thaw/sandbox/gvisor/launch"
)

// Checkpoint implements sandbox.Sandbox.
func (s *Sandbox) Checkpoint(ctx context.Context, sink sandbox.SnapshotSink) error {
	s.b.mu.Lock()
	s.b.armed.WantLocked() // a restore follows
	s.b.mu.Unlock()
	w, err := s.openSink(sink)
	if err != nil {
		return errors.Join(&sandbox.SnapshotError{Stage: sandbox.StageSink, Err: err}, s.Close())
	}
	s.mu.Lock()
	s.saving = true
	s.mu.Unlock()
	rep, err := s.launcher.Call(ctx, launch.Request{
		Op: launch.OpSave, ID: s.name, Root: s.root(), Key: s.b.key, Baseline: s.memory.baseline,
	}, append(slices.Clone(w.files), w.scratch)...)
	if err != nil {
		stage := rep.Stage
		if stage == "" {
			stage = sandbox.StageSave
		}
		if s.memory.killed.Load() { // the launcher saw no more than its end
			stage = sandbox.StageMemory
			err = fmt.Errorf("to save what is open in it (files in /tmp, sockets) takes more than the %d MB that the function may have", s.spec.MemoryMiB)
		}
		return errors.Join(&sandbox.SnapshotError{Stage: stage, Err: err}, w.close(false), s.Close())
	}
	select {
	case <-s.exited:
	case <-ctx.Done():
		return errors.Join(&sandbox.SnapshotError{Stage: sandbox.StageSave, Err: context.Cause(ctx)}, w.close(false), s.Close())
	}
	if err := w.close(true); err != nil {
		return &sandbox.SnapshotError{Stage: sandbox.StageSink, Err: err}
	}
	if rep.AsSaved != "" {
		sink.Note("the kernel's state is kept as it was saved, so less of it is shared with other snapshots: " + rep.AsSaved)
	}
	return nil
}

// sinkWriters are a sink's writers beside the files that the sandbox writes.
type sinkWriters struct {
	files   []*os.File
	writers []io.WriteCloser // as the sink gave them
	direct  []bool           // the file is the writer
	scratch *os.File         // has no name and ends with close
}

func (s *Sandbox) openSink(sink sandbox.SnapshotSink) (_ *sinkWriters, err error) {
	w := new(sinkWriters)
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close(false))
		}
	}()
	if w.scratch, err = s.scratch(); err != nil {
		return nil, err
	}
	for _, name := range parts {
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
			if f, err = s.scratch(); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		w.files, w.direct = append(w.files, f), append(w.direct, direct)
	}
	return w, nil
}

// scratch makes a file without a name. On disk, not in memory: what the sandbox writes is charged to it.
func (s *Sandbox) scratch() (*os.File, error) {
	f, err := os.CreateTemp(s.dir, "save-")
	if err != nil {
		return nil, err
	}
	return f, os.Remove(f.Name())
}

// close passes on what was written, when all was, and closes everything.
func (w *sinkWriters) close(complete bool) error {
	var errs []error
	if w.scratch != nil {
		w.scratch.Close()
	}
	for i, out := range w.writers {
		if i < len(w.files) && !w.direct[i] {
			if complete {
				_, err := io.Copy(out, io.NewSectionReader(w.files[i], 0, 1<<62))
				if err != nil {
					errs = append(errs, fmt.Errorf("%s: %w", parts[i], err))
					complete = false
				}
			}
			w.files[i].Close()
		}
		if err := out.Close(); err != nil && complete {
			errs = append(errs, fmt.Errorf("%s: %w", parts[i], err))
		}
	}
	return errors.Join(errs...)
}
