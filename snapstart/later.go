package snapstart

import (
	"time"

	"thaw/function"
	"thaw/snapshot"
)

// Snapshots that nobody waits for: of $LATEST where its function asks for them, and of every version under --snapstart all. They are made in the background
// while invokes run Init; a version is never Pending or Failed because of them.

// QuietTime is how long code and configuration must have been the same, and in use, before a snapshot of them is made: who deploys every few seconds must not
// keep the machine busy with what is outdated when it is done.
const QuietTime = 3 * time.Second

// later is what is known of a version whose snapshot nobody waits for.
type later struct {
	on     bool             // wanted, as of the last invoke
	key    snapshot.KeyHash // what would be made
	since  time.Time        // of key
	unmet  bool             // invoked since the last making began
	failed snapshot.KeyHash // what could not be made
}

// asked says whether the version's own SnapStart setting gives it snapshots.
func (s *Service) asked(v *function.Version) bool {
	return v.SnapStart && !v.PerTenant && v.Number != function.Latest
}

// wantedLocked says whether a version gets snapshots without waiting for them. l may be nil. v may be of before a
// change of tags; what the last invoke found counts then.
func (s *Service) wantedLocked(v *function.Version, l *life) bool {
	switch {
	case s.o.Strict || v.PerTenant || s.asked(v):
		return false
	case s.o.All || v.SnapStartLatest():
		return true
	}
	return l != nil && l.later.on
}

// Concerns says whether an environment of a version may begin from a snapshot.
func (s *Service) Concerns(v *function.Version) bool {
	if s.asked(v) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wantedLocked(v, s.ofLocked(v))
}

// usedLaterLocked notes an invoke; v is what the API says now.
func (s *Service) usedLaterLocked(l *life, v *function.Version, now time.Time) {
	later := &l.later
	later.on = !s.o.Strict && !v.PerTenant && (s.o.All || v.SnapStartLatest())
	key, err := s.keyOf(v)
	if err != nil {
		return // the invoke says so
	}
	if policy, err := snapshot.ParseTags(v.Tags); err == nil {
		l.tags = policy
	}
	l.version = v
	if hash := key.Hash(); hash != later.key {
		later.key, later.since = hash, now
	}
	later.unmet = true
}

// makeLater begins what is wanted and has come to rest, and lets go of what is outdated.
func (s *Service) makeLater(now time.Time) {
	type beginning struct {
		l      *life
		events []snapshot.Event
	}
	var begun []beginning
	s.mu.Lock()
	for _, l := range s.lives {
		if l.ended || l.version == nil || s.asked(l.version) || l.idling != nil || l.later.key == "" {
			continue
		}
		r, later := l.usedRecord(), &l.later
		if r.State.HasCurrent() {
			if !later.on || r.Current.KeyHash() != later.key {
				begun = append(begun, beginning{l, []snapshot.Event{snapshot.Evicted}})
			} else {
				later.unmet = false // that invoke had one
			}
			continue
		}
		if r.State.Busy() || !later.on || !later.unmet || now.Sub(later.since) < max(QuietTime, 2*r.History().Slowest) {
			continue
		}
		var events []snapshot.Event
		switch r.State {
		case snapshot.None:
			events = []snapshot.Event{snapshot.AskedLater, snapshot.Invoked}
		case snapshot.Shelved:
			events = []snapshot.Event{snapshot.Invoked}
		case snapshot.Lapsed:
			e, at, ok := r.Due(l.policy(), now)
			if retry := ok && e == snapshot.RefreshDue && !at.After(now); !retry && later.failed == later.key {
				continue
			}
			events = []snapshot.Event{snapshot.RefreshDue}
		default:
			continue
		}
		later.unmet, later.failed = false, later.key // until it is current
		begun = append(begun, beginning{l, events})
	}
	s.mu.Unlock()
	for _, b := range begun {
		s.writeSoon(b.l, moves("", b.events...))
	}
}

// Optimized implements controlplane.Snapshots: whether the next environment of a version begins from a snapshot.
func (s *Service) Optimized(v *function.Version) bool {
	key, err := s.keyOf(v)
	if err != nil {
		return false
	}
	s.mu.Lock()
	l := s.ofLocked(v)
	wanted := s.asked(v) || s.wantedLocked(v, l)
	var r snapshot.Record
	if l != nil {
		r = l.record
	}
	s.mu.Unlock()
	return l != nil && wanted && r.ForRestore(s.o.Now(), key.Hash()) != nil
}
