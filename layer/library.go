package layer

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/google/uuid"
)

// Library is all layers of a server. It is safe for use by many goroutines.
type Library struct {
	store Store

	mu  sync.Mutex
	all map[Key]Stored
}

// Open reads all layers.
func Open(ctx context.Context, store Store) (*Library, error) {
	all, err := store.List(ctx)
	if err != nil {
		return nil, fmt.Errorf("layers: %w", err)
	}
	return &Library{store: store, all: all}, nil
}

// Get returns a layer; nil when there is none that ever had a version.
func (l *Library) Get(k Key) *Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[k].Record
}

// All returns every layer in the order of account, region and name.
func (l *Library) All() []*Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make([]*Record, 0, len(l.all))
	for _, s := range l.all {
		out = append(out, s.Record)
	}
	slices.SortFunc(out, func(a, b *Record) int {
		return cmp.Or(cmp.Compare(a.Account, b.Account), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// Blobs calls f with the hash of every package that a version of a layer has.
func (l *Library) Blobs(f func(sha256 string)) {
	for _, r := range l.All() {
		for _, v := range r.Versions {
			f(v.SHA256)
		}
	}
}

// Publish adds a version, and the layer if it is the first. Its number is the next one.
func (l *Library) Publish(ctx context.Context, k Key, partition string, v Version) (*Record, *Version, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := &Record{Key: k, Partition: partition, Next: 1}
	if was := l.all[k].Record; was != nil {
		r = was.clone()
	}
	v.Number = r.Next
	r.Next++
	r.Versions = append(r.Versions, v)
	if err := l.putLocked(ctx, r); err != nil {
		return nil, nil, err
	}
	return r, r.Find(v.Number), nil
}

// Delete removes a version and returns what it was. The error is ErrNotFound when there is none.
func (l *Library) Delete(ctx context.Context, k Key, n int) (Version, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.all[k].Record
	if was == nil || was.Find(n) == nil {
		return Version{}, ErrNotFound
	}
	gone := *was.Find(n)
	r := was.clone()
	r.Versions = slices.DeleteFunc(r.Versions, func(v Version) bool { return v.Number == n })
	return gone, l.putLocked(ctx, r)
}

// ChangePolicy has f change the statements of a version, or refuse. The version has another policy revision then. The
// error is ErrNotFound when there is no such version.
func (l *Library) ChangePolicy(ctx context.Context, k Key, n int, f func(v *Version) error) (*Version, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.all[k].Record
	if was == nil || was.Find(n) == nil {
		return nil, ErrNotFound
	}
	r := was.clone()
	v := r.Find(n)
	v.Statements = slices.Clone(v.Statements)
	if err := f(v); err != nil {
		return nil, err
	}
	v.PolicyRevision = uuid.NewString()
	return v, l.putLocked(ctx, r)
}

func (l *Library) putLocked(ctx context.Context, r *Record) error {
	revision, err := l.store.Put(ctx, r, l.all[r.Key].Revision)
	if err != nil {
		return fmt.Errorf("layer %s: %w", r.Name, err)
	}
	all := maps.Clone(l.all)
	if all == nil {
		all = map[Key]Stored{}
	}
	all[r.Key] = Stored{r, revision}
	l.all = all
	return nil
}

func (r *Record) clone() *Record {
	c := *r
	c.Versions = slices.Clone(r.Versions)
	return &c
}
