package node

import (
	"context"
	"errors"
	"time"

	"thaw/function"
	"thaw/snapshot"
)

// keepUseEvery is how old a record's LastUsed may be when its version was invoked since: an invoke must not cost a write. What a server that is killed forgets
// is nothing beside the 14 days.
const keepUseEvery = 10 * time.Minute

// used notes that a version is invoked. It is called for every invoke, so all it does is to look whether somebody has noted that since the last tick.
func (s *snapstart) used(v *function.Version) {
	if _, ok := s.uses.Load(v); !ok {
		s.uses.Store(v, nil)
	}
}

// noteUses gives what was noted to the versions that it is about.
func (s *snapstart) noteUses(now time.Time) {
	s.uses.Range(func(k, _ any) bool {
		s.uses.Delete(k)
		v := k.(*function.Version)
		s.mu.Lock()
		defer s.mu.Unlock()
		id := snapshot.VersionOf(v)
		vs := s.versions[id]
		if vs == nil {
			if !s.wantedLocked(v, nil) {
				return true
			}
			vs = newVersionSnapshots(snapshot.Record{Version: id})
			s.versions[id] = vs
		}
		vs.used = now
		if !s.asked(v) {
			s.usedLaterLocked(vs, v, now)
		}
		return true
	})
}

// keepUses writes when versions were used last, where the record's time is older by so much.
func (s *snapstart) keepUses(ctx context.Context, older time.Duration) {
	s.mu.Lock()
	stale := map[snapshot.Version]time.Time{}
	for id, vs := range s.versions {
		if !vs.used.IsZero() && vs.record.State != snapshot.None && vs.used.After(vs.record.LastUsed) && vs.used.Sub(vs.record.LastUsed) >= older {
			stale[id] = vs.used
		}
	}
	s.mu.Unlock()
	for id, at := range stale {
		_, err := s.change(ctx, id, func(r *snapshot.Record) ([]snapshot.Step, error) {
			if r.State == snapshot.None {
				return nil, snapshot.ErrNotFound // deleted meanwhile: nothing is to be written
			}
			r.LastUsed = at
			return nil, nil
		})
		if err != nil && !errors.Is(err, snapshot.ErrNotFound) {
			s.log.Error("last use of a snapshot", "fn", id.Function, "qualifier", id.Number, "error", err)
		}
	}
}

// serve says how versions are made Inactive.
func (s *snapstart) serve(deactivate func(ctx context.Context, v *function.Version) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = deactivate
}

// inactive lets go of a version that nobody has invoked for snapshot.InactiveAfter. The API is told first: a version that serves without a snapshot would run Init for
// its next caller instead of waking. When the server ends between the two, the next invoke wakes a version that has its snapshot still.
func (s *snapstart) inactive(v *function.Version) {
	id := snapshot.VersionOf(v)
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if vs := s.versions[id]; vs != nil {
			vs.busy = false
		}
	}()
	s.mu.Lock()
	deactivate := s.idle
	s.mu.Unlock()
	if deactivate == nil {
		return // the API is not there yet: the next tick
	}
	if s.pool().Provisioned(v).Requested > 0 { // somebody pays for its being ready
		s.used(v)
		return
	}
	if err := deactivate(s.ctx, v); err != nil {
		s.log.Error("idle version stays active", "fn", v.Name, "qualifier", v.Number, "error", err)
		return
	}
	if _, err := s.update(s.ctx, id, snapshot.Idle, ""); err != nil && !errors.As(err, new(*snapshot.BadMoveError)) {
		s.log.Error("snapshot record", "fn", v.Name, "qualifier", v.Number, "error", err)
		return
	}
	s.log.Info("version is inactive: nobody has invoked it for long", "fn", v.Name, "qualifier", v.Number)
	s.tidy(s.ctx)
}
