package push

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
)

// Table is the records of one kind in memory, each also on disk. What it returns is shared and must not be changed: a
// change makes a new record, so whoever has one keeps what he has, and two pointers say whether there was a change.
type Table[T any] struct {
	docs    Documents
	mu      sync.RWMutex
	rows    map[string]row[T]
	writing sync.Mutex // of one change at a time; taken before mu
}

type row[T any] struct {
	value    *T
	revision uint64
}

// OpenTable reads the records. One that cannot be read keeps the server from starting: a source without it would lose
// events in silence.
func OpenTable[T any](ctx context.Context, docs Documents) (*Table[T], error) {
	list, err := docs.List(ctx)
	if err != nil {
		return nil, err
	}
	t := &Table[T]{docs: docs, rows: map[string]row[T]{}}
	for _, d := range list {
		v := new(T)
		if err := json.Unmarshal(d.Value, v); err != nil {
			return nil, fmt.Errorf("record %s: %w", d.Key, err)
		}
		t.rows[d.Key] = row[T]{v, d.Revision}
	}
	return t, nil
}

// Get is a record; nil: there is none.
func (t *Table[T]) Get(key string) *T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.rows[key].value
}

// Len is how many records there are.
func (t *Table[T]) Len() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.rows)
}

// All are the records in the order of their keys.
func (t *Table[T]) All() []*T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	all := make([]*T, 0, len(t.rows))
	for _, key := range slices.Sorted(maps.Keys(t.rows)) {
		all = append(all, t.rows[key].value)
	}
	return all
}

// Change replaces a record by what change makes of it, and everybody sees the new one when it is on disk. change gets
// nil when there is no record. Where it returns nil the record is removed; its error is returned, and nothing happens.
func (t *Table[T]) Change(ctx context.Context, key string, change func(old *T) (*T, error)) error {
	t.writing.Lock()
	defer t.writing.Unlock()
	t.mu.RLock()
	was := t.rows[key]
	t.mu.RUnlock()
	next, err := change(was.value)
	switch {
	case err != nil:
		return err
	case next == was.value:
		return nil
	case next == nil:
		if err := t.docs.Delete(ctx, key, was.revision); err != nil {
			return err
		}
		t.mu.Lock()
		delete(t.rows, key)
		t.mu.Unlock()
		return nil
	}
	b, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	now, err := t.docs.Put(ctx, key, b, was.revision)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.rows[key] = row[T]{next, now}
	t.mu.Unlock()
	return nil
}

// Put stores a record, there or not.
func (t *Table[T]) Put(ctx context.Context, key string, value *T) error {
	return t.Change(ctx, key, func(*T) (*T, error) { return value, nil })
}

// Delete removes a record. ErrNone.
func (t *Table[T]) Delete(ctx context.Context, key string) error {
	return t.Change(ctx, key, func(old *T) (*T, error) {
		if old == nil {
			return nil, ErrNone
		}
		return nil, nil
	})
}
