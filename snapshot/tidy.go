package snapshot

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Tidying is what Tidy works on. Store and Records must be given.
type Tidying struct {
	Store   *Store
	Records Records
	Cache   *Cache             // may be nil
	Limit   int64              // bytes of packs as stored; 0: none
	Keep    time.Duration      // a version used within it keeps its current snapshot even over the limit
	InUse   func(Version) bool // environments of it live; nil: none do
	// Complete answers an error while records may be missing (function.Store); nothing is deleted then. nil: they never are.
	Complete func() error
	// Evict lets the current snapshot of a version go, record and files, if it is the given one still, and says whether
	// it did. nil: Tidy does it. A server that remembers records writes them by its own way.
	Evict func(ctx context.Context, v Version, id ID) (bool, error)
	Now   time.Time
}

// Tidied says what Tidy did.
type Tidied struct {
	Swept   Swept
	Evicted []Version // whose current snapshot went for want of disk
	Over    int64     // bytes that are still over the limit
}

// Tidy removes what nothing needs, and, over the limit, the snapshots of the versions that were not used for longest. It is to be called after
// snapshots were made, and now and then. What environments have open stays readable.
func Tidy(ctx context.Context, t Tidying) (Tidied, error) {
	var done Tidied
	if t.Complete != nil {
		if err := t.Complete(); err != nil {
			return done, fmt.Errorf("nothing is swept: %w", err)
		}
	}
	live := func(ctx context.Context) (map[ID]bool, error) { return LiveIDs(ctx, t.Records) }
	sweep := func() error {
		before := t.Store.List()
		swept, err := t.Store.Sweep(ctx, live)
		done.Swept.add(swept)
		if t.Cache != nil && swept.Manifests > 0 {
			after := map[ID]bool{}
			for _, m := range t.Store.List() {
				after[m.ID] = true
			}
			for _, m := range before {
				if !after[m.ID] {
					t.Cache.Drop(m.ID)
				}
			}
		}
		return err
	}
	if err := sweep(); err != nil {
		return done, err
	}
	if t.Limit <= 0 {
		return done, nil
	}
	usage := t.Store.Usage()
	if usage.Bytes <= t.Limit {
		return done, nil
	}
	list, err := t.Records.List(ctx)
	if err != nil {
		return done, fmt.Errorf("snapshot records: %w", err)
	}
	var tenants []Tenant
	of := map[ID]Version{}
	for _, r := range list {
		if r.Current != nil {
			of[r.Current.ID] = r.Version
			tenants = append(tenants, Tenant{r.Current.ID, r.Version, r.LastUsed, true, t.InUse != nil && t.InUse(r.Version)})
		}
	}
	var ids []ID
	ids, done.Over = Evict(usage, tenants, t.Limit, t.Now, t.Keep)
	evict := t.Evict
	if evict == nil {
		evict = t.evict
	}
	for _, id := range ids {
		gone, err := evict(ctx, of[id], id)
		if err != nil {
			return done, err
		}
		if gone {
			done.Evicted = append(done.Evicted, of[id])
		}
	}
	return done, sweep()
}

func (t *Tidying) evict(ctx context.Context, v Version, id ID) (bool, error) {
	_, err := Update(ctx, t.Records, v, func(r *Record) error {
		_, err := r.Evict(id, t.Now)
		return err
	})
	if errors.Is(err, ErrNotCurrent) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if err := t.Store.Delete(ctx, id); err != nil {
		return false, err
	}
	if t.Cache != nil {
		t.Cache.Drop(id)
	}
	return true, nil
}

// ErrNotCurrent is the fact that another snapshot is current by now.
var ErrNotCurrent = errors.New("another snapshot is current")

// Evict is Move(Evicted) for a snapshot that was current when somebody looked. The error is ErrNotCurrent when it is not
// any more.
func (r *Record) Evict(id ID, now time.Time) ([]Step, error) {
	if r.Current.id() != id {
		return nil, ErrNotCurrent
	}
	return r.Move(Evicted, now)
}

func (s *Swept) add(o Swept) {
	s.Manifests += o.Manifests
	s.Packs += o.Packs
	s.Bytes += o.Bytes
	s.MovedPages += o.MovedPages
	s.Damaged += o.Damaged
}
