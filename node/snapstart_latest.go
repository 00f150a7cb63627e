package node

import (
	"time"

	"thaw/function"
	"thaw/snapshot"
)

// Snapshots that nobody waits for: of $LATEST where its function asks for them, and of every version under --snapstart all. They are made in the background
// while invokes run Init; a version is never Pending or Failed because of them.

// quietTime is how long code and configuration must have been the same, and in use, before a snapshot of them is made: who deploys every few seconds must not
// keep the machine busy with what is outdated when it is done.
const quietTime = 3 * time.Second

// later is what is known of a version whose snapshot nobody waits for.
type later struct {
	on     bool             // wanted, as of the last invoke
	key    snapshot.KeyHash // what would be made
	since  time.Time        // of key
	unmet  bool             // invoked since the last making began
	failed snapshot.KeyHash // what could not be made
}

// asked says whether the version's own SnapStart setting gives it snapshots.
func (s *snapstart) asked(v *function.Version) bool {
	return v.SnapStart && v.Number != function.Latest
}

// wantedLocked says whether a version gets snapshots without waiting for them. vs may be nil. v may be of before a change of tags; what the last invoke
// found counts then.
func (s *snapstart) wantedLocked(v *function.Version, vs *versionSnapshots) bool {
	switch {
	case s.strict || s.asked(v):
		return false
	case s.all || v.SnapStartLatest():
		return true
	}
	return vs != nil && vs.later.on
}

// concerns says whether an environment of a version may begin from a snapshot.
func (s *snapstart) concerns(v *function.Version) bool {
	if s.asked(v) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wantedLocked(v, s.versions[snapshot.VersionOf(v)])
}

// usedLaterLocked notes an invoke; v is what the API says now.
func (s *snapstart) usedLaterLocked(vs *versionSnapshots, v *function.Version, now time.Time) {
	l := &vs.later
	l.on = !s.strict && (s.all || v.SnapStartLatest())
	plan, err := s.starter.runtimes.Plan(v.Runtime, v.Architecture)
	if err != nil {
		return // the invoke says so
	}
	if policy, err := snapshot.ParseTags(v.Tags); err == nil {
		vs.tags = policy
	}
	vs.version = v
	if key := s.keyOf(v, plan).Hash(); key != l.key {
		l.key, l.since = key, now
	}
	l.unmet = true
}

// makeLater begins what is wanted and has come to rest, and lets go of what is outdated.
func (s *snapstart) makeLater(now time.Time) {
	type step struct {
		id     snapshot.Version
		events []snapshot.Event
	}
	var steps []step
	s.mu.Lock()
	for id, vs := range s.versions {
		if vs.version == nil || s.asked(vs.version) || vs.busy || vs.later.key == "" {
			continue
		}
		r, l := vs.usedRecord(), &vs.later
		if r.State.HasCurrent() {
			if !l.on || r.Current.KeyHash() != l.key {
				steps = append(steps, step{id, []snapshot.Event{snapshot.Evicted}})
			} else {
				l.unmet = false // that invoke had one
			}
			continue
		}
		if r.State.Busy() || !l.on || !l.unmet || now.Sub(l.since) < max(quietTime, 2*r.History().Slowest) {
			continue
		}
		var events []snapshot.Event
		switch r.State {
		case snapshot.None:
			events = []snapshot.Event{snapshot.AskedLater, snapshot.Invoked}
		case snapshot.Shelved:
			events = []snapshot.Event{snapshot.Invoked}
		case snapshot.Lapsed:
			e, at, ok := r.Due(vs.policy(), now)
			if retry := ok && e == snapshot.RefreshDue && !at.After(now); !retry && l.failed == l.key {
				continue
			}
			events = []snapshot.Event{snapshot.RefreshDue}
		default:
			continue
		}
		l.unmet, l.failed = false, l.key // until it is current
		steps = append(steps, step{id, events})
	}
	s.mu.Unlock()
	for _, st := range steps {
		s.work.Go(func() {
			_, err := s.change(s.ctx, st.id, func(r *snapshot.Record) (all []snapshot.Step, err error) {
				for _, e := range st.events {
					more, err := r.Move(e, s.now())
					if err != nil {
						return nil, err
					}
					all = append(all, more...)
				}
				return all, nil
			})
			if err != nil {
				s.log.Debug("snapshot not begun", "fn", st.id.Function, "qualifier", st.id.Number, "error", err)
				return
			}
			s.proceed(st.id)
		})
	}
}

// Optimized implements api.Snapshots: whether the next environment of a version begins from a snapshot.
func (s *snapstart) Optimized(v *function.Version) bool {
	plan, err := s.starter.runtimes.Plan(v.Runtime, v.Architecture)
	if err != nil {
		return false
	}
	s.mu.Lock()
	vs := s.versions[snapshot.VersionOf(v)]
	wanted := s.asked(v) || s.wantedLocked(v, vs)
	var r snapshot.Record
	if vs != nil {
		r = vs.record
	}
	s.mu.Unlock()
	return vs != nil && wanted && r.ForRestore(time.Now(), s.keyOf(v, plan).Hash()) != nil
}
