package snapshot

import (
	"context"
	"errors"
	"slices"
)

// smallPacks is how many packs that are less than an eighth full a sweep suffers before it joins them.
const smallPacks = 64

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

// compact empties packs that are mostly garbage, or many that are small, into new ones and writes the manifests anew. A
// crash in the midst leaves manifests of which each is right.
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
