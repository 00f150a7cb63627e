package snapstart

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"thaw/admin"
	"thaw/function"
	"thaw/snapshot"
)

// Known tells of a published version with SnapStart that the server found at its start, so that its snapshots are
// refreshed before anybody invokes it.
func (s *Service) Known(v *function.Version, tags map[string]string) {
	policy, err := snapshot.ParseTags(tags)
	if err != nil {
		s.o.Log.Warn("tags of a function make no refresh policy", "fn", v.Name, "qualifier", v.Number, "error", err)
	}
	s.mu.Lock()
	var current *snapshot.Meta
	if l := s.ofLocked(v); l != nil && l.version == nil {
		l.version, l.tags = v, policy
		current = l.record.Current
	}
	s.mu.Unlock()
	if current == nil {
		return
	}
	// One that the store has lost is made again now: the cache may have it still, but not for ever.
	if _, err := s.store.Manifest(s.ctx, current.ID); err != nil {
		s.Lost(v, string(current.ID), fmt.Errorf("at start: %w", err))
	}
}

// Retag implements controlplane.Snapshots.
func (s *Service) Retag(unqualifiedARN function.ARN, tags map[string]string) {
	policy, err := snapshot.ParseTags(tags)
	if err != nil { // the API has refused what cannot be; these are older
		s.o.Log.Warn("tags of a function make no refresh policy", "fn", unqualifiedARN, "error", err)
		return
	}
	s.mu.Lock()
	var changed []*life
	for id, l := range s.lives {
		if id.Function == unqualifiedARN && !l.ended {
			l.tags = policy
			changed = append(changed, l)
		}
	}
	s.mu.Unlock()
	for _, l := range changed {
		s.background(func() {
			if _, err := s.repolicy(s.ctx, l, func(*snapshot.Record) {}); err != nil && !errors.Is(err, errDeleted) && !errors.Is(err, fs.ErrNotExist) {
				s.o.Log.Error("snapshot policy", "fn", l.id.Function, "qualifier", l.id.Number, "error", err)
			}
		})
	}
}

// repolicy gives the current generation the end that follows from the policy that counts after f. Where that is sooner,
// environments that know of the later one finish and go.
func (s *Service) repolicy(ctx context.Context, l *life, f func(*snapshot.Record)) (snapshot.Record, error) {
	sooner := false
	w, err := s.write(ctx, l, func(r *snapshot.Record, _ time.Time) ([]snapshot.Step, error) {
		if r.State == snapshot.None || r.State == snapshot.Deleted {
			return nil, fs.ErrNotExist
		}
		f(r)
		if m := r.Current; m != nil {
			end := s.policyOf(l, r).Expiry(m.Born, m.StatedExpiry)
			sooner = !end.IsZero() && (m.Expires.IsZero() || end.Before(m.Expires))
			m.Expires = end
		}
		return nil, nil
	})
	if err == nil && sooner {
		s.o.Pool.Outdate(l.id.Function, l.id.Number, "")
	}
	return w.Record, err
}

// one describes a version as it is now.
func (s *Service) one(l *life) (admin.Snapshot, error) {
	for _, d := range s.List() {
		if d.ARN == l.id.String() {
			return d, nil
		}
	}
	return admin.Snapshot{}, deletedMeanwhile(l)
}

// deletedMeanwhile is what a command on a version's snapshots answers when the version was deleted before it was done.
func deletedMeanwhile(l *life) error {
	return fmt.Errorf("%s was deleted meanwhile: %w", l.id, fs.ErrNotExist)
}

// asDeleted is what a command answers whose change of a record failed.
func asDeleted(l *life, err error) error {
	if errors.Is(err, errDeleted) {
		return deletedMeanwhile(l)
	}
	return err
}

// Refresh implements admin.Snapshots.
func (s *Service) Refresh(ctx context.Context, version string) (admin.Snapshot, error) {
	l, err := s.find(version)
	if err != nil {
		return admin.Snapshot{}, err
	}
	s.mu.Lock()
	stuck, ended := l.version == nil, s.ctx.Err() != nil
	s.mu.Unlock()
	switch {
	case ended:
		return admin.Snapshot{}, ErrClosed
	case stuck:
		return admin.Snapshot{}, &admin.RefusedError{Reason: "nothing is known of the version's code; invoke it once"}
	}
	w, err := s.write(ctx, l, moves("", snapshot.RefreshDue))
	if err != nil {
		return admin.Snapshot{}, asDeleted(l, err)
	}
	want := w.LastGeneration
	for {
		s.mu.Lock()
		r, changed, ended := l.record, l.changed, l.ended
		s.mu.Unlock()
		switch {
		case ended:
			return admin.Snapshot{}, deletedMeanwhile(l)
		case r.Current != nil && r.Current.Generation >= want:
			return s.one(l)
		case !r.State.Busy():
			return admin.Snapshot{}, &admin.RefusedError{Reason: fmt.Sprintf("generation %d could not be made: %s", want, r.LastError)}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return admin.Snapshot{}, context.Cause(ctx)
		case <-s.ctx.Done():
			return admin.Snapshot{}, ErrClosed
		}
	}
}

// Remove implements admin.Snapshots.
func (s *Service) Remove(ctx context.Context, version string) (admin.Snapshot, error) {
	l, err := s.find(version)
	if err != nil {
		return admin.Snapshot{}, err
	}
	if _, err := s.write(ctx, l, moves("", snapshot.Evicted)); err != nil {
		return admin.Snapshot{}, asDeleted(l, err)
	}
	s.tidy(ctx)
	return s.one(l)
}

// SetPolicy implements admin.Snapshots.
func (s *Service) SetPolicy(ctx context.Context, version string, p *snapshot.Policy) (admin.Snapshot, error) {
	if p != nil {
		if err := p.Validate(); err != nil {
			return admin.Snapshot{}, err
		}
	}
	l, err := s.find(version)
	if err != nil {
		return admin.Snapshot{}, err
	}
	if _, err := s.repolicy(ctx, l, func(r *snapshot.Record) { r.Policy = p }); err != nil {
		return admin.Snapshot{}, asDeleted(l, err)
	}
	return s.one(l)
}
