package snapshot

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
)

// dictRun is a part of a pack's dictionary: pages of another pack, which is whole.
type dictRun struct {
	pack  PackRef
	slot  int
	count int
}

// base is an earlier snapshot of the same function, against which a Writer keeps its new pages as differences.
type base struct {
	s     *Store
	id    ID
	packs []*pack // whole ones, pinned by the Writer

	once  sync.Once
	warn  sync.Once
	err   error
	index []uint64 // feature<<32 | page, sorted; page counts through all packs
	first []int    // number of the first page of each pack
}

// How much of a base is used.
const (
	maxUnpacked = 4   // packs in memory for all that is made at a time, so 16 MiB; with less than maxDictFrom for each maker, more save little
	maxExtract  = 32  // the same for one snapshot that is read
	maxRandom   = 32  // the same for all Readers, so 128 MiB
	maxDictFrom = 12  // packs that one pack's dictionary is taken from: reading it reads all of them
	maxCommon   = 8   // a feature that more pages have tells nothing
	maxSketches = 256 // packs whose sketches are kept in memory, 64 KiB each
	minDiffer   = 32  // pages: fewer are kept whole, in a pack that a sweep can join with others
)

// baseLocked chooses the snapshot that new pages of a function are compared with: the latest. Its packs that are differences themselves do not count, only
// what they are differences from: so the chain has one link, however often a function is refreshed. nil: there is none. Caller holds s.mu.
func (s *Store) baseLocked(key Key) *base {
	var latest *Manifest
	for _, m := range s.manifests {
		if m.Key.Function == key.Function && m.Key.Runtime == key.Runtime && (latest == nil || m.Created.After(latest.Created) ||
			m.Created.Equal(latest.Created) && m.Generation > latest.Generation) {
			latest = m
		}
	}
	if latest == nil {
		return nil
	}
	b := &base{s: s, id: latest.ID}
	for _, ref := range latest.Packs {
		if p := s.packs[ID(ref.ID)]; p != nil && p.stored > 0 && !p.delta {
			b.packs = append(b.packs, p)
		}
	}
	if len(b.packs) == 0 {
		return nil
	}
	return b
}

// load makes the index from the sketches of all pages, reading the packs whose sketches are not in memory.
func (b *base) load(ctx context.Context) error {
	b.once.Do(func() {
		sketches := make([][]sketch, len(b.packs))
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(b.s.opt.Workers)
		for i, p := range b.packs {
			g.Go(func() (err error) {
				sketches[i], err = b.sketches(ctx, p)
				return err
			})
		}
		if b.err = g.Wait(); b.err != nil {
			return
		}
		page := 0
		for _, list := range sketches {
			b.first = append(b.first, page)
			for _, s := range list {
				for _, feature := range s {
					if feature != 0 {
						b.index = append(b.index, uint64(feature)<<32|uint64(page))
					}
				}
				page++
			}
		}
		slices.Sort(b.index)
	})
	return b.err
}

