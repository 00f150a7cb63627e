package snapshot

import (
	"cmp"
	"slices"
	"time"
)

// Usage is what the snapshots of a store cost at one moment.
type Usage struct {
	Bytes     int64 // all packs, as stored
	Snapshots map[ID]Share
	slots     map[ID][]uint32 // pack -> by how many snapshots each slot is used
	stored    map[ID]int64
	manifests map[ID]*Manifest
}

// Share is one snapshot's part.
type Share struct {
	Size        int64 // bytes of its files
	Pages       int   // that are kept for it; zeros and repeated ones are not
	SharedPages int   // of these, that others need too
	OwnBytes    int64 // as stored, of the pages that go with it
}

// SharedShare is the part of its pages that others need too, from 0 to 1.
func (s Share) SharedShare() float64 {
	if s.Pages == 0 {
		return 0
	}
	return float64(s.SharedPages) / float64(s.Pages)
}

// Usage counts. It reads memory only: some milliseconds for each 100 snapshots.
func (s *Store) Usage() *Usage {
	s.mu.Lock()
	u := &Usage{slots: s.slotUseLocked(), stored: make(map[ID]int64, len(s.packs)), manifests: make(map[ID]*Manifest, len(s.manifests))}
	for id, p := range s.packs {
		u.stored[id] = p.stored
		u.Bytes += p.stored
	}
	for id, m := range s.manifests {
		u.manifests[id] = m
	}
	s.mu.Unlock()
	u.Snapshots = make(map[ID]Share, len(u.manifests))
	for id, m := range u.manifests {
		sh := Share{Size: m.Size()}
		var own float64
		u.each(m, false, func(pack ID, slot int) {
			sh.Pages++
			if u.slots[pack][slot] > 1 {
				sh.SharedPages++
			}
		})
		u.each(m, true, func(pack ID, slot int) {
			if u.slots[pack][slot] == 1 {
				own += u.pageBytes(pack)
			}
		})
		sh.OwnBytes = int64(own)
		u.Snapshots[id] = sh
	}
	return u
}

// pageBytes is what one page of a pack takes, as stored.
func (u *Usage) pageBytes(pack ID) float64 {
	return float64(u.stored[pack]) / float64(max(1, len(u.slots[pack])))
}

// each calls f once for every slot that a manifest uses, and with bases for those that its pages are differences from, too.
func (u *Usage) each(m *Manifest, bases bool, f func(pack ID, slot int)) {
	mine := map[ID][]uint32{}
	m.countSlots(mine, bases)
	for pack, slots := range mine {
		for slot, n := range slots {
			if n > 0 {
				f(pack, slot)
			}
		}
	}
}

// take removes a snapshot from the count and returns about how many bytes that frees once a sweep was there.
func (u *Usage) take(id ID) int64 {
	m := u.manifests[id]
	if m == nil {
		return 0
	}
	delete(u.manifests, id)
	var freed float64
	u.each(m, true, func(pack ID, slot int) {
		if u.slots[pack][slot]--; u.slots[pack][slot] == 0 {
			freed += u.pageBytes(pack)
		}
	})
	return int64(freed)
}

// Tenant is a snapshot that may have to go for want of disk.
type Tenant struct {
	ID       ID
	Version  Version
	LastUsed time.Time // of its version
	Current  bool
	InUse    bool // environments of it live, or one is being restored
}

// Evict chooses what goes so that the store holds at most limit bytes: snapshots that are not current first, then the least recently
// used versions. Never one in use, nor the current one of a version that was used within keep. The order is that in which to remove. It may not
// suffice; over says by how many bytes. u is used up.
func Evict(u *Usage, tenants []Tenant, limit int64, now time.Time, keep time.Duration) (ids []ID, over int64) {
	over = u.Bytes - limit
	tenants = slices.Clone(tenants)
	slices.SortFunc(tenants, func(a, b Tenant) int {
		if a.Current != b.Current {
			if a.Current {
				return 1
			}
			return -1
		}
		return cmp.Or(a.LastUsed.Compare(b.LastUsed), cmp.Compare(a.ID, b.ID))
	})
	for _, t := range tenants {
		if over <= 0 {
			break
		}
		if t.InUse || t.Current && now.Sub(t.LastUsed) < keep {
			continue
		}
		over -= u.take(t.ID)
		ids = append(ids, t.ID)
	}
	return ids, max(over, 0)
}
