package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"thaw/admin"
	"thaw/function"
	"thaw/pool"
	"thaw/snapshot"
)

// snapshotsAdmin implements admin.Snapshots: what `thaw snapshot` shows and does.
type snapshotsAdmin struct{ s *snapstart }

// known tells of a published version with SnapStart that the server found at its start, so that its snapshots are refreshed before anybody invokes it.
func (s *snapstart) known(v *function.Version, tags map[string]string) {
	policy, err := snapshot.ParseTags(tags)
	if err != nil {
		s.log.Warn("tags of a function make no refresh policy", "fn", v.Name, "qualifier", v.Number, "error", err)
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
		s.lost(v, string(current.ID), fmt.Errorf("at start: %w", err))
	}
}

// Retag implements api.Snapshots.
func (s *snapstart) Retag(unqualifiedARN function.ARN, tags map[string]string) {
	policy, err := snapshot.ParseTags(tags)
	if err != nil { // the API has refused what cannot be; these are older
		s.log.Warn("tags of a function make no refresh policy", "fn", unqualifiedARN, "error", err)
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
	if len(changed) == 0 || s.ctx.Err() != nil {
		return
	}
	s.work.Go(func() {
		for _, l := range changed {
			if _, err := s.repolicy(s.ctx, l, func(*snapshot.Record) {}); err != nil && !errors.Is(err, errDeleted) {
				s.log.Error("snapshot policy", "fn", l.id.Function, "qualifier", l.id.Number, "error", err)
			}
		}
	})
}

// repolicy gives the current generation the end that follows from the policy that counts after f. Where that is sooner, environments that know
// of the later one finish and go.
func (s *snapstart) repolicy(ctx context.Context, l *life, f func(*snapshot.Record)) (snapshot.Record, error) {
	sooner := false
	r, err := s.change(ctx, l, func(r *snapshot.Record) ([]snapshot.Step, error) {
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
		s.pool().Outdate(l.id.Function, l.id.Number, "")
	}
	return r, err
}

// List implements admin.Snapshots.
func (a snapshotsAdmin) List() []admin.Snapshot {
	usage, now := a.s.store.Usage(), time.Now()
	envs := map[string]int{}
	if p := a.s.pool(); p != nil {
		for _, e := range p.Environments() {
			envs[e.Snapshot]++
		}
	}
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	out := []admin.Snapshot{}
	for _, l := range a.s.lives {
		if !l.ended && l.record.State != snapshot.None {
			out = append(out, describe(l, usage, envs, now))
		}
	}
	slices.SortFunc(out, func(x, y admin.Snapshot) int {
		if x.Function != y.Function {
			return strings.Compare(x.ARN, y.ARN)
		}
		return function.VersionNumber(x.Version).Int() - function.VersionNumber(y.Version).Int() // $LATEST is 0
	})
	return out
}

func describe(l *life, usage *snapshot.Usage, envs map[string]int, now time.Time) admin.Snapshot {
	id, r := l.id, l.usedRecord()
	out := admin.Snapshot{Function: id.Function.Name(), Version: string(id.Number), ARN: id.String(), State: r.State.String(),
		Policy: l.policy(), PolicyFrom: "none", Failures: r.Failures, LastFailed: r.LastFailed, LastError: r.LastError, LastUsed: r.LastUsed}
	switch {
	case r.Policy != nil:
		out.PolicyFrom = "api"
	case l.tags.Refreshes() || len(l.tags.Prime) > 0:
		out.PolicyFrom = "tags"
	}
	if r.Next != nil {
		out.Making = uint64(r.Next.Generation)
	}
	if e, at, ok := r.Due(l.policy(), now); ok && e == snapshot.RefreshDue {
		out.RefreshAt = at
	}
	if m := r.Current; m != nil {
		share := usage.Snapshots[m.ID]
		out.ID, out.Generation, out.Born, out.Created, out.Expires, out.StatedExpiry = string(m.ID), uint64(m.Generation), m.Born, m.Created, m.Expires, m.StatedExpiry
		out.Bytes, out.OwnBytes, out.Pages, out.SharedPages, out.SharedShare = share.Size, share.OwnBytes, share.Pages, share.SharedPages, share.SharedShare()
		out.Hooks, out.Primed, out.MakeSeconds, out.Note = m.Hooks, m.Primed, m.MakeSeconds, m.Attributes["note"]
		key := m.Key
		out.Key, out.KeyHash = &key, string(key.Hash())
		out.Environments = envs[out.ID]
		for _, st := range m.Stages {
			out.Stages = append(out.Stages, admin.Stage{Name: st.Name, Seconds: st.Seconds})
		}
	}
	return out
}

// find resolves how people name a version: NAME:NUMBER, NAME, or an ARN.
func (a snapshotsAdmin) find(name string) (*life, error) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	var found []*life
	for id, l := range a.s.lives {
		if l.ended || l.record.State == snapshot.None {
			continue
		}
		short := id.Function.Name()
		switch name {
		case id.String(), short + ":" + string(id.Number):
			found = append(found, l)
		case string(id.Function), short:
			if l.record.State.HasCurrent() {
				found = append(found, l)
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s has no snapshot here; type: thaw snapshot ls: %w", name, fs.ErrNotExist)
	}
	newest := slices.MaxFunc(found, func(x, y *life) int { return x.id.Number.Int() - y.id.Number.Int() })
	for _, l := range found {
		if l.id.Function != newest.id.Function {
			return nil, &admin.RefusedError{Reason: fmt.Sprintf("%s is in more than one region: give its ARN, %s or %s", name, l.id.ARN(), newest.id.ARN())}
		}
	}
	return newest, nil
}

// one describes a version as it is now.
func (a snapshotsAdmin) one(l *life) (admin.Snapshot, error) {
	for _, d := range a.List() {
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
func (a snapshotsAdmin) Refresh(ctx context.Context, version string) (admin.Snapshot, error) {
	l, err := a.find(version)
	if err != nil {
		return admin.Snapshot{}, err
	}
	if a.s.ctx.Err() != nil {
		return admin.Snapshot{}, pool.ErrClosed
	}
	r, err := a.s.update(ctx, l, snapshot.RefreshDue, "")
	if err != nil {
		return admin.Snapshot{}, asDeleted(l, err)
	}
	want := r.LastGeneration
	a.s.work.Go(func() { a.s.proceed(l) })
	for {
		a.s.mu.Lock()
		r, changed, stuck, ended := l.record, l.changed, l.version == nil, l.ended
		a.s.mu.Unlock()
		switch {
		case ended:
			return admin.Snapshot{}, deletedMeanwhile(l)
		case stuck:
			return admin.Snapshot{}, &admin.RefusedError{Reason: "nothing is known of the version's code; invoke it once"}
		case r.Current != nil && r.Current.Generation >= want:
			return a.one(l)
		case !r.State.Busy():
			return admin.Snapshot{}, &admin.RefusedError{Reason: fmt.Sprintf("generation %d could not be made: %s", want, r.LastError)}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return admin.Snapshot{}, context.Cause(ctx)
		case <-a.s.ctx.Done():
			return admin.Snapshot{}, pool.ErrClosed
		}
	}
}

// Remove implements admin.Snapshots.
func (a snapshotsAdmin) Remove(ctx context.Context, version string) (admin.Snapshot, error) {
	l, err := a.find(version)
	if err != nil {
		return admin.Snapshot{}, err
	}
	if _, err := a.s.update(ctx, l, snapshot.Evicted, ""); err != nil {
		return admin.Snapshot{}, asDeleted(l, err)
	}
	a.s.tidy(ctx)
	return a.one(l)
}

// SetPolicy implements admin.Snapshots.
func (a snapshotsAdmin) SetPolicy(ctx context.Context, version string, p *snapshot.Policy) (admin.Snapshot, error) {
	if p != nil {
		if err := p.Validate(); err != nil {
			return admin.Snapshot{}, err
		}
	}
	l, err := a.find(version)
	if err != nil {
		return admin.Snapshot{}, err
	}
	if _, err := a.s.repolicy(ctx, l, func(r *snapshot.Record) { r.Policy = p }); err != nil {
		return admin.Snapshot{}, asDeleted(l, err)
	}
	return a.one(l)
}
