package node

import (
	"context"
	"errors"
	"os"
	goruntime "runtime"
	"time"

	"thaw/execenv"
	"thaw/function"
	"thaw/runtimes"
	"thaw/sandbox"
	"thaw/snapshot"
)

func (s *snapstart) keyOf(v *function.Version, plan runtimes.Plan) snapshot.Key {
	return snapshot.Key{Version: snapshot.VersionOf(v), CodeSHA256: v.CodeSHA256, ConfigHash: s.key.ConfigHash(v), Runtime: plan.Identity,
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

// lend returns what a new environment of a version may begin from; nil when it must run Init. It never fails: whatever is wrong with a snapshot costs its
// user a slower answer, and us a new snapshot.
func (s *snapstart) lend(ctx context.Context, v *function.Version, plan runtimes.Plan) (*execenv.Restore, func()) {
	id := snapshot.VersionOf(v)
	key := s.keyOf(v, plan)
	for {
		s.mu.Lock()
		vs := s.versions[id]
		var r snapshot.Record
		asked := s.asked(v)
		wanted := asked || s.wantedLocked(v, vs)
		if vs != nil {
			if asked {
				vs.version = v
			}
			r = vs.record
		}
		s.mu.Unlock()
		if vs == nil || !wanted {
			return nil, nil
		}
		meta := r.ForRestore(time.Now(), key.Hash())
		if meta == nil {
			switch {
			case !asked: // the next tick sees to it
			case r.Current != nil && r.Current.KeyHash() != key.Hash():
				s.log.Warn("what made the snapshot has changed: Init runs, and a new one is made", "fn", v.Name, "qualifier", v.Number, "differs", r.Current.Key.Differs(key))
				s.move(id, snapshot.KeyChanged, "")
			case r.State == snapshot.Shelved:
				s.move(id, snapshot.Invoked, "")
			}
			return nil, nil
		}
		restore, release, err := s.open(ctx, meta)
		if err == nil {
			return restore, release
		}
		if s.isCurrent(id, meta.ID) {
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
	vs := s.versions[snapshot.VersionOf(v)]
	if vs == nil || !vs.record.State.HasCurrent() || vs.record.Current == nil {
		return false
	}
	end := vs.record.Current.Expires
	return end.IsZero() || time.Now().Before(end)
}

func (s *snapstart) isCurrent(v snapshot.Version, id snapshot.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	vs := s.versions[v]
	return vs != nil && vs.record.Current != nil && vs.record.Current.ID == id
}

// policyOf is the policy that counts for a record that is about to be written.
func (s *snapstart) policyOf(v snapshot.Version, r *snapshot.Record) snapshot.Policy {
	if r.Policy != nil {
		return *r.Policy
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if vs := s.versions[v]; vs != nil {
		return vs.tags
	}
	return snapshot.Policy{}
}

// lost notes that a snapshot is no good: a new one is made, and environments run Init meanwhile.
func (s *snapstart) lost(v *function.Version, id string, err error) {
	s.log.Warn("restore failed", "fn", v.Name, "qualifier", v.Number, "snapshot", id, "error", err)
	var corrupt *snapshot.CorruptError
	var broken *sandbox.SnapshotError
	if !s.isCurrent(snapshot.VersionOf(v), snapshot.ID(id)) {
		return // another took its place already
	}
	if errors.As(err, &corrupt) || errors.As(err, &broken) && (broken.Stage == sandbox.StageLoad || broken.Stage == sandbox.StageHeader || broken.Stage == sandbox.StageSource) {
		s.cache.Drop(snapshot.ID(id))
		s.move(snapshot.VersionOf(v), snapshot.Lost, err.Error())
	}
}

// offered looks whether an environment that has just been restored is of the current generation still: it may have been replaced meanwhile.
func (s *snapstart) offered(v *function.Version, id string) {
	if version := snapshot.VersionOf(v); !s.isCurrent(version, snapshot.ID(id)) {
		s.mu.Lock()
		keep := ""
		if vs := s.versions[version]; vs != nil && vs.record.Current != nil {
			keep = string(vs.record.Current.ID)
		}
		s.mu.Unlock()
		s.pool().Outdate(version.Function, version.Number, keep)
	}
}

// move applies an event by a goroutine of its own: the caller has an invocation to run.
func (s *snapstart) move(id snapshot.Version, e snapshot.Event, failure string) {
	if s.ctx.Err() != nil {
		return
	}
	s.work.Go(func() {
		if _, err := s.update(s.ctx, id, e, failure); err != nil && !errors.As(err, new(*snapshot.BadMoveError)) {
			s.log.Error("snapshot record", "fn", id.Function, "qualifier", id.Number, "error", err)
			return
		}
		s.proceed(id)
	})
}
