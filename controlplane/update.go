package controlplane

import (
	"context"

	"thaw/function"
)

// Update is a change of $LATEST.
type Update struct {
	RevisionID string // $LATEST must have this one, if said
	// Edit changes a copy of the configuration, or refuses.
	Edit    func(*function.Config) error
	Publish bool // make a version of the result
	DryRun  bool // only check: what is returned shows how it would be
}

// UpdateCode replaces the code of a function, and its architecture when that is not empty.
func (p *Plane) UpdateCode(ctx context.Context, k function.Key, u Update, code *Code, architecture string) (*function.Entry, *function.VersionRecord, error) {
	u.Edit = func(c *function.Config) error {
		c.CodeSHA256, c.CodeSize = code.SHA256, code.Size
		if architecture != "" {
			c.Architecture = architecture
		}
		return p.checkSize(ctx, &c.Package)
	}
	return p.Update(ctx, k, u)
}

// UpdateSettings changes what is set about a function.
func (p *Plane) UpdateSettings(ctx context.Context, k function.Key, u Update, s *Settings) (*function.Entry, *function.VersionRecord, error) {
	defer p.usingLayers(s)()
	if e := p.view.Get(k); e != nil && CheckRevision(u.RevisionID, e.Record.Latest.RevisionID) == nil { // else that is what is refused
		if err := p.findNetwork(ctx, k.Region, s.VPC); err != nil {
			return nil, nil, err
		}
	}
	u.Edit = func(c *function.Config) error {
		if err := p.apply(k, s, c); err != nil || s.Layers == nil {
			return err
		}
		return p.checkSize(ctx, &c.Package)
	}
	return p.Update(ctx, k, u)
}

// Update changes $LATEST: what serves goes on serving until the change is settled. It returns the version that was made
// where one was wanted, else $LATEST.
func (p *Plane) Update(ctx context.Context, k function.Key, u Update) (e *function.Entry, shown *function.VersionRecord, err error) {
	if u.DryRun {
		return p.tryUpdate(k, u)
	}
	ctx, cancel := p.writing(ctx)
	defer cancel()
	if p.view.Get(k) == nil {
		return nil, nil, function.ErrNotFound
	}
	err = p.exclusive(k, func() error {
		epoch, err := p.Store.Epoch(ctx)
		if err != nil {
			return err
		}
		e, err = p.change(ctx, k, func(_ *function.Entry, r *function.Record) error {
			if err := p.edit(r, u, epoch); err != nil || !u.Publish {
				return err
			}
			shown, err = p.addVersion(ctx, r, nil, function.Creating)
			return err
		})
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	p.settleSoon(k)
	if shown == nil {
		shown = &e.Record.Latest
	}
	return e, shown, nil
}

func (p *Plane) edit(r *function.Record, u Update, epoch uint64) error {
	if err := CheckRevision(u.RevisionID, r.Latest.RevisionID); err != nil {
		return err
	}
	before := r.Latest.Config.Clone()
	if err := u.Edit(&r.Latest.Config); err != nil {
		return err
	}
	life, err := r.Latest.Life.Next(function.UpdateAsked)
	if err != nil {
		return updateInProgress(r.ARN())
	}
	if r.Before == nil && r.Latest.Life == function.Live {
		r.Before = &function.Served{Config: before, Epoch: r.Epoch}
	}
	r.Latest.Life, r.Latest.Reason, r.Latest.ReasonCode = life, "", ""
	r.Latest.RevisionID, r.Latest.Modified, r.Epoch = newRevisionID(), p.Now(), epoch
	return nil
}

func (p *Plane) tryUpdate(k function.Key, u Update) (*function.Entry, *function.VersionRecord, error) {
	e := p.view.Get(k)
	if e == nil {
		return nil, nil, function.ErrNotFound
	}
	r := e.Record.Clone()
	if err := CheckRevision(u.RevisionID, r.Latest.RevisionID); err != nil {
		return nil, nil, err
	}
	if err := u.Edit(&r.Latest.Config); err != nil {
		return nil, nil, err
	}
	return e, &r.Latest, nil
}
