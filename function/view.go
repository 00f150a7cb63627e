package function

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
)

// View is all functions in memory, made from a Store's changes. Reading takes no lock: readers share an immutable snapshot.
type View struct {
	snap atomic.Pointer[viewSnapshot]

	mu       sync.Mutex // writers only
	loaded   bool       // before, nobody reads and entries are filled in place
	versions map[versionKey]*VersionRecord
	waiters  map[chan struct{}]uint64
}

type versionKey struct {
	Key
	incarnation uint64
	number      int
}

type viewSnapshot struct {
	entries  map[Key]*Entry
	reserved int // sum over all functions
	// provisioned is the sum over functions without a reservation: that of the others is part of it.
	provisioned int
	urls        map[string]OfURL // by ID
	revision    uint64
}

// Entry is one function and its published versions at one moment. Nothing in it ever changes.
type Entry struct {
	Record      *Record
	versions    map[int]*VersionRecord
	latest      *Version
	serving     map[VersionNumber]*Version // only those that can serve
	routes      map[Qualifier]route        // by number and alias
	provisioned map[VersionNumber]int
	replaced    chan struct{}
}

// NewView returns an empty view. Nothing may be read from it before Loaded.
func NewView() *View {
	v := &View{versions: map[versionKey]*VersionRecord{}, waiters: map[chan struct{}]uint64{}}
	v.snap.Store(&viewSnapshot{entries: map[Key]*Entry{}, urls: map[string]OfURL{}})
	return v
}

// Loaded says that all that was stored has been applied: from now on it may be read.
func (v *View) Loaded() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.loaded = true
}

// Get returns a function, nil when there is none.
func (v *View) Get(k Key) *Entry { return v.snap.Load().entries[k] }

// Reserved is the sum of all reserved concurrency.
func (v *View) Reserved() int { return v.snap.Load().reserved }

// Provisioned is the sum of the provisioned concurrency that no reservation contains.
func (v *View) Provisioned() int { return v.snap.Load().provisioned }

// All returns every function in the order of account, region and name.
func (v *View) All() []*Entry {
	s := v.snap.Load()
	return slices.SortedFunc(maps.Values(s.entries), func(a, b *Entry) int {
		return cmp.Or(cmp.Compare(a.Record.Account, b.Record.Account), cmp.Compare(a.Record.Region, b.Record.Region), cmp.Compare(a.Record.Name, b.Record.Name))
	})
}

// Replaced is closed as soon as a newer Entry, or none, stands for the function.
func (e *Entry) Replaced() <-chan struct{} { return e.replaced }

// Serving returns what an invocation of a version runs; nil when there is no such version or it cannot serve now.
func (e *Entry) Serving(number VersionNumber) *Version {
	if number == Latest {
		return e.latest
	}
	return e.serving[number]
}

// Version returns a published version, nil when there is none.
func (e *Entry) Version(n int) *VersionRecord { return e.versions[n] }

// Versions returns the published versions, ascending.
func (e *Entry) Versions() []*VersionRecord {
	out := make([]*VersionRecord, 0, len(e.Record.Numbers))
	for _, n := range e.Record.Numbers {
		if vr := e.versions[n]; vr != nil {
			out = append(out, vr)
		}
	}
	return out
}

// Codes calls f with the hash of every package that the function still needs, of code and of layers, and with the names of
// what its layers are together.
func (e *Entry) Codes(f func(sha256 string)) {
	e.Record.Latest.Config.Folders(f)
	if e.Record.Before != nil {
		e.Record.Before.Config.Folders(f)
	}
	for _, vr := range e.versions {
		vr.Config.Folders(f)
	}
}

// Apply takes one change of the store. Changes come in the order of their revisions; one that was seen before is ignored.
func (v *View) Apply(c Change) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.snap.Load()
	if c.Revision <= old.revision {
		return
	}
	next := &viewSnapshot{entries: old.entries, reserved: old.reserved, provisioned: old.provisioned, urls: old.urls, revision: c.Revision}
	if c.Key != (Key{}) {
		v.applyLocked(old, next, c)
	}
	v.snap.Store(next)
	if e := old.entries[c.Key]; e != nil && next.entries[c.Key] != e {
		close(e.replaced) // after the new one can be seen
	}
	for ch, revision := range v.waiters {
		if revision <= c.Revision {
			close(ch)
			delete(v.waiters, ch)
		}
	}
}

func (v *View) applyLocked(old, next *viewSnapshot, c Change) {
	was := old.entries[c.Key]
	record := c.Function
	if c.Number != 0 {
		vk := versionKey{c.Key, c.Incarnation, c.Number}
		if c.Version == nil {
			delete(v.versions, vk)
		} else {
			v.versions[vk] = c.Version
		}
		if was == nil || was.Record.Incarnation != c.Incarnation || !was.Record.Has(c.Number) {
			return // not listed: nobody sees it
		}
		record = was.Record
	}
	if v.loaded {
		next.entries = maps.Clone(old.entries)
	}
	var before *Record
	if was != nil {
		before = was.Record
	}
	next.moveURLs(before, record, !v.loaded)
	switch {
	case was == nil:
	case was.Record.Reserved != nil:
		next.reserved -= *was.Record.Reserved
	default:
		next.provisioned -= was.Record.ProvisionedTotal()
	}
	if record == nil {
		delete(next.entries, c.Key)
		return
	}
	if record.Reserved != nil {
		next.reserved += *record.Reserved
	} else {
		next.provisioned += record.ProvisionedTotal()
	}
	e := &Entry{
		Record: record, latest: record.ServesLatest(), replaced: make(chan struct{}),
		versions: make(map[int]*VersionRecord, len(record.Numbers)), serving: make(map[VersionNumber]*Version, len(record.Numbers)),
	}
	for _, n := range record.Numbers {
		vr := v.versions[versionKey{c.Key, record.Incarnation, n}]
		if vr == nil {
			continue
		}
		e.versions[n] = vr
		if s := record.Serves(vr); s != nil {
			e.serving[NumberOf(n)] = s
		}
	}
	e.routes, e.provisioned = e.routesOf(), e.provisionedByVersion()
	next.entries[c.Key] = e
}

// Wait returns when the change of that revision has been applied.
func (v *View) Wait(ctx context.Context, revision uint64) error {
	v.mu.Lock()
	if v.snap.Load().revision >= revision {
		v.mu.Unlock()
		return nil
	}
	ch := make(chan struct{})
	v.waiters[ch] = revision
	v.mu.Unlock()
	select {
	case <-ch:
		return nil
	case <-ctx.Done():
		v.mu.Lock()
		delete(v.waiters, ch)
		v.mu.Unlock()
		return context.Cause(ctx)
	}
}

// Unlisted returns the stored versions that no function lists: what a death between two writes left.
func (v *View) Unlisted() []Change {
	v.mu.Lock()
	defer v.mu.Unlock()
	entries := v.snap.Load().entries
	var out []Change
	for vk, vr := range v.versions {
		if e := entries[vk.Key]; e == nil || e.Record.Incarnation != vk.incarnation || !e.Record.Has(vk.number) {
			out = append(out, Change{Key: vk.Key, Incarnation: vk.incarnation, Number: vk.number, Version: vr})
		}
	}
	return out
}
