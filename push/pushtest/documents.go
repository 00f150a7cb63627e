// Package pushtest holds what tests of push sources have in common: records in memory, and what takes deliveries.
package pushtest

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"

	"thaw/push"
)

// Documents are records in memory, empty at first. They outlive who has opened them, so that a test can open anew.
type Documents struct {
	mu   sync.Mutex
	all  map[string]push.Document
	last uint64 // revision
}

var _ push.Documents = (*Documents)(nil)

// Put implements push.Documents.
func (d *Documents) Put(_ context.Context, key string, value []byte, was uint64) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all[key].Revision != was {
		return 0, push.ErrStale
	}
	if d.all == nil {
		d.all = map[string]push.Document{}
	}
	d.last++
	d.all[key] = push.Document{Key: key, Value: bytes.Clone(value), Revision: d.last}
	return d.last, nil
}

// Delete implements push.Documents.
func (d *Documents) Delete(_ context.Context, key string, was uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all[key].Revision != was {
		return push.ErrStale
	}
	delete(d.all, key)
	return nil
}

// List implements push.Documents.
func (d *Documents) List(context.Context) ([]push.Document, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Collect(maps.Values(d.all)), nil
}

// Keys are those of the records that there are, in order.
func (d *Documents) Keys() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.all))
}
