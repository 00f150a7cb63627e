package controlplane

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"thaw/function"
)

// Delete removes a function with all that belongs to it. Environments finish the invocation that they are in.
func (p *Plane) Delete(ctx context.Context, k function.Key) error {
	ctx, cancel := p.writing(ctx)
	defer cancel()
	if p.view.Get(k) == nil {
		return function.ErrNotFound
	}
	epoch, err := p.Store.Epoch(ctx) // every environment of the function is older
	if err != nil {
		return err
	}
	var gone *function.Entry
	err = p.exclusive(k, func() error {
		gone, err = p.remove(ctx, k)
		return err
	})
	if err != nil {
		return err
	}
	p.Pool.Retire(gone.Record.ARN(), "", epoch)
	if p.Snapshots != nil {
		p.Snapshots.Forget(ctx, gone.Record.ARN(), gone.Record.Incarnation, "")
	}
	// The function is gone for everybody. What follows is tidying, which a start would do as well.
	for _, n := range gone.Record.Numbers {
		if err := p.Store.DeleteVersion(ctx, k, gone.Record.Incarnation, n); err != nil {
			p.Log.Warn("version of a deleted function stays until the next start", "fn", k.Name, "qualifier", n, "error", err)
		}
	}
	var codes []string
	gone.Codes(func(h string) { codes = append(codes, h) })
	p.forgetCode(ctx, codes...)
	return nil
}

// remove deletes the record of a function and returns what it was.
func (p *Plane) remove(ctx context.Context, k function.Key) (*function.Entry, error) {
	for {
		gone := p.view.Get(k)
		if gone == nil {
			return nil, function.ErrNotFound
		}
		r := *gone.Record
		err := p.Store.Delete(ctx, &r)
		if errors.Is(err, function.ErrStale) {
			select {
			case <-gone.Replaced():
				continue
			case <-ctx.Done():
				return nil, fmt.Errorf("deletion of %s: %w", k.Name, context.Cause(ctx))
			}
		}
		if err != nil {
			return nil, err
		}
		return gone, p.view.Wait(ctx, r.Revision)
	}
}

// errNothing ends a change that has nothing to do.
var errNothing = errors.New("nothing to change")

// DeleteVersion removes a published version. A number that the function does not have is no error.
func (p *Plane) DeleteVersion(ctx context.Context, k function.Key, n int) error {
	ctx, cancel := p.writing(ctx)
	defer cancel()
	number := function.NumberOf(n)
	var was *function.VersionRecord
	e, err := p.Change(ctx, k, func(e *function.Entry, r *function.Record) error {
		if was = e.Version(n); was == nil {
			return errNothing
		}
		if err := checkUnused(r, number); err != nil {
			return err
		}
		r.Numbers = slices.DeleteFunc(r.Numbers, func(m int) bool { return m == n })
		r.Forget(function.Qualifier(number))
		return nil
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	if err != nil {
		return err
	}
	r := e.Record
	p.Pool.Retire(r.ARN(), number, r.Incarnation+1)
	if p.Snapshots != nil {
		p.Snapshots.Forget(ctx, r.ARN(), r.Incarnation, number)
	}
	if err := p.Store.DeleteVersion(ctx, k, r.Incarnation, n); err != nil {
		p.Log.Warn("deleted version stays until the next start", "fn", k.Name, "qualifier", n, "error", err)
	}
	var hashes []string
	was.Config.Folders(func(hash string) { hashes = append(hashes, hash) })
	p.forgetCode(ctx, hashes...)
	return nil
}
