package snapshottest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"thaw/function"
	"thaw/snapshot"
)

// MemRecords are Records in memory.
type MemRecords struct {
	mu   sync.Mutex
	last snapshot.Revision
	all  map[snapshot.Version]memRecord
}

type memRecord struct {
	json []byte
	rev  snapshot.Revision
}

// NewRecords returns none.
func NewRecords() *MemRecords { return &MemRecords{all: map[snapshot.Version]memRecord{}} }

// Get implements snapshot.Records.
func (m *MemRecords) Get(_ context.Context, v snapshot.Version) (r snapshot.Record, rev snapshot.Revision, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	got, ok := m.all[v]
	if !ok {
		return r, 0, fmt.Errorf("record of %s: %w", v, snapshot.ErrNotFound)
	}
	return r, got.rev, json.Unmarshal(got.json, &r)
}

// Put implements snapshot.Records.
func (m *MemRecords) Put(_ context.Context, r snapshot.Record, was snapshot.Revision) (snapshot.Revision, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.all[r.Version].rev != was {
		return 0, fmt.Errorf("record of %s: %w", r.Version, snapshot.ErrConflict)
	}
	m.last++
	m.all[r.Version] = memRecord{b, m.last}
	return m.last, nil
}

// Delete implements snapshot.Records.
func (m *MemRecords) Delete(_ context.Context, v snapshot.Version, was snapshot.Revision) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if got, ok := m.all[v]; ok && got.rev != was {
		return fmt.Errorf("record of %s: %w", v, snapshot.ErrConflict)
	}
	delete(m.all, v)
	return nil
}

// List implements snapshot.Records.
func (m *MemRecords) List(context.Context) ([]snapshot.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []snapshot.Record
	for _, got := range m.all {
		var r snapshot.Record
		if err := json.Unmarshal(got.json, &r); err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// RunRecords is the suite that every implementation of snapshot.Records passes. open returns empty ones.
func RunRecords(t *testing.T, open func(t *testing.T) snapshot.Records) {
	ctx := context.Background()
	version := func(n string) snapshot.Version {
		return snapshot.Version{Function: "arn:aws:lambda:eu-west-1:123456789012:function:hello-World_1", Number: function.VersionNumber(n)}
	}
	record := func(n string) snapshot.Record {
		return snapshot.Record{
			Version: version(n), State: snapshot.Refreshing,
			Policy:  &snapshot.Policy{Interval: time.Minute, Prime: []snapshot.Prime{{Name: "warm", Count: 2, Event: json.RawMessage(`{"a":[1]}`)}}},
			Current: &snapshot.Meta{ID: snapshot.NewID(), Generation: 4, Stages: []snapshot.Stage{{Name: "init", Seconds: 0.25}}, Born: time.Unix(1e9, 0).UTC()},
			Next:    &snapshot.Meta{ID: snapshot.NewID(), Generation: 5}, LastGeneration: 5, LastUsed: time.Unix(2e9, 7).UTC(), LastError: "grüße \x01 \"",
		}
	}
	t.Run("a record comes back as it was put", func(t *testing.T) {
		rs := open(t)
		for _, n := range []string{"1", "27", "$LATEST"} {
			want := record(n)
			rev, err := rs.Put(ctx, want, 0)
			if err != nil || rev == 0 {
				t.Fatalf("put: revision %d, %v", rev, err)
			}
			got, rev2, err := rs.Get(ctx, version(n))
			if err != nil || rev2 != rev {
				t.Fatalf("get: revision %d instead of %d, %v", rev2, rev, err)
			}
			a, _ := json.Marshal(want)
			if b, _ := json.Marshal(got); !bytes.Equal(a, b) {
				t.Errorf("put %s, got %s", a, b)
			}
		}
		if list, err := rs.List(ctx); err != nil || len(list) != 3 {
			t.Errorf("list has %d records, %v", len(list), err)
		}
	})
	t.Run("what is not there is not found, and deleting it is no error", func(t *testing.T) {
		rs := open(t)
		if _, _, err := rs.Get(ctx, version("1")); !errors.Is(err, snapshot.ErrNotFound) {
			t.Errorf("get: %v", err)
		}
		if err := rs.Delete(ctx, version("1"), 0); err != nil {
			t.Errorf("delete: %v", err)
		}
		if list, err := rs.List(ctx); err != nil || len(list) != 0 {
			t.Errorf("list has %d records, %v", len(list), err)
		}
	})
	t.Run("only the revision that was read can be changed", func(t *testing.T) {
		rs := open(t)
		rev, err := rs.Put(ctx, record("1"), 0)
		if err != nil {
			t.Fatal(err)
		}
		next, err := rs.Put(ctx, record("1"), rev)
		if err != nil || next <= rev {
			t.Fatalf("revision %d after %d, %v", next, rev, err)
		}
		for name, was := range map[string]snapshot.Revision{"an older one": rev, "that of none": 0, "a later one": next + 1} {
			if _, err := rs.Put(ctx, record("1"), was); !errors.Is(err, snapshot.ErrConflict) {
				t.Errorf("put on %s: %v", name, err)
			}
		}
		if err := rs.Delete(ctx, version("1"), rev); !errors.Is(err, snapshot.ErrConflict) {
			t.Errorf("delete on an older one: %v", err)
		}
		if err := rs.Delete(ctx, version("1"), next); err != nil {
			t.Error(err)
		}
		if _, err := rs.Put(ctx, record("1"), next); !errors.Is(err, snapshot.ErrConflict) {
			t.Errorf("put on a deleted one: %v", err)
		}
		if _, err := rs.Put(ctx, record("1"), 0); err != nil {
			t.Errorf("made again: %v", err)
		}
	})
	t.Run("of many that change a record at once each counts", func(t *testing.T) {
		rs := open(t)
		var wg sync.WaitGroup
		const many = 8
		for range many {
			wg.Go(func() {
				for range 5 {
					if _, err := snapshot.Update(ctx, rs, version("1"), func(r *snapshot.Record) error { r.LastGeneration++; return nil }); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if r, _, err := rs.Get(ctx, version("1")); err != nil || r.LastGeneration != 5*many {
			t.Errorf("counted to %d, %v", r.LastGeneration, err)
		}
	})
}
