package snapstart

import (
	"context"
	"errors"
	"io"
	"os"
	goruntime "runtime"

	"thaw/execenv"
	"thaw/function"
	"thaw/sandbox"
	"thaw/snapshot"
)

// keyOf is the key that a snapshot of a version would be made under now.
func (s *Service) keyOf(v *function.Version) (snapshot.Key, error) {
	runtime, sandbox, err := s.o.Environments.Identity(v)
	if err != nil {
		return snapshot.Key{}, err
	}
	return snapshot.Key{Version: snapshot.VersionOf(v), Package: v.Package.Identity(), ConfigHash: s.disk.key.ConfigHash(v), Runtime: runtime,
		Sandbox: sandbox, Architecture: goruntime.GOARCH}, nil
}

// handleSource gives a sandbox the files of a snapshot, each with a descriptor of its own: descriptors have offsets.
type handleSource struct{ h *snapshot.Handle }

// Open implements sandbox.SnapshotSource.
func (s handleSource) Open(part string) (sandbox.SnapshotPart, error) {
	f, err := s.h.Open(part, os.O_RDONLY)
	if err != nil {
		return sandbox.SnapshotPart{}, err
	}
	return sandbox.SnapshotPart{Size: s.h.Size(part), File: f}, nil
}

// readerSource gives a sandbox the files of a snapshot straight from the store. The sandbox reads as long as it lives, so what is
// wrong with them may show when it serves already: then it ends, and the snapshot must not be lent again.
type readerSource struct {
	r    *snapshot.Reader
	lost func(error)
}

// Open implements sandbox.SnapshotSource.
func (s readerSource) Open(part string) (sandbox.SnapshotPart, error) {
	f, err := s.r.File(part)
	if err != nil {
		return sandbox.SnapshotPart{}, err
	}
	return sandbox.SnapshotPart{Size: s.r.Size(part), Reader: lateFile{f, s.lost}}, nil
}

type lateFile struct {
	f    io.ReaderAt
	lost func(error)
}

// ReadAt implements io.ReaderAt.
func (l lateFile) ReadAt(p []byte, off int64) (int, error) {
	n, err := l.f.ReadAt(p, off)
	if errors.As(err, new(*snapshot.CorruptError)) || errors.Is(err, snapshot.ErrNotFound) {
		l.lost(err)
	}
	return n, err
}

// lend is open for an environment that somebody waits for: where sandboxes can run before their memory is there, and the
// files are not, nobody waits for these. They are made meanwhile, since sandboxes that were restored from files share them.
func (s *Service) lend(ctx context.Context, v *function.Version, meta *snapshot.Meta) (*execenv.Restore, func(), error) {
	if !s.o.LateMemory || s.cache.Has(meta.ID) {
		return s.open(ctx, meta)
	}
	r, err := s.store.Reader(ctx, meta.ID)
	if err != nil {
		return s.open(ctx, meta) // the files may be good still
	}
	s.cache.Begin(meta.ID)
	lost := func(err error) { s.Lost(v, string(meta.ID), err) }
	restore := &execenv.Restore{ID: string(meta.ID), Expires: meta.Expires, Source: readerSource{r, lost}, CheckpointAt: meta.Created}
	return restore, func() { r.Close() }, nil
}

// open lends the files of a snapshot; release gives them back.
func (s *Service) open(ctx context.Context, meta *snapshot.Meta) (r *execenv.Restore, release func(), err error) {
	h, err := s.cache.Open(ctx, meta.ID)
	if err != nil {
		return nil, nil, err
	}
	return &execenv.Restore{ID: string(meta.ID), Expires: meta.Expires, Source: handleSource{h}, CheckpointAt: meta.Created}, func() { h.Close() }, nil
}

