package snapstart

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"thaw/snapshot"
)

// edit changes a record and says what is to be done once it is stored. An error ends it without a change.
type edit func(r *snapshot.Record, now time.Time) ([]snapshot.Step, error)

// moves applies events, one after the other; failure, if it is not empty, becomes the record's LastError.
func moves(failure string, events ...snapshot.Event) edit {
	return func(r *snapshot.Record, now time.Time) (all []snapshot.Step, err error) {
		for _, e := range events {
			steps, err := r.Move(e, now)
			if err != nil {
				return nil, err
			}
			all = append(all, steps...)
		}
		if failure != "" {
			r.LastError = failure
		}
		return all, nil
	}
}

// errGivenUp is why the report of a making changes nothing: another snapshot is being made by now, or none.
var errGivenUp = errors.New("the making was given up meanwhile")

// about lets an edit be made only while one snapshot is the one that is being made.
func about(id snapshot.ID, f edit) edit {
	return func(r *snapshot.Record, now time.Time) ([]snapshot.Step, error) {
		if !r.Concerns(id) {
			return nil, errGivenUp
		}
		return f(r, now)
	}
}

// anew forgets what an earlier attempt has left and asks for a first generation.
func anew(r *snapshot.Record, now time.Time) ([]snapshot.Step, error) {
	var left []snapshot.Step
	if r.Next != nil {
		left = append(left, snapshot.Step{Action: snapshot.AbortMaking, ID: r.Next.ID})
	}
	*r = snapshot.Record{Version: r.Version, Incarnation: r.Incarnation}
	steps, err := r.Move(snapshot.Asked, now)
	return append(left, steps...), err
}

// usedAt notes the last use.
func usedAt(at time.Time) edit {
	return func(r *snapshot.Record, _ time.Time) ([]snapshot.Step, error) {
		if r.State == snapshot.None {
			return nil, snapshot.ErrNotFound // its making begins anew: nothing is to be written
		}
		r.LastUsed = at
		return nil, nil
	}
}

// written is a record as stored, and the making that it began.
type written struct {
	snapshot.Record
	making *making // nil: none
}

// write changes a life's record, remembers it, and does what follows: makings begin and end, environments of a
// generation without a successor finish and go, and the files of a retired one are deleted. Environments that are being
// restored from them go on reading. It is the only way to write a record. The error is errDeleted when the life has
// ended; what has begun before is written, and the life waits for it.
func (s *Service) write(ctx context.Context, l *life, f edit) (written, error) {
	ctx, done, err := s.begin(context.WithoutCancel(ctx), l)
	if err != nil {
		return written{}, err
	}
	defer done()
	ctx = context.WithoutCancel(ctx)
	w, steps, err := s.putRecord(ctx, l, f)
	if err != nil {
		return w, err
	}
	defer s.tell(l) // who waits for the change finds nothing of before
	s.perform(ctx, l, &w.Record, steps)
	return w, nil
}

// putRecord stores the record, and begins and ends makings, so that they do in the order of the records.
func (s *Service) putRecord(ctx context.Context, l *life, f edit) (w written, steps []snapshot.Step, err error) {
	l.writing.Lock()
	defer l.writing.Unlock()
	s.mu.Lock()
	incarnation := l.incarnation
	s.mu.Unlock()
	was := snapshot.None
	w.Record, err = snapshot.Update(ctx, s.o.Records, l.id, func(r *snapshot.Record) (err error) {
		if err := r.Claim(incarnation); err != nil {
			return err
		}
		was = r.State
		steps, err = f(r, s.o.Now())
		return err
	})
	if err != nil {
		return w, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	l.record = w.Record
	w.making = s.followLocked(l, &w.Record, steps)
	if was != w.State {
		s.o.Log.Debug("snapshot moved", "fn", l.id.Function, "qualifier", l.id.Number, "from", was, "to", w.State)
	}
	return w, steps, nil
}

// followLocked ends and begins makings.
func (s *Service) followLocked(l *life, r *snapshot.Record, steps []snapshot.Step) (begun *making) {
	for _, step := range steps {
		switch step.Action {
		case snapshot.AbortMaking:
			if m := l.making; m != nil && m.next.ID == step.ID {
				m.cancel(errGivenUp)
			}
		case snapshot.StartMaking:
			begun = s.makeLocked(l, r.Next)
		}
	}
	return begun
}

// perform puts in place what a record names, and then lets go of what it names no more.
func (s *Service) perform(ctx context.Context, l *life, r *snapshot.Record, steps []snapshot.Step) {
	id, keep := l.id, ""
	if r.Current != nil {
		keep = string(r.Current.ID)
	}
	for _, step := range steps {
		if step.Action != snapshot.Swap {
			continue
		}
		s.mu.Lock()
		m, promised := l.making, l.version != nil && s.asked(l.version)
		s.mu.Unlock()
		if m != nil && m.next.ID == step.ID {
			m.adopt(r.Current)
		}
		if promised { // who ran Init meanwhile goes, too. What has one only because it helps keeps them
			s.o.Pool.Outdate(id.Function, id.Number, keep)
		}
	}
	for _, step := range steps {
		switch step.Action {
		case snapshot.RetireCurrent:
			s.o.Pool.Outdate(id.Function, id.Number, keep)
			s.drop(ctx, id, step.ID)
		case snapshot.DropNext:
			s.drop(ctx, id, step.ID)
		case snapshot.WarnInit:
			s.o.Log.Warn("invokes run Init: there is no usable snapshot", "fn", id.Function, "qualifier", id.Number, "snapshot", r.State, "failures", r.Failures)
		case snapshot.WarnKept:
			s.o.Log.Warn("snapshot not refreshed: the old one stays until its end", "fn", id.Function, "qualifier", id.Number, "error", r.LastError)
		}
	}
}

// drop deletes the files of a snapshot. What cannot be deleted the next sweep finds.
func (s *Service) drop(ctx context.Context, v snapshot.Version, id snapshot.ID) {
	if id == "" {
		return
	}
	if err := s.store.Delete(ctx, id); err != nil {
		s.o.Log.Warn("old snapshot stays for now", "fn", v.Function, "qualifier", v.Number, "error", err)
	}
	s.cache.Drop(id)
}

// writeSoon writes by a goroutine of its own: the caller has an invocation to run. An event that the record refuses by
// now has come too late.
func (s *Service) writeSoon(l *life, f edit) {
	s.background(func() {
		_, err := s.write(s.ctx, l, f)
		if err != nil && !errors.Is(err, errDeleted) && !errors.Is(err, snapshot.ErrNotFound) && !errors.Is(err, fs.ErrNotExist) && !errors.As(err, new(*snapshot.BadMoveError)) {
			s.o.Log.Error("snapshot record", "fn", l.id.Function, "qualifier", l.id.Number, "error", err)
		}
	})
}

// tell wakes those who wait for a change.
func (s *Service) tell(l *life) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !l.ended {
		close(l.changed)
		l.changed = make(chan struct{})
	}
}
