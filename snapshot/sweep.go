package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Swept says what a Sweep did.
type Swept struct {
	Manifests  int   // removed: in no record, and of nobody
	Packs      int   // removed, moved ones included
	Bytes      int64 // of these packs, as stored
	MovedPages int   // into new packs, to be rid of packs with few pages in use
	Damaged    int   // manifests removed because they cannot be read
}

// smallPacks is how many packs that are less than an eighth full a sweep suffers before it joins them.
const smallPacks = 64

// Sweep removes what nothing refers to. live returns the snapshots that records name; it is called once, after the manifests were listed.
// Packs of which less than Options.MinLive is in use are emptied into new ones. Writers and extractions may go on meanwhile. After an
// error everything is still consistent; the next sweep goes on.
func (s *Store) Sweep(ctx context.Context, live func(context.Context) (map[ID]bool, error)) (Swept, error) {
	s.sweeping.Lock()
	defer s.sweeping.Unlock()
	var done Swept
	err := s.sweep(ctx, live, &done)
	if err != nil {
		err = fmt.Errorf("sweep of snapshots: %w", err)
	}
	return done, err
}

func (s *Store) sweep(ctx context.Context, live func(context.Context) (map[ID]bool, error), done *Swept) error {
	if err := s.sweepTombs(ctx); err != nil {
		return err
	}
	if err := s.sweepManifests(ctx, live, done); err != nil {
		return err
	}
	if err := s.compact(ctx, done); err != nil {
		return err
	}
	if err := s.sweepPacks(ctx, done); err != nil {
		return err
	}
	return s.sweepIndexes(ctx)
}

// sweepManifests. The order matters: list, then who is held, then who is live. What is held at the second step stays. What is
// not held then was closed before, so that its record, if there is one, is seen at the third.
func (s *Store) sweepManifests(ctx context.Context, live func(context.Context) (map[ID]bool, error), done *Swept) error {
	if err := s.syncManifests(ctx, done); err != nil {
		return err
	}
	s.mu.Lock()
	var candidates []*Manifest
	for id, m := range s.manifests {
		if !s.held[id] {
			candidates = append(candidates, m)
		}
	}
	s.mu.Unlock()
	alive, err := live(ctx)
	if err != nil {
		return err
	}
	for _, m := range candidates {
		if alive[m.ID] || s.opt.Now().Sub(m.Created) < s.opt.OrphanAge {
			continue
		}
		if err := s.Delete(ctx, m.ID); err != nil {
			return err
		}
		done.Manifests++
	}
	return nil
}

