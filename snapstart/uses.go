package snapstart

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

// Used notes that a version is invoked. It is called for every invoke, so all it does is to look whether somebody has noted that since the last tick.
func (s *Service) Used(v *function.Version) {
	if _, ok := s.uses.Load(v); !ok {
		s.uses.Store(v, nil)
	}
}

// noteUses gives what was noted to the versions that it is about.
func (s *Service) noteUses(now time.Time) {
	s.uses.Range(func(k, _ any) bool {
		s.uses.Delete(k)
		v := k.(*function.Version)
		s.mu.Lock()
		defer s.mu.Unlock()
		l := s.ofLocked(v)
		if l == nil && s.wantedLocked(v, nil) {
			l = s.enterLocked(v)
		}
		if l == nil {
			return true
		}
		l.used = now
		if !s.asked(v) {
			s.usedLaterLocked(l, v, now)
		}
		return true
	})
}

// keepUses writes when versions were used last, where the record's time is older by so much.
func (s *Service) keepUses(ctx context.Context, older time.Duration) {
	s.mu.Lock()
	stale := map[*life]time.Time{}
	for _, l := range s.lives {
		if !l.ended && !l.used.IsZero() && l.record.State != snapshot.None && l.used.After(l.record.LastUsed) && l.used.Sub(l.record.LastUsed) >= older {
			stale[l] = l.used
		}
	}
	s.mu.Unlock()
	for l, at := range stale {
		_, err := s.write(ctx, l, usedAt(at))
		if err != nil && !errors.Is(err, snapshot.ErrNotFound) && !errors.Is(err, errDeleted) {
			s.o.Log.Error("last use of a snapshot", "fn", l.id.Function, "qualifier", l.id.Number, "error", err)
		}
	}
}

// Serve says how versions are made Inactive.
func (s *Service) Serve(deactivate func(ctx context.Context, v *function.Version) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deactivate = deactivate
}

// inactive lets go of a version that nobody has invoked for snapshot.InactiveAfter. The API is told first: a version that serves without a snapshot would run Init for
// its next caller instead of waking. When the server ends between the two, the next invoke wakes a version that has its snapshot still.
// An invoke that comes between them waits: awaitIdle.
func (s *Service) inactive(l *life) {
	if s.idle(l) {
		s.tidy(s.ctx)
	}
}

// idle is inactive without the removal of what no record names any more. It says whether the snapshot went.
func (s *Service) idle(l *life) bool {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		close(l.idling)
		l.idling = nil
	}()
	s.mu.Lock()
	deactivate, v := s.deactivate, l.version
	s.mu.Unlock()
	if deactivate == nil {
		return false // the API is not there yet: the next tick
	}
	if s.o.Pool.Provisioned(v) { // somebody pays for its being ready
		s.Used(v)
		return false
	}
	if err := deactivate(s.ctx, v); err != nil {
		s.o.Log.Error("idle version stays active", "fn", v.Name, "qualifier", v.Number, "error", err)
		return false
	}
	_, err := s.write(s.ctx, l, moves("", snapshot.Idle))
	if errors.Is(err, errDeleted) {
		return false
	}
	if err != nil && !errors.As(err, new(*snapshot.BadMoveError)) {
		s.o.Log.Error("snapshot record", "fn", v.Name, "qualifier", v.Number, "error", err)
		return false
	}
	s.o.Log.Info("version is inactive: nobody has invoked it for long", "fn", v.Name, "qualifier", v.Number)
	return true
}

// awaitIdle waits while a version is being made Inactive. The API says so a moment before the record does, and whoever
// wakes it in that moment must not take its snapshot, which goes, for one that is there.
func (s *Service) awaitIdle(ctx context.Context, l *life) error {
	s.mu.Lock()
	idling := l.idling
	s.mu.Unlock()
	if idling == nil {
		return nil
	}
	select {
	case <-idling:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}
