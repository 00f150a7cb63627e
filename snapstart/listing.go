package snapstart

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"thaw/admin"
	"thaw/function"
	"thaw/snapshot"
)

// List implements admin.Snapshots.
func (s *Service) List() []admin.Snapshot {
	usage, now, envs := s.store.Usage(), s.o.Now(), s.o.Pool.Restored()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := []admin.Snapshot{}
	for _, l := range s.lives {
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
func (s *Service) find(name string) (*life, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*life
	for id, l := range s.lives {
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