// syncManifests brings in what other servers wrote and removed.
func (s *Store) syncManifests(ctx context.Context, done *Swept) error {
	s.mu.Lock()
	before := maps.Clone(s.manifests) // these were durable before the list below begins
	s.mu.Unlock()
	list, err := s.blobs.List(ctx, manifestDir+"/")
	if err != nil {
		return err
	}
	var unknown []BlobInfo
	s.mu.Lock()
	for _, info := range list {
		id := ID(strings.TrimPrefix(info.Key, manifestDir+"/"))
		delete(before, id)
		if s.manifests[id] == nil && !s.held[id] {
			unknown = append(unknown, info)
		}
	}
	for id, m := range before {
		if s.manifests[id] == m {
			delete(s.manifests, id)
		}
	}
	s.mu.Unlock()
	return s.eachBlob(ctx, unknown, func(key string, b []byte, err error) error {
		var m *Manifest
		if err == nil {
			m, err = parseManifestOf(key, b)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if err == nil {
			if !s.held[m.ID] {
				s.addManifestLocked(m)
			}
			return nil
		}
		s.log.Warn("damaged snapshot manifest is removed", "blob", key, "err", err)
		done.Damaged++
		return s.blobs.Delete(ctx, key)
	})
}

// slotUseLocked counts by how many manifests each slot of each pack is used. Caller holds s.mu.
func (s *Store) slotUseLocked() map[ID][]uint32 {
	used := make(map[ID][]uint32, len(s.packs))
	for _, m := range s.manifests {
		m.countSlots(used, true)
	}
	return used
}

// countSlots counts the slots that a manifest uses: by its files, and with bases as what they are differences from.
func (m *Manifest) countSlots(used map[ID][]uint32, bases bool) {
	mine := make([][]bool, len(m.Packs)) // a slot that one manifest uses twice counts once
	for i := range m.Files {
		m.eachRun(&m.Files[i], func(_ int64, r run) { // validated before
			if r.pack < 0 {
				return
			}
			if mine[r.pack] == nil {
				mine[r.pack] = make([]bool, m.Packs[r.pack].Pages)
			}
			for n := range r.count {
				mine[r.pack][r.slot+n] = true
			}
		})
	}
	for i := 0; bases && i < len(m.Packs); i++ {
		m.eachBase(i, func(pack int, r dictRun) { // validated before
			if mine[pack] == nil {
				mine[pack] = make([]bool, r.pack.Pages)
			}
			for n := range r.count {
				mine[pack][r.slot+n] = true
			}
		})
	}
	for i, slots := range mine {
		if slots == nil && !bases { // a pack that is there as a base only
			continue
		}
		id := ID(m.Packs[i].ID)
		if used[id] == nil {
			used[id] = make([]uint32, m.Packs[i].Pages)
		}
		for n, is := range slots {
			if is {
				used[id][n]++
			}
		}
	}
}

// compact empties packs that are mostly garbage, or many that are small, into new ones and writes the manifests anew. A crash in the
// midst leaves manifests of which each is right.
func (s *Store) compact(ctx context.Context, done *Swept) error {
	s.mu.Lock()
	for _, m := range s.manifests {
		s.noteDictsLocked(m) // those of a manifest that went meanwhile may lie where nobody keeps them
	}
	used := s.slotUseLocked()
	var sparse, small []*pack
	for id, slots := range used {
		p := s.packs[id]
		if p == nil || p.pins > 0 {
			continue
		}
		n := 0
		for _, c := range slots {
			if c > 0 {
				n++
			}
		}
		switch {
		case n == 0: // goes anyway
		case p.delta: // its pages take more room as pages
			if float64(n) < s.opt.MinLive/4*float64(p.pages) && s.sharesLocked(p) {
				sparse = append(sparse, p)
			}
		case float64(n) < s.opt.MinLive*float64(p.pages):
			sparse = append(sparse, p)
		case n < s.opt.PackPages/8:
			small = append(small, p)
		}
	}
	if len(small) >= smallPacks {
		sparse = append(sparse, small...)
	}
	for _, p := range sparse {
		p.pins++ // ours: the pages are read below
	}
	s.mu.Unlock()
	if len(sparse) == 0 {
		return nil
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range sparse {
			p.pins--
		}
	}()
	moved, err := s.movePages(ctx, sparse, used, done)
	if err != nil || len(moved.to) == 0 {
		return err
	}
	return s.rewriteManifests(ctx, moved)
}

// move is where pages of emptied packs went.
type move struct {
	from map[ID]bool // packs that were emptied
	to   map[slotOf]slotOf
	size map[ID]int // pages of the new packs
}

type slotOf struct {
	pack ID
	slot int
}

func (s *Store) movePages(ctx context.Context, sparse []*pack, used map[ID][]uint32, done *Swept) (move, error) {
	mv := move{map[ID]bool{}, map[slotOf]slotOf{}, map[ID]int{}}
	h := s.key.newPageHasher()
	var indexes []packIndex
	var buf []byte
	fill := packIndex{id: NewID()}
	stored := map[ID]int64{}
	unpacked := newUnpacker(s, maxUnpacked)
	defer unpacked.open()()
	dicts := map[*pack][]dictRun{}
	s.mu.Lock()
	for _, p := range sparse {
		dicts[p] = p.dict
	}
	s.mu.Unlock()
	flush := func() error {
		if len(fill.hashes) == 0 {
			return nil
		}
		sealed, _, err := s.pack(ctx, fill.id, buf, nil)
		if err == nil {
			err = s.blobs.Put(ctx, packKey(fill.id), sealed)
		}
		if err != nil {
			return err
		}
		stored[fill.id] = int64(len(sealed))
		mv.size[fill.id] = len(fill.hashes)
		indexes = append(indexes, fill)
		fill, buf = packIndex{id: NewID()}, buf[:0]
		return nil
	}
	for _, p := range sparse {
		err := s.readPack(ctx, "", PackRef{ID: string(p.id), Pages: p.pages}, dicts[p], unpacked, func(pages []byte) error {
			for slot, n := range used[p.id] {
				if n == 0 {
					continue
				}
				page := pages[slot*PageSize : (slot+1)*PageSize]
				mv.to[slotOf{p.id, slot}] = slotOf{fill.id, len(fill.hashes)}
				fill.hashes = append(fill.hashes, h.hash(page))
				buf = append(buf, page...)
				if len(fill.hashes) == s.opt.PackPages {
					if err := flush(); err != nil {
						return err
					}
				}
			}
			return nil
		})
		if errors.As(err, new(*CorruptError)) { // its snapshots find that out themselves
			continue
		}
		if err != nil {
			return mv, err
		}
		mv.from[p.id] = true
	}
	if err := flush(); err != nil {
		return mv, err
	}
	if len(indexes) == 0 {
		return mv, nil
	}
	if _, err := s.putSmall(ctx, indexDir+"/"+string(NewID()), marshalIndex(indexes)); err != nil {
		return mv, err
	}
	done.MovedPages += len(mv.to)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hidePacksLocked(slices.DeleteFunc(slices.Clone(sparse), func(p *pack) bool { return !mv.from[p.id] || s.packs[p.id] != p })...)
	for _, idx := range indexes {
		s.addPackLocked(idx, stored[idx.id])
	}
	return mv, nil
}

func (s *Store) rewriteManifests(ctx context.Context, mv move) error {
	s.mu.Lock()
	var old []*Manifest
	for _, m := range s.manifests {
		if slices.ContainsFunc(m.Packs, func(r PackRef) bool { return mv.from[ID(r.ID)] }) {
			old = append(old, m)
		}
	}
	s.mu.Unlock()
	for _, m := range old {
		next, err := m.moved(mv)
		if err != nil {
			return err
		}
		if next == nil {
			continue
		}
		b, err := next.Marshal()
		if err != nil {
			return err
		}
		s.mu.Lock()
		gone := s.manifests[m.ID] != m
		s.mu.Unlock()
		if gone {
			continue
		}
		if _, err := s.putSmall(ctx, manifestKey(m.ID), b); err != nil {
			return err
		}
		s.mu.Lock()
		gone = s.manifests[m.ID] != m
		if !gone {
			s.manifests[m.ID] = next
			s.noteDictsLocked(next)
		}
		s.mu.Unlock()
		if gone { // deleted while we wrote: the blob must not come back
			if err := s.blobs.Delete(ctx, manifestKey(m.ID)); err != nil {
				return err
			}
		}
	}
	return nil
}

// moved is the manifest with its pages at their new places; nil when one of them has none.
func (m *Manifest) moved(mv move) (*Manifest, error) {
	next := *m
	next.Packs, next.Files = nil, slices.Clone(m.Files)
	refs := map[ID]int{}
	olds := map[ID]int{} // indexes into m.Packs
	for i, p := range m.Packs {
		olds[ID(p.ID)] = i
	}
	lost := false
	ref := func(id ID, pages int) int {
		n, ok := refs[id]
		if !ok {
			n = len(next.Packs)
			refs[id] = n
			next.Packs = append(next.Packs, PackRef{ID: string(id), Pages: pages})
		}
		return n
	}
	// put adds the slot of a page, wherever it lies now.
	put := func(w *runWriter, old PackRef, slot int) {
		if !mv.from[ID(old.ID)] {
			w.add(ref(ID(old.ID), old.Pages), slot)
		} else if to, ok := mv.to[slotOf{ID(old.ID), slot}]; ok {
			w.add(ref(to.pack, mv.size[to.pack]), to.slot)
		} else {
			lost = true
		}
	}
	for i := range next.Files {
		f := &next.Files[i]
		var w runWriter
		err := m.eachRun(f, func(_ int64, r run) {
			for n := range r.count {
				if r.pack < 0 {
					w.add(-1, 0)
					continue
				}
				put(&w, m.Packs[r.pack], r.slot+n)
			}
		})
		if err != nil {
			return nil, err
		}
		w.flush()
		f.Runs = w.b
	}
	for i := range next.Packs { // those that are appended meanwhile are whole
		old, ok := olds[ID(next.Packs[i].ID)]
		if !ok {
			continue
		}
		dict, err := m.dictOf(old)
		if err != nil {
			return nil, err
		}
		var w runWriter
		for _, r := range dict {
			for n := range r.count {
				put(&w, r.pack, r.slot+n)
			}
		}
		w.flush()
		next.Packs[i].Base = w.b
	}
	if lost { // a manifest that came after the slots were counted; its packs stay for now
		return nil, nil
	}
	return &next, next.validate()
}

// sweepPacks removes packs that no manifest uses.
func (s *Store) sweepPacks(ctx context.Context, done *Swept) error {
	list, err := s.blobs.List(ctx, packDir+"/")
	if err != nil {
		return err
	}
	s.mu.Lock()
	used := map[ID]bool{}
	for _, m := range s.manifests {
		for _, ref := range m.Packs {
			used[ID(ref.ID)] = true
		}
	}
	dead := map[ID]int64{}
	var known []*pack
	for _, info := range list {
		id := packOf(info.Key)
		if used[id] {
			continue
		}
		p := s.packs[id]
		if p == nil {
			// A crashed writer's, or one that another server is about to refer to.
			if first, ok := s.strangers[id]; !ok {
				s.strangers[id] = s.opt.Now()
			} else if len(s.held) == 0 && s.opt.Now().Sub(first) >= s.opt.OrphanAge {
				dead[id] = info.Size
			}
			continue
		}
		p.stored = info.Size
		if p.pins == 0 {
			known = append(known, p)
			dead[id] = info.Size
		}
	}
	if len(known) > 0 {
		s.forgetPacksLocked(known...)
	}
	s.mu.Unlock()
	if len(dead) == 0 {
		return nil
	}
	return s.bury(ctx, dead, done)
}

// A tomb names packs that a sweep deletes.
type tomb struct {
	Made  time.Time `json:"made"`
	Packs []ID      `json:"packs"`
}

// bury deletes packs by the protocol that the package comment describes.
func (s *Store) bury(ctx context.Context, dead map[ID]int64, done *Swept) error {
	t := tomb{Made: s.opt.Now(), Packs: slices.Sorted(maps.Keys(dead))}
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	key := tombDir + "/" + string(NewID())
	if _, err := s.putSmall(ctx, key, b); err != nil {
		return err
	}
	if err := s.syncManifests(ctx, done); err != nil {
		return err
	}
	s.mu.Lock()
	for _, m := range s.manifests {
		for _, ref := range m.Packs {
			delete(dead, ID(ref.ID)) // another server refers to it after all
		}
	}
	s.mu.Unlock()
	for id, size := range dead {
		if err := s.blobs.Delete(ctx, packKey(id)); err != nil {
			return err
		}
		done.Packs++
		done.Bytes += size
		s.mu.Lock()
		delete(s.strangers, id)
		s.mu.Unlock()
	}
	return s.blobs.Delete(ctx, key)
}

// tombs calls f with every tomb that there is.
func (s *Store) tombs(ctx context.Context, f func(key string, t tomb) error) error {
	list, err := s.blobs.List(ctx, tombDir+"/")
	if err != nil {
		return err
	}
	return s.eachBlob(ctx, list, func(key string, b []byte, err error) error {
		var t tomb
		if err == nil {
			err = json.Unmarshal(b, &t)
		}
		if err != nil { // it protects nothing
			return s.blobs.Delete(ctx, key)
		}
		return f(key, t)
	})
}

// sweepTombs removes what interrupted sweeps left: the packs are looked at again like all others.
func (s *Store) sweepTombs(ctx context.Context) error {
	return s.tombs(ctx, func(key string, t tomb) error {
		if s.opt.Now().Sub(t.Made) < s.opt.OrphanAge {
			return nil
		}
		return s.blobs.Delete(ctx, key)
	})
}

// checkTombs answers ErrSwept when one of the packs is about to be deleted by another server, and shares it no more.
func (s *Store) checkTombs(ctx context.Context, packs map[ID]bool) error {
	return s.tombs(ctx, func(_ string, t tomb) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		var hit []*pack
		for _, id := range t.Packs {
			if p := s.packs[id]; packs[id] && p != nil {
				hit = append(hit, p)
			}
		}
		if len(hit) == 0 {
			return nil
		}
		s.hidePacksLocked(hit...)
		return ErrSwept
	})
}

// sweepIndexes removes indexes of which no pack is left. An index comes after its packs, so packs are listed after indexes.
func (s *Store) sweepIndexes(ctx context.Context) error {
	list, err := s.blobs.List(ctx, indexDir+"/")
	if err != nil {
		return err
	}
	packs, err := s.blobs.List(ctx, packDir+"/")
	if err != nil {
		return err
	}
	there := make(map[ID]bool, len(packs))
	for _, info := range packs {
		there[packOf(info.Key)] = true
	}
	return s.eachBlob(ctx, list, func(key string, b []byte, err error) error {
		var packs []packIndex
		if err == nil {
			packs, err = parseIndex(b)
		}
		if err == nil && slices.ContainsFunc(packs, func(p packIndex) bool { return there[p.id] }) {
			return nil
		}
		return s.blobs.Delete(ctx, key)
	})
}
