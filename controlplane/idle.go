package controlplane

import (
	"context"

	"thaw/function"
)

// Deactivate makes a published version Inactive: nobody has invoked it for so long that its snapshot goes. It returns when nobody can be served by it any
// more. A version that does not serve is left as it is.
func (p *Plane) Deactivate(ctx context.Context, v *function.Version) error {
	k := function.Key{Account: v.Account, Region: v.Region, Name: v.Name}
	e := p.view.Get(k)
	if e == nil || e.Record.Incarnation != v.Epoch {
		return nil // deleted meanwhile
	}
	_, err := p.moveVersion(ctx, e.Record, v.Number.Int(), function.Idled)
	return err
}

// wake has the snapshot of an Inactive version made again. Source: E-133; spec 5.2. On the service only a new version
// would help after a regeneration that failed; here the next invocation tries again.
func (p *Plane) wake(ctx context.Context, e *function.Entry, v *function.VersionRecord) error {
	moved, err := p.moveVersion(ctx, e.Record, v.Number.Int(), function.WakeAsked)
	if err == nil && moved {
		p.settleSoon(e.Record.Key)
	}
	return err
}

// moveVersion applies an event to a published version and returns when everybody can see it. It is not moved when it is gone or the event is none for it.
func (p *Plane) moveVersion(ctx context.Context, r *function.Record, number int, event function.LifeEvent) (moved bool, err error) {
	ctx, cancel := p.writing(ctx)
	defer cancel()
	err = p.exclusive(r.Key, func() error {
		now := p.view.Get(r.Key)
		if now == nil || now.Record.Incarnation != r.Incarnation {
			return nil
		}
		v := now.Version(number)
		if v == nil {
			return nil
		}
		life, err := v.Life.Next(event)
		if err != nil {
			return nil //nolint:nilerr // another was quicker: what it made of it counts
		}
		next := *v
		next.Life, next.Reason, next.ReasonCode, next.RevisionID = life, "", "", newRevisionID()
		if err := p.Store.PutVersion(ctx, r.Key, r.Incarnation, &next); err != nil {
			return err
		}
		moved = true
		return p.view.Wait(ctx, next.Revision)
	})
	return moved, err
}
