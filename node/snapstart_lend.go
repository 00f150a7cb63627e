package node

import (
	"context"
	"errors"
	"os"
	goruntime "runtime"

	"thaw/execenv"
	"thaw/function"
	"thaw/runtimes"
	"thaw/sandbox"
	"thaw/snapshot"
)

func (s *snapstart) keyOf(v *function.Version, plan runtimes.Plan) snapshot.Key {
	return snapshot.Key{Version: snapshot.VersionOf(v), Package: v.Package.Identity(), ConfigHash: s.key.ConfigHash(v), Runtime: plan.Identity,
		Sandbox: s.starter.backend.Name() + " " + s.starter.backend.Capabilities().SnapshotKey, Architecture: goruntime.GOARCH}
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

// open lends the files of a snapshot; release gives them back.
func (s *snapstart) open(ctx context.Context, meta *snapshot.Meta) (r *execenv.Restore, release func(), err error) {
	h, err := s.cache.Open(ctx, meta.ID)
	if err != nil {
		return nil, nil, err
	}
	return &execenv.Restore{ID: string(meta.ID), Expires: meta.Expires, Source: handleSource{h}, CheckpointAt: meta.Created}, func() { h.Close() }, nil
}

// lend returns what a new environment of a version may begin from; nil when it must run Init. It never fails: whatever
// is wrong with a snapshot costs its user a slower answer, and us a new snapshot.
func (s *snapstart) lend(ctx context.Context, v *function.Version, plan runtimes.Plan) (*execenv.Restore, func()) {
	key := s.keyOf(v, plan)
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
			return nil, nil
		}
		meta := r.ForRestore(s.now(), key.Hash())
		if meta == nil {
			switch {
			case !asked: // the next tick sees to it
			case r.Current != nil && r.Current.KeyHash() != key.Hash():
				s.log.Warn("what made the snapshot has changed: Init runs, and a new one is made", "fn", v.Name, "qualifier", v.Number, "differs", r.Current.Key.Differs(key))
				s.move(l, snapshot.KeyChanged, "")
			case r.State == snapshot.Shelved:
				s.move(l, snapshot.Invoked, "")
			}
			return nil, nil
		}
		restore, release, err := s.open(ctx, meta)
		if err == nil {
			return restore, release
		}
		if s.isCurrent(v, meta.ID) {
			s.metrics.fallbacks.Inc()
			s.lost(v, string(meta.ID), err)
			return nil, nil
		}
		// It was replaced in this moment, and its files went: take the other one.
	}
}

// ready says, for a look each second, whether a new environment of a version would be restored.
func (s *snapstart) ready(v *function.Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.ofLocked(v)
	if l == nil || !l.record.State.HasCurrent() || l.record.Current == nil {
		return false
	}
	return !l.record.Current.Ended(s.now())
}

func (s *snapstart) isCurrent(v *function.Version, id snapshot.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.ofLocked(v)
	return l != nil && l.record.Current != nil && l.record.Current.ID == id
}

// policyOf is the policy that counts for a record that is about to be written.
func (s *snapstart) policyOf(l *life, r *snapshot.Record) snapshot.Policy {
	if r.Policy != nil {
		return *r.Policy
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return l.tags
}

// lost notes that a snapshot is no good: a new one is made, and environments run Init meanwhile.
func (s *snapstart) lost(v *function.Version, id string, err error) {
	s.log.Warn("restore failed", "fn", v.Name, "qualifier", v.Number, "snapshot", id, "error", err)
	var corrupt *snapshot.CorruptError
	var broken *sandbox.SnapshotError
	s.mu.Lock()
	l := s.ofLocked(v)
	s.mu.Unlock()
	if l == nil || !s.isCurrent(v, snapshot.ID(id)) {
		return // another took its place already, or the version was deleted
	}
	if errors.As(err, &corrupt) || errors.Is(err, snapshot.ErrNotFound) || errors.As(err, &broken) && (broken.Stage == sandbox.StageLoad || broken.Stage == sandbox.StageHeader || broken.Stage == sandbox.StageSource) {
		s.cache.Drop(snapshot.ID(id))
		s.move(l, snapshot.Lost, err.Error())
	}
}

// offered looks whether an environment that has just been restored is of the current generation still: it may have been
// replaced meanwhile.
func (s *snapstart) offered(v *function.Version, id string) {
	s.mu.Lock()
	keep := ""
	if l := s.ofLocked(v); l != nil && l.record.Current != nil {
		keep = string(l.record.Current.ID)
	}
	s.mu.Unlock()
	if keep != id {
		s.pool().Outdate(v.UnqualifiedARN(), v.Number, keep)
	}
}

// move applies an event by a goroutine of its own: the caller has an invocation to run.
func (s *snapstart) move(l *life, e snapshot.Event, failure string) {
	if s.ctx.Err() != nil {
		return
	}
	s.work.Go(func() {
		_, err := s.update(s.ctx, l, e, failure)
		switch {
		case errors.Is(err, errDeleted):
			return
		case err != nil && !errors.As(err, new(*snapshot.BadMoveError)):
			s.log.Error("snapshot record", "fn", l.id.Function, "qualifier", l.id.Number, "error", err)
			return
		}
		s.proceed(l)
	})
}