// sketches are those of all pages of a pack.
func (b *base) sketches(ctx context.Context, p *pack) ([]sketch, error) {
	s := b.s
	s.mu.Lock()
	list := p.sketches
	s.mu.Unlock()
	if list != nil {
		return list, nil
	}
	list = make([]sketch, p.pages)
	err := s.bases.use(ctx, b.id, PackRef{ID: string(p.id), Pages: p.pages}, func(pages []byte) error {
		for i := range list {
			list[i] = sketchOf(pages[i*PageSize : (i+1)*PageSize])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	p.sketches = list
	s.sketched = append(s.sketched, p)
	if len(s.sketched) > maxSketches {
		s.sketched[0].sketches = nil
		s.sketched = slices.Delete(s.sketched, 0, 1)
	}
	return list, nil
}

// similar appends the pages that have most in common with one, best first, at most basePages.
func (b *base) similar(page []byte, scratch []uint32) (best [basePages]int, n int, _ []uint32) {
	scratch = scratch[:0]
	for _, feature := range sketchOf(page) {
		if feature == 0 {
			break
		}
		lo, _ := slices.BinarySearch(b.index, uint64(feature)<<32)
		hi := lo
		for hi < len(b.index) && uint32(b.index[hi]>>32) == feature && hi-lo <= maxCommon {
			hi++
		}
		if hi-lo > maxCommon {
			continue
		}
		for _, e := range b.index[lo:hi] {
			scratch = append(scratch, uint32(e))
		}
	}
	slices.Sort(scratch)
	var votes [basePages]int
	for i := 0; i < len(scratch); {
		j := i
		for j < len(scratch) && scratch[j] == scratch[i] {
			j++
		}
		k := n
		for k > 0 && votes[k-1] < j-i {
			k--
		}
		if k < basePages {
			copy(best[k+1:], best[k:min(n, basePages-1)])
			copy(votes[k+1:], votes[k:min(n, basePages-1)])
			best[k], votes[k] = int(scratch[i]), j-i
			n = min(n+1, basePages)
		}
		i = j
	}
	return best, n, scratch
}

func (b *base) packOf(page int) int {
	i, found := slices.BinarySearch(b.first, page)
	if !found {
		i--
	}
	return i
}

// worthDiffer says whether a pack is large enough to be kept as differences: of the usual size minDiffer pages, of smaller ones a quarter.
func (s *Store) worthDiffer(pages int) bool { return pages >= min(minDiffer, s.opt.PackPages/4) }

// differ makes a pack's content of pages as differences from the base. A nil dictionary without an error says that they have too little in common with it.
func (b *base) differ(ctx context.Context, pages []byte) (delta []byte, dict []dictRun, err error) {
	if err := b.load(ctx); err != nil {
		return nil, nil, err
	}
	count := len(pages) / PageSize
	page := func(i int) []byte { return pages[i*PageSize : (i+1)*PageSize] }
	// A look at some of them tells whether it is worth while.
	if step := count / 32; step > 1 {
		var probe []byte
		for i := 0; i < count; i += step {
			probe = append(probe, page(i)...)
		}
		if _, dict, err := b.differ(ctx, probe); dict == nil {
			return nil, nil, err
		}
	}
	similar := make([][]int, count)
	from := make([]int, len(b.packs))
	var scratch []uint32
	for i := range similar {
		var best [basePages]int
		var n int
		best, n, scratch = b.similar(page(i), scratch)
		similar[i] = slices.Clone(best[:n])
		for _, p := range similar[i] {
			from[b.packOf(p)]++
		}
	}
	if few := slices.SortedFunc(slices.Values(from), func(x, y int) int { return cmp.Compare(y, x) }); len(few) > maxDictFrom {
		least := max(few[maxDictFrom-1], 1)
		left := maxDictFrom
		for i, n := range from {
			if n < least || left == 0 {
				from[i] = 0
			} else {
				left--
			}
		}
	}
	var all []int
	for i, list := range similar {
		similar[i] = slices.DeleteFunc(list, func(p int) bool { return from[b.packOf(p)] == 0 })
		all = append(all, similar[i]...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for _, p := range all {
		pack := b.packOf(p)
		ref, slot := PackRef{ID: string(b.packs[pack].id), Pages: b.packs[pack].pages}, p-b.first[pack]
		if n := len(dict); n > 0 && dict[n-1].pack.ID == ref.ID && dict[n-1].slot+dict[n-1].count == slot {
			dict[n-1].count++
		} else {
			dict = append(dict, dictRun{ref, slot, 1})
		}
	}
	content, free, err := b.s.bases.dictionary(ctx, b.id, dict)
	if err != nil {
		return nil, nil, err
	}
	defer free()
	var w deltaWriter
	var bases [basePages][]byte
	var places [basePages]int
	for i, list := range similar {
		for j, p := range list {
			places[j], _ = slices.BinarySearch(all, p)
			bases[j] = content[places[j]]
		}
		w.add(page(i), bases[:len(list)], places[:len(list)])
	}
	if len(w.literals) > len(pages)/2 {
		return nil, nil, nil
	}
	return w.bytes(), dict, nil
}

// dictOf reads where the dictionary of a pack lies; nil when the pack is whole.
func (m *Manifest) dictOf(pack int) (dict []dictRun, err error) {
	err = m.eachBase(pack, func(_ int, r dictRun) { dict = append(dict, r) })
	return dict, err
}

// eachBase calls f for every run of a pack's dictionary, with the index of the pack that has it.
func (m *Manifest) eachBase(pack int, f func(pack int, r dictRun)) error {
	pages := 0
	for b := m.Packs[pack].Base; len(b) > 0; {
		var v [3]uint64
		for i := range v {
			n := 0
			if v[i], n = binary.Uvarint(b); n <= 0 {
				return errRuns
			}
			b = b[n:]
		}
		if v[0] == 0 || v[0] > uint64(len(m.Packs)) || v[1] > maxPackPages || v[2] == 0 || v[2] > maxPackPages {
			return errRuns
		}
		ref := m.Packs[v[0]-1]
		if len(ref.Base) > 0 {
			return errors.New("a difference from a difference")
		}
		if v[1]+v[2] > uint64(ref.Pages) {
			return errRuns
		}
		if pages += int(v[2]); pages > basePages*maxPackPages {
			return errRuns
		}
		f(int(v[0]-1), dictRun{ref, int(v[1]), int(v[2])})
	}
	return nil
}

// runsOf writes a dictionary as a manifest has it; ref gives a pack's index there.
func runsOf(dict []dictRun, ref func(PackRef) int) []byte {
	var w runWriter
	for _, r := range dict {
		n := ref(r.pack)
		for i := range r.count {
			w.add(n, r.slot+i)
		}
	}
	w.flush()
	return w.b
}

// unpacker keeps the pages of some packs while they are needed again and again.
type unpacker struct {
	s   *Store
	max int // packs

	mu    sync.Mutex  // guards what follows
	users int         // of the unpacker: without one it keeps nothing
	packs []*unpacked // the one that was used last comes last
}

type unpacked struct {
	id   string
	uses int  // under way; guarded by unpacker.mu, as kept
	kept bool // it is one of unpacker.packs

	mu    sync.Mutex // held while it is unpacked
	pages *[]byte    // of Store.packBufs; nil: not read yet
}

func newUnpacker(s *Store, max int) *unpacker { return &unpacker{s: s, max: max} }

// open is called by who is going to use it for a while, and the function that it returns at the end.
func (u *unpacker) open() (close func()) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.users++
	return sync.OnceFunc(func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if u.users--; u.users == 0 {
			u.shrinkLocked(0)
		}
	})
}

func (u *unpacker) shrinkLocked(max int) {
	for len(u.packs) > max {
		p := u.packs[0]
		u.packs = slices.Delete(u.packs, 0, 1)
		p.kept = false
		u.freeLocked(p)
	}
}

func (u *unpacker) freeLocked(p *unpacked) {
	if p.uses == 0 && !p.kept && p.pages != nil {
		*p.pages = (*p.pages)[:0] // as Writer.newPage expects it
		u.s.packBufs.Put(p.pages)
		p.pages = nil
	}
}

// use calls f with the pages of a whole pack, which are there for the length of the call. id is the snapshot's that is
// read, for errors.
func (u *unpacker) use(ctx context.Context, id ID, ref PackRef, f func(pages []byte) error) error {
	return u.useAny(ctx, id, ref, nil, f)
}

// useAny is use for a pack that may be differences from a dictionary: its bases are kept here as well.
func (u *unpacker) useAny(ctx context.Context, id ID, ref PackRef, dict []dictRun, f func(pages []byte) error) error {
	u.mu.Lock()
	i := slices.IndexFunc(u.packs, func(p *unpacked) bool { return p.id == ref.ID })
	p := &unpacked{id: ref.ID, kept: true}
	if i >= 0 {
		p = u.packs[i]
		u.packs = slices.Delete(u.packs, i, i+1)
	}
	p.uses++
	u.packs = append(u.packs, p)
	u.shrinkLocked(u.max)
	u.mu.Unlock()
	defer func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		p.uses--
		u.freeLocked(p)
	}()
	if err := u.read(ctx, id, ref, dict, p); err != nil {
		return err
	}
	return f(*p.pages)
}

func (u *unpacker) read(ctx context.Context, id ID, ref PackRef, dict []dictRun, p *unpacked) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pages != nil {
		return nil
	}
	buf := u.s.packBufs.Get().(*[]byte)
	if err := u.s.decodePack(ctx, id, ref, dict, u, buf); err != nil {
		*buf = (*buf)[:0]
		u.s.packBufs.Put(buf)
		return err
	}
	p.pages = buf
	return nil
}

// dictionary gathers the pages of a dictionary. They are there until free is called.
func (u *unpacker) dictionary(ctx context.Context, id ID, dict []dictRun) (pages [][]byte, free func(), err error) {
	buf := u.s.dictBufs.Get().(*[]byte)
	free = func() { u.s.dictBufs.Put(buf) }
	size := 0
	for _, r := range dict {
		size += r.count * PageSize
	}
	*buf = slices.Grow((*buf)[:0], size)[:size]
	rest := *buf
	for _, r := range dict {
		err := u.use(ctx, id, r.pack, func(all []byte) error {
			rest = rest[copy(rest, all[r.slot*PageSize:(r.slot+r.count)*PageSize]):]
			return nil
		})
		if err != nil {
			free()
			return nil, nil, err
		}
	}
	for page := range slices.Chunk(*buf, PageSize) {
		pages = append(pages, page)
	}
	return pages, free, nil
}