// Lend returns what a new environment of a version may begin from; nil when it must run Init. release is to be called
// when nothing reads it any more. It fails only where Init would, too: whatever is wrong with a snapshot costs its user a
// slower answer, and us a new snapshot.
func (s *Service) Lend(ctx context.Context, v *function.Version) (_ *execenv.Restore, release func(), err error) {
	key, err := s.keyOf(v)
	if err != nil {
		return nil, nil, err
	}
	for {
		s.mu.Lock()
		l := s.ofLocked(v)
		var r snapshot.Record
		asked := s.asked(v)
		wanted := asked || s.wantedLocked(v, l)
		if l != nil {
			if asked {
				l.version = v
			}
			r = l.record
		}
		s.mu.Unlock()
		if l == nil || !wanted {
			return nil, nil, nil
		}
		meta := r.ForRestore(s.o.Now(), key.Hash())
		if meta == nil {
			switch {
			case !asked: // the next tick sees to it
			case r.Current != nil && r.Current.KeyHash() != key.Hash():
				s.o.Log.Warn("what made the snapshot has changed: Init runs, and a new one is made", "fn", v.Name, "qualifier", v.Number, "differs", r.Current.Key.Differs(key))
				s.writeSoon(l, moves("", snapshot.KeyChanged))
			case r.State == snapshot.Shelved:
				s.writeSoon(l, moves("", snapshot.Invoked))
			}
			return nil, nil, nil
		}
		restore, release, err := s.lend(ctx, v, meta)
		if err == nil {
			return restore, release, nil
		}
		if s.isCurrent(v, meta.ID) {
			s.o.FellBack()
			s.Lost(v, string(meta.ID), err)
			return nil, nil, nil
		}
		// It was replaced in this moment, and its files went: take the other one.
	}
}

// Ready says, for a look each second, whether a new environment of a version would be restored.
func (s *Service) Ready(v *function.Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.ofLocked(v)
	if l == nil || !l.record.State.HasCurrent() || l.record.Current == nil {
		return false
	}
	return !l.record.Current.Ended(s.o.Now())
}

func (s *Service) isCurrent(v *function.Version, id snapshot.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.ofLocked(v)
	return l != nil && l.record.Current != nil && l.record.Current.ID == id
}

// policyOf is the policy that counts for a record that is about to be written.
func (s *Service) policyOf(l *life, r *snapshot.Record) snapshot.Policy {
	if r.Policy != nil {
		return *r.Policy
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.tags
}

// Lost notes that a snapshot is no good: a new one is made, and environments run Init meanwhile.
func (s *Service) Lost(v *function.Version, id string, err error) {
	s.o.Log.Warn("restore failed", "fn", v.Name, "qualifier", v.Number, "snapshot", id, "error", err)
	var corrupt *snapshot.CorruptError
	var broken *sandbox.SnapshotError
	s.mu.Lock()
	l := s.ofLocked(v)
	if l != nil && l.version == nil {
		l.version = v // the next one can be made
	}
	s.mu.Unlock()
	if l == nil || !s.isCurrent(v, snapshot.ID(id)) {
		return // another took its place already, or the version was deleted
	}
	if errors.As(err, &corrupt) || errors.Is(err, snapshot.ErrNotFound) || errors.As(err, &broken) && (broken.Stage == sandbox.StageLoad || broken.Stage == sandbox.StageHeader || broken.Stage == sandbox.StageSource) {
		s.cache.Drop(snapshot.ID(id))
		s.writeSoon(l, moves(err.Error(), snapshot.Lost))
	}
}

// Offered looks whether an environment that has just been restored is of the current generation still: it may have been
// replaced meanwhile.
func (s *Service) Offered(v *function.Version, id string) {
	s.mu.Lock()
	keep := ""
	if l := s.ofLocked(v); l != nil && l.record.Current != nil {
		keep = string(l.record.Current.ID)
	}
	s.mu.Unlock()
	if keep != id {
		s.o.Pool.Outdate(v.UnqualifiedARN(), v.Number, keep)
	}
}
