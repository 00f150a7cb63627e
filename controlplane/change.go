package controlplane

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/google/uuid"

	"thaw/function"
)

// writeLimit bounds a write. It goes on when its client leaves: half of a change helps nobody.
const writeLimit = 60 * time.Second

var stripeSeed = maphash.MakeSeed()

// exclusive lets one writer of a function at a time do something. It keeps the writers of this process from disturbing
// each other; the store's revisions do so for other processes.
func (p *Plane) exclusive(k function.Key, f func() error) error {
	mu := &p.stripes[maphash.Comparable(stripeSeed, k)%uint64(len(p.stripes))]
	mu.Lock()
	defer mu.Unlock()
	return f()
}

func (p *Plane) writing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
}

// Change rewrites the record of a function: f changes a copy of it, or refuses. It returns the function as it is then,
// when everybody can see it. The error is function.ErrNotFound when there is none, or what f refused with. f may be called
// again, when another process was quicker.
func (p *Plane) Change(ctx context.Context, k function.Key, f func(e *function.Entry, r *function.Record) error) (e *function.Entry, err error) {
	err = p.exclusive(k, func() error {
		e, err = p.change(ctx, k, f)
		return err
	})
	return e, err
}

// change is Change for a caller who is within exclusive.
func (p *Plane) change(ctx context.Context, k function.Key, f func(e *function.Entry, r *function.Record) error) (*function.Entry, error) {
	ctx, cancel := p.writing(ctx)
	defer cancel()
	for {
		e := p.view.Get(k)
		if e == nil {
			return nil, function.ErrNotFound
		}
		r := e.Record.Clone()
		if err := f(e, r); err != nil {
			return nil, err
		}
		err := p.Store.Update(ctx, r)
		if errors.Is(err, function.ErrStale) { // another process was quicker: its change is on its way to us
			select {
			case <-e.Replaced():
				continue
			case <-ctx.Done():
				return nil, fmt.Errorf("change of %s: %w", k.Name, context.Cause(ctx))
			}
		}
		if err != nil {
			return nil, err
		}
		if err := p.view.Wait(ctx, r.Revision); err != nil {
			return nil, fmt.Errorf("change of %s: %w", k.Name, err)
		}
		if e := p.view.Get(k); e != nil {
			return e, nil
		}
		return nil, function.ErrNotFound
	}
}

func newRevisionID() string { return uuid.NewString() }
