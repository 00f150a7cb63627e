package controlplane

import (
	"context"
	"fmt"
	"maps"

	"thaw/function"
)

// tellLost says of records which the others show to be missing.
func (p *Plane) tellLost() {
	for _, e := range p.view.All() {
		for _, n := range e.Record.Numbers {
			if e.Version(n) == nil {
				p.Log.Error("the record of a published version is lost", "fn", e.Record.Name, "region", e.Record.Region, "qualifier", n)
			}
		}
	}
	told := map[function.Key]bool{}
	for _, c := range p.view.Unlisted() {
		if p.view.Get(c.Key) == nil && !told[c.Key] {
			told[c.Key] = true
			p.Log.Error("the record of a function is lost; versions of it are kept", "fn", c.Key.Name, "region", c.Key.Region)
		}
	}
}

// sweep removes what a death between two writes left: versions that no function lists, packages that no version uses,
// and snapshots of versions that are not there. While records may be missing it removes nothing.
func (p *Plane) sweep(ctx context.Context) error {
	if p.Store.Complete() != nil {
		p.tellLost()
		return nil
	}
	for _, c := range p.view.Unlisted() {
		if err := p.Store.DeleteVersion(ctx, c.Key, c.Incarnation, c.Number); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	wanted := map[string]bool{}
	for _, e := range p.view.All() {
		e.Codes(func(hash string) { wanted[hash] = true })
	}
	folders := maps.Clone(wanted) // of layers only what they are together
	p.Layers.Blobs(func(hash string) { wanted[hash] = true })
	var unwanted []string
	err := p.Blobs.List(ctx, func(hash string, _ int64) bool {
		if !wanted[hash] {
			unwanted = append(unwanted, hash)
		}
		return true
	})
	if err != nil {
		return fmt.Errorf("sweep: %w", err)
	}
	for _, hash := range unwanted {
		if err := p.Blobs.Delete(ctx, hash); err != nil {
			return fmt.Errorf("sweep: %w", err)
		}
	}
	p.Codes.DropExcept(func(hash string) bool { return folders[hash] })
	if p.Snapshots != nil {
		return p.Snapshots.Sweep(ctx)
	}
	return nil
}
