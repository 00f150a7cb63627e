package node

import (
	"context"
	"errors"
	"time"

	"thaw/function"
	"thaw/snapshot"
)

// versionSnapshots is what is known of one version.
type versionSnapshots struct {
	record  snapshot.Record
	version *function.Version // nil until somebody had it: nothing is made before
	tags    snapshot.Policy   // of the function
	busy    bool              // something is being made
	used    time.Time         // last invoke that is known of
	later   later
	changed chan struct{} // closed, and replaced, when record changes
}

// policy is what counts: the one that our own API set, or else the tags'.
func (vs *versionSnapshots) policy() snapshot.Policy {
	if vs.record.Policy != nil {
		return *vs.record.Policy
	}
	return vs.tags
}

// usedRecord is the record with the last use that is known of: what is stored is older.
func (vs *versionSnapshots) usedRecord() snapshot.Record {
	r := vs.record
	if vs.used.After(r.LastUsed) {
		r.LastUsed = vs.used
	}
	return r
}

func newVersionSnapshots(r snapshot.Record) *versionSnapshots {
	return &versionSnapshots{record: r, changed: make(chan struct{})}
}

// update applies an event to a version's record, and remembers and follows the result. Making and verifying are the caller's.
func (s *snapstart) update(ctx context.Context, v snapshot.Version, e snapshot.Event, failure string) (snapshot.Record, error) {
	r, err := s.change(ctx, v, func(r *snapshot.Record) ([]snapshot.Step, error) {
		steps, err := r.Move(e, s.now())
		if failure != "" {
			r.LastError = failure
		}
		return steps, err
	})
	if err == nil {
		s.log.Debug("snapshot moved", "fn", v.Function, "qualifier", v.Number, "event", e, "to", r.State)
	}
	return r, err
}

// change rewrites a version's record by f, remembers it, and lets go of what no longer counts: environments of a generation without a successor finish
// and go, and the files of a retired one are deleted. Environments that are being restored from them go on reading.
func (s *snapstart) change(ctx context.Context, v snapshot.Version, f func(*snapshot.Record) ([]snapshot.Step, error)) (snapshot.Record, error) {
	return s.changeThen(ctx, v, f, func() {})
}

// changeThen is change with something to do once the record is as it shall be and before anything is let go.
func (s *snapstart) changeThen(ctx context.Context, v snapshot.Version, f func(*snapshot.Record) ([]snapshot.Step, error), then func()) (snapshot.Record, error) {
	ctx = context.WithoutCancel(ctx)
	var steps []snapshot.Step
	r, err := snapshot.Update(ctx, s.records, v, func(r *snapshot.Record) (err error) {
		steps, err = f(r)
		return err
	})
	if err != nil {
		return r, err
	}
	s.know(v, r)
	defer s.tell(v) // who waits for the change finds nothing of before
	then()
	for _, step := range steps {
		if p := s.pool(); p != nil && step.Action == snapshot.Swap && r.Current != nil && s.promised(v) { // who ran Init meanwhile goes, too
			p.Outdate(v.Function, v.Number, string(r.Current.ID))
		}
		if step.ID == "" || step.Action != snapshot.RetireCurrent && step.Action != snapshot.DropNext {
			continue
		}
		if p := s.pool(); p != nil && step.Action == snapshot.RetireCurrent {
			keep := ""
			if r.Current != nil {
				keep = string(r.Current.ID)
			}
			p.Outdate(v.Function, v.Number, keep)
		}
		if err := s.store.Delete(ctx, step.ID); err != nil { // the next sweep finds it
			s.log.Warn("old snapshot stays for now", "fn", v.Function, "qualifier", v.Number, "error", err)
		}
		s.cache.Drop(step.ID)
	}
	return r, nil
}

// promised says whether a version's own SnapStart setting gives it snapshots. What has one only because it helps keeps its environments that ran Init.
func (s *snapstart) promised(v snapshot.Version) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	vs := s.versions[v]
	return vs != nil && vs.version != nil && s.asked(vs.version)
}

func (s *snapstart) remember(v snapshot.Version, r snapshot.Record) {
	s.know(v, r)
	s.tell(v)
}

func (s *snapstart) know(v snapshot.Version, r snapshot.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if vs := s.versions[v]; vs != nil {
		vs.record = r
	}
}

// tell wakes those who wait for a change.
func (s *snapstart) tell(v snapshot.Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if vs := s.versions[v]; vs != nil {
		close(vs.changed)
		vs.changed = make(chan struct{})
	}
}

func (s *snapstart) entry(v snapshot.Version) *versionSnapshots {
	s.mu.Lock()
	defer s.mu.Unlock()
	vs := s.versions[v]
	if vs == nil {
		vs = newVersionSnapshots(snapshot.Record{Version: v})
		s.versions[v] = vs
	}
	return vs
}

// Forget implements api.Snapshots.
func (s *snapstart) Forget(unqualifiedARN, number string) {
	s.mu.Lock()
	var gone []snapshot.Version
	for id := range s.versions {
		if id.Function == unqualifiedARN && (number == "" || id.Number == number) {
			gone = append(gone, id)
			delete(s.versions, id)
		}
	}
	s.mu.Unlock()
	if len(gone) == 0 || s.ctx.Err() != nil {
		return
	}
	s.work.Go(func() {
		for _, id := range gone {
			_, rev, err := s.records.Get(s.ctx, id)
			if err == nil {
				err = s.records.Delete(s.ctx, id, rev)
			}
			if err != nil && !errors.Is(err, snapshot.ErrNotFound) {
				s.log.Error("snapshot record stays", "fn", id.Function, "qualifier", id.Number, "error", err)
			}
		}
		s.tidy(s.ctx)
	})
}
