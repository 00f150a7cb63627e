package controlplane

import (
	"context"
	"errors"
	"time"

	"thaw/blob"
	"thaw/codepackage"
	"thaw/function"
)

// settleSoon has a function settled, if it needs to be, by a goroutine of its own. There is at most one per function; it looks again
// before it ends, so a call meanwhile is not lost.
func (p *Plane) settleSoon(k function.Key) {
	p.settleMu.Lock()
	defer p.settleMu.Unlock()
	if p.settling[k] || p.ctx.Err() != nil || !unsettled(p.view.Get(k)) {
		return
	}
	p.settling[k] = true
	p.work.Add(1)
	go func() {
		defer p.work.Done()
		for {
			e := p.view.Get(k)
			if !unsettled(e) || p.ctx.Err() != nil {
				p.settleMu.Lock()
				again := unsettled(p.view.Get(k)) && p.ctx.Err() == nil
				if !again {
					delete(p.settling, k)
				}
				p.settleMu.Unlock()
				if !again {
					return
				}
				continue
			}
			err := p.settle(p.ctx, e)
			if errors.Is(err, function.ErrNotFound) {
				continue // what it was settling was deleted, as the view says by now
			}
			if err != nil && p.ctx.Err() == nil {
				p.Log.Error("function cannot be settled, will try again", "fn", k.Name, "error", err)
				select {
				case <-time.After(time.Second):
				case <-p.ctx.Done():
				}
			}
		}
	}()
}

func unsettled(e *function.Entry) bool {
	if e == nil {
		return false
	}
	if e.Record.Latest.Life.Settling() {
		return true
	}
	for _, v := range e.Versions() {
		if v.Life.Settling() {
			return true
		}
	}
	return false
}

// settle prepares everything of a function that is unsettled and writes how that went. An error means that it could not be written.
func (p *Plane) settle(ctx context.Context, e *function.Entry) error {
	r := e.Record
	visible := time.NewTimer(p.Settle) // so that a client that looks at once sees the change in progress
	defer visible.Stop()
	type outcome struct {
		event        function.LifeEvent
		reason, code string
		optimized    bool
	}
	prepare := func(v *function.VersionRecord) (outcome, error) {
		reason, code, err := p.prepare(ctx, r, v)
		if code != "" {
			return outcome{event: function.SettleFailed, reason: reason, code: code}, nil
		}
		return outcome{event: function.Settled, optimized: v.Config.SnapStart && v.Number != function.Latest && p.Snapshots != nil}, err
	}
	var latest outcome
	var err error
	if r.Latest.Life.Settling() {
		if latest, err = prepare(&r.Latest); err != nil {
			return err
		}
	}
	versions := map[function.VersionNumber]outcome{}
	for _, v := range e.Versions() {
		if v.Life.Settling() {
			if versions[v.Number], err = prepare(v); err != nil {
				return err
			}
		}
	}
	select {
	case <-visible.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}

	err = p.exclusive(r.Key, func() error {
		wctx, cancel := p.writing(ctx)
		defer cancel()
		now := p.view.Get(r.Key)
		if now == nil || now.Record.Incarnation != r.Incarnation {
			return errOvertaken // deleted meanwhile
		}
		// Versions first: who sees the function settled must find its new version settled too.
		for _, v := range now.Versions() {
			o, ok := versions[v.Number]
			if !ok || !v.Life.Settling() {
				continue
			}
			next := *v
			if next.Life, err = v.Life.Next(o.event); err != nil {
				return err
			}
			next.Reason, next.ReasonCode, next.RevisionID, next.Optimized = o.reason, o.code, newRevisionID(), o.optimized
			if err := p.Store.PutVersion(wctx, r.Key, r.Incarnation, &next); err != nil {
				return err
			}
			if err := p.view.Wait(wctx, next.Revision); err != nil {
				return err
			}
		}
		if !r.Latest.Life.Settling() {
			return nil
		}
		_, err := p.change(ctx, r.Key, func(_ *function.Entry, n *function.Record) error {
			if n.Incarnation != r.Incarnation || n.Epoch != r.Epoch {
				return errOvertaken
			}
			life, err := n.Latest.Life.Next(latest.event)
			if err != nil {
				return err
			}
			n.Latest.Life, n.Latest.Reason, n.Latest.ReasonCode, n.Latest.RevisionID = life, latest.reason, latest.code, newRevisionID()
			if life == function.Live {
				n.Before = nil
			}
			return nil
		})
		return err
	})
	if errors.Is(err, errOvertaken) || errors.Is(err, function.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if now := p.view.Get(r.Key); now != nil {
		p.provision(e, now) // an alias may have led to a version that did not serve yet
	}
	p.Log.Info("function settled", "fn", r.Name, "from", r.Latest.Life.String(), "event", latest.event.String(), "code", latest.code)
	if r.Before != nil {
		if latest.event == function.Settled {
			p.Pool.Retire(r.ARN(), function.Latest, r.Epoch)
		}
		var hashes []string
		r.Before.Config.Folders(func(hash string) { hashes = append(hashes, hash) })
		p.forgetCode(ctx, hashes...)
	}
	return nil
}

var errOvertaken = errors.New("changed while it was settled")

// prepare does for a version what every environment of it will need: its code unpacked, its runtime there. A code says that it failed and
// waiting does not help; an error that it should be tried again.
func (p *Plane) prepare(ctx context.Context, r *function.Record, v *function.VersionRecord) (reason, code string, err error) {
	switch err := p.Runtimes.Provide(ctx, v.Config.Runtime, v.Config.Architecture); {
	case err != nil && ctx.Err() != nil:
		return "", "", err
	case err != nil:
		return err.Error(), invalidRuntime, nil
	}
	release, err := p.unpack(ctx, &function.Version{Name: r.Name, Number: v.Number, Package: v.Config.Package})
	var invalid *codepackage.InvalidError
	switch {
	case err == nil:
		release()
		if v.Config.SnapStart && v.Number != function.Latest && p.Snapshots != nil {
			return p.Snapshots.Make(ctx, r.Prepared(v), r.Tags)
		}
		return "", "", nil
	case errors.As(err, &invalid), errors.Is(err, codepackage.ErrTooLarge), errors.Is(err, codepackage.ErrEmpty):
		return err.Error(), "InvalidZipFileException", nil
	case errors.Is(err, blob.ErrNotFound), errors.Is(err, blob.ErrDamaged):
		return "The code of the function is lost: " + err.Error(), "InternalError", nil
	}
	return "", "", err
}

// unpack has code and layers of a version unpacked.
func (p *Plane) unpack(ctx context.Context, v *function.Version) (release func(), err error) {
	_, releaseCode, err := p.Codes.Dir(ctx, v)
	if err != nil {
		return nil, err
	}
	_, releaseOpt, err := p.Codes.Opt(ctx, v)
	if err != nil {
		releaseCode()
		return nil, err
	}
	return func() { releaseOpt(); releaseCode() }, nil
}
