package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"
)

// blockPages is how many pages are read and hashed as one piece of work.
const blockPages = 128

// Writer makes one snapshot. Its methods may be called from several goroutines, so that kernel state and pages can come as two
// streams at once; Commit comes after all Adds have returned.
type Writer struct {
	s     *Store
	ctx   context.Context // of Begin: the life of this writer
	packs *errgroup.Group // pack writes under way
	pctx  context.Context

	mu      sync.Mutex
	m       *Manifest        // Meta.ID never changes and may be read without mu
	refs    map[*pack]int    // index into m.Packs
	pending map[pageHash]loc // pages of packs that are not durable yet; loc.pack indexes m.Packs
	fill    *fillingPack
	indexes []packIndex
	failed  error
	done    bool // committed or closed: nothing can be added
	closed  bool
	base    *base  // nil: none, all is kept whole
	bases   func() // ends the use of Store.bases

	// Guarded by Store.mu: pack writes end while a caller that waits for them holds mu.
	pinned    []*pack
	storedNew int64
	dicts     map[ID][]dictRun // of own packs whose pages are differences
}

type fillingPack struct {
	ref    int // into m.Packs
	buf    *[]byte
	hashes []pageHash
}

// Begin starts a snapshot. meta.ID may be empty: it is made then. The Writer must be closed; ctx is for all that it does. Until Close the snapshot is
// safe from sweeps, so: Begin, defer Close, Add, Commit, change the record, return.
func (s *Store) Begin(ctx context.Context, meta Meta) (*Writer, error) {
	if meta.ID == "" {
		meta.ID = NewID()
	}
	if !meta.ID.Valid() {
		return nil, fmt.Errorf("snapshot %q: malformed id", meta.ID)
	}
	w := &Writer{s: s, ctx: ctx, m: &Manifest{Meta: meta}, refs: map[*pack]int{}, pending: map[pageHash]loc{}, dicts: map[ID][]dictRun{}}
	w.packs, w.pctx = errgroup.WithContext(ctx)
	w.packs.SetLimit(2 * s.opt.Workers) // half of them wait for the disk: Store.packing lets only Workers compress
	w.bases = s.bases.open()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[meta.ID] || s.manifests[meta.ID] != nil {
		w.bases()
		return nil, fmt.Errorf("snapshot %s exists", meta.ID)
	}
	s.held[meta.ID] = true
	if w.base = s.baseLocked(meta.Key); w.base != nil {
		for _, p := range w.base.packs {
			p.pins++
		}
		w.pinned = append(w.pinned, w.base.packs...)
	}
	return w, nil
}

// ID is the snapshot's.
func (w *Writer) ID() ID { return w.m.ID }

type block struct {
	pooled *[]byte
	buf    []byte // whole pages; the last one is padded with zeros
	n      int    // bytes that were read
	hashes []pageHash
	zero   []bool
	sum    uint64
	hashed chan struct{}
}

var blockBufs = sync.Pool{New: func() any { b := make([]byte, blockPages*PageSize); return &b }}

// Add stores all that r has as a file of the snapshot. Names: letters, digits, dot, hyphen, underscore.
func (w *Writer) Add(name string, r io.Reader) error {
	if err := w.add(name, r); err != nil {
		err = fmt.Errorf("file %s of snapshot %s: %w", name, w.m.ID, err)
		w.mu.Lock()
		w.failed = errors.Join(w.failed, err)
		w.mu.Unlock()
		return err
	}
	return nil
}

func (w *Writer) add(name string, r io.Reader) error {
	if !validFileName(name) {
		return errors.New("malformed name")
	}
	ctx, cancel := context.WithCancelCause(w.pctx)
	defer cancel(nil)
	// Reading, hashing (on several cores) and placing go on at once; the queue keeps the order and bounds the memory.
	queue := make(chan *block, w.s.opt.Workers)
	work := make(chan *block, w.s.opt.Workers)
	var wg sync.WaitGroup
	for range w.s.opt.Workers {
		wg.Go(func() {
			h := w.s.key.newPageHasher()
			for b := range work {
				b.hash(h)
			}
		})
	}
	var readErr error
	wg.Go(func() {
		defer close(queue)
		defer close(work)
		for first := int64(0); ; first += blockPages {
			b := &block{pooled: blockBufs.Get().(*[]byte), hashed: make(chan struct{})}
			b.buf = *b.pooled
			n, err := io.ReadFull(r, b.buf)
			b.n = n
			if n == 0 {
				blockBufs.Put(b.pooled)
			} else {
				b.sum = uint64(first) // until hash replaces it
				queue <- b
				work <- b
			}
			if err == io.EOF || err == io.ErrUnexpectedEOF {
				return
			}
			if err == nil {
				err = context.Cause(ctx)
			}
			if err != nil {
				readErr = err
				return
			}
		}
	})
	file := File{Name: name}
	var runs runWriter
	var zeros int
	var placeErr error
	for b := range queue {
		<-b.hashed
		if placeErr == nil {
			if placeErr = w.place(b, &runs, &zeros); placeErr != nil {
				cancel(placeErr)
			}
		}
		file.Size += int64(b.n)
		file.Sum += b.sum
		blockBufs.Put(b.pooled)
	}
	wg.Wait()
	if err := errors.Join(placeErr, readErr); err != nil {
		return err
	}
	runs.flush()
	file.Runs = runs.b
	if file.Size > maxFileSize {
		return errors.New("too large")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.m.File(name) != nil {
		return errors.New("there is one already")
	}
	if len(w.m.Files) == maxFiles {
		return errors.New("too many files")
	}
	w.m.Files = append(w.m.Files, file)
	w.m.Pages += int(pagesOf(file.Size))
	w.m.ZeroPages += zeros
	return nil
}

func (b *block) hash(h *pageHasher) {
	defer close(b.hashed)
	first := int64(b.sum)
	b.sum = 0
	pages := int(pagesOf(int64(b.n)))
	clear(b.buf[b.n : pages*PageSize])
	b.hashes, b.zero = make([]pageHash, pages), make([]bool, pages)
	for i := range pages {
		page := b.buf[i*PageSize : (i+1)*PageSize]
		if isZero(page) {
			b.zero[i] = true
			continue
		}
		b.hashes[i] = h.hash(page)
		b.sum += pageSum(first+int64(i), page)
	}
}

var zeroPage [PageSize]byte

func isZero(page []byte) bool { return bytes.Equal(page, zeroPage[:]) }

// place finds each page of a block a slot: one that has it already, or the next of the pack being filled.
func (w *Writer) place(b *block, runs *runWriter, zeros *int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return errors.New("the writer is closed")
	}
	known := make([]*pack, len(b.hashes))
	slots := make([]int, len(b.hashes))
	shares := map[*pack]bool{}
	w.s.mu.Lock()
	for i, h := range b.hashes {
		if b.zero[i] {
			continue
		}
		if _, ok := w.pending[h]; ok { // one of ours, though others may find it in the index by now
			continue
		}
		if at, ok := w.s.pages[h]; ok {
			p := w.s.byNumber[at.pack]
			if _, asked := shares[p]; p != nil && !asked {
				shares[p] = w.s.sharesLocked(p)
			}
			if p != nil && shares[p] {
				known[i], slots[i] = p, int(at.slot)
				w.pinLocked(p)
			}
		}
	}
	w.s.mu.Unlock()
	for i, h := range b.hashes {
		if b.zero[i] {
			runs.add(-1, 0)
			*zeros++
			continue
		}
		if p := known[i]; p != nil {
			runs.add(w.refs[p], slots[i])
			continue
		}
		at, ok := w.pending[h]
		if !ok {
			var err error
			if at, err = w.newPage(h, b.buf[i*PageSize:(i+1)*PageSize]); err != nil {
				return err
			}
		}
		runs.add(int(at.pack), int(at.slot))
	}
	return nil
}

// pinLocked makes a pack a part of this snapshot, and with it the packs that its pages are differences from. Caller holds w.mu and s.mu.
func (w *Writer) pinLocked(p *pack) {
	if _, ok := w.refs[p]; ok {
		return
	}
	p.pins++
	w.pinned = append(w.pinned, p)
	n := len(w.m.Packs)
	w.refs[p] = n
	w.m.Packs = append(w.m.Packs, PackRef{ID: string(p.id), Pages: p.pages})
	w.m.Packs[n].Base = w.baseRunsLocked(p.dict)
}

// baseRunsLocked writes where a dictionary lies, and pins it. Caller holds w.mu and s.mu.
func (w *Writer) baseRunsLocked(dict []dictRun) []byte {
	return runsOf(dict, func(ref PackRef) int {
		p := w.s.packs[ID(ref.ID)]
		if p == nil { // found damaged in this moment: it stays a part of the snapshot, so that the commit is refused
			p = &pack{id: ID(ref.ID), pages: ref.Pages, number: uint32(len(w.s.byNumber))}
			w.s.byNumber = append(w.s.byNumber, nil)
		}
		w.pinLocked(p)
		return w.refs[p]
	})
}

func (w *Writer) newPage(h pageHash, page []byte) (loc, error) {
	f := w.fill
	if f == nil {
		f = &fillingPack{ref: len(w.m.Packs), buf: w.s.packBufs.Get().(*[]byte)}
		w.m.Packs = append(w.m.Packs, PackRef{ID: string(NewID())})
		w.fill = f
	}
	at := loc{uint32(f.ref), uint32(len(f.hashes))}
	w.pending[h] = at
	f.hashes = append(f.hashes, h)
	*f.buf = append(*f.buf, page...)
	w.m.NewPages++
	if len(f.hashes) >= w.s.opt.PackPages { // more: it could not be flushed before
		return at, w.flushPack()
	}
	return at, nil
}

// flushPack hands the filled pack to a worker. It waits when all are busy, with packs of other Writers, too: that is
// the back pressure on the source.
func (w *Writer) flushPack() error {
	select {
	case w.s.packing <- struct{}{}:
	case <-w.pctx.Done():
		return context.Cause(w.pctx)
	}
	f := w.fill
	w.fill = nil
	ref := &w.m.Packs[f.ref]
	ref.Pages = len(f.hashes)
	idx := packIndex{id: ID(ref.ID), hashes: f.hashes}
	w.indexes = append(w.indexes, idx)
	w.packs.Go(func() error {
		sealed, dict, err := w.s.pack(w.pctx, idx.id, *f.buf, w.base)
		*f.buf = (*f.buf)[:0]
		w.s.packBufs.Put(f.buf)
		<-w.s.packing // only what is compressed waits for the disk
		if err != nil {
			return err
		}
		if err := w.s.blobs.Put(w.pctx, packKey(idx.id), sealed); err != nil {
			return err
		}
		stored := int64(len(sealed))
		idx.delta = dict != nil
		w.s.mu.Lock()
		p := w.s.addPackLocked(idx, stored) // durable, so others may share it
		if dict != nil {
			p.dict, w.dicts[p.id] = dict, dict
		}
		p.pins++
		w.pinned = append(w.pinned, p)
		w.storedNew += stored
		w.s.mu.Unlock()
		return nil
	})
	return context.Cause(w.pctx)
}

// smallDelta is up to how many bytes differences are compressed as well as can be: some 50 ms.
const smallDelta = 512 << 10

// pack makes a blob of pages: as differences from a base, when that is much less and base is not nil, else whole.
func (s *Store) pack(ctx context.Context, id ID, pages []byte, base *base) (sealed []byte, dict []dictRun, err error) {
	var delta []byte
	if base != nil && s.worthDiffer(len(pages)/PageSize) {
		if delta, dict, err = base.differ(ctx, pages); err != nil {
			if ctx.Err() != nil {
				return nil, nil, context.Cause(ctx)
			}
			base.warn.Do(func() {
				s.log.Warn("pages are kept whole, because the snapshot before cannot be read", "snapshot", string(base.id), "err", err)
			})
		}
	}
	var packed []byte
	if dict != nil {
		enc := s.encDelta
		if len(delta) <= smallDelta {
			enc = s.encSmallDelta
		}
		packed = enc.EncodeAll(delta, binary.BigEndian.AppendUint32(make([]byte, 0, len(delta)/2+64), uint32(len(delta))))
	} else {
		buf := s.packBufs.Get().(*[]byte)
		defer s.packBufs.Put(buf)
		packed = s.enc.EncodeAll(pages, (*buf)[:0])
	}
	return s.key.seal(packKey(id), packed), dict, nil
}

// Commit makes the snapshot readable, and durable against any crash, or leaves nothing that is. It changes meta before, if edit is given:
// sizes, stages and hooks are often known only at the end.
func (w *Writer) Commit(edit func(*Meta)) (*Manifest, error) {
	m, err := w.commit(edit)
	if err != nil {
		return nil, fmt.Errorf("commit of snapshot %s: %w", w.m.ID, err)
	}
	return m, nil
}

func (w *Writer) commit(edit func(*Meta)) (*Manifest, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return nil, errors.New("the writer is closed")
	}
	var flushErr error
	if w.fill != nil {
		flushErr = w.flushPack()
	}
	w.done = true
	if err := errors.Join(w.failed, w.packs.Wait(), flushErr); err != nil {
		return nil, err
	}
	w.s.mu.Lock()
	for i := range w.indexes {
		if dict := w.dicts[w.indexes[i].id]; dict != nil {
			w.indexes[i].delta = true
			w.m.DeltaPages += len(w.indexes[i].hashes)
		}
	}
	for i := range w.m.Packs { // those that are appended meanwhile are whole
		if dict := w.dicts[ID(w.m.Packs[i].ID)]; dict != nil {
			base := w.baseRunsLocked(dict)
			w.m.Packs[i].Base = base
		}
	}
	stored := w.storedNew
	for p := range w.refs {
		if w.s.byNumber[p.number] == nil { // an extraction found it damaged meanwhile
			w.s.mu.Unlock()
			return nil, fmt.Errorf("pack %s was lost meanwhile: %w", p.id, ErrSwept)
		}
	}
	w.s.mu.Unlock()
	if len(w.indexes) > 0 {
		n, err := w.s.putSmall(w.ctx, indexDir+"/"+string(NewID()), marshalIndex(w.indexes))
		if err != nil {
			return nil, err
		}
		stored += n
	}
	m := w.m
	if edit != nil {
		id := m.ID
		edit(&m.Meta)
		m.ID = id
	}
	m.NewBytes = stored
	if err := m.validate(); err != nil {
		return nil, err
	}
	b, err := m.Marshal()
	if err != nil {
		return nil, err
	}
	if _, err := w.s.putSmall(w.ctx, manifestKey(m.ID), b); err != nil {
		return nil, err
	}
	if err := w.s.checkTombs(w.ctx, w.sharedIDs()); err != nil {
		return nil, errors.Join(err, w.s.Delete(context.WithoutCancel(w.ctx), m.ID))
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	w.s.addManifestLocked(m)
	return m, nil
}

// sharedIDs are the packs of the snapshot that it did not make itself. Caller holds w.mu.
func (w *Writer) sharedIDs() map[ID]bool {
	ids := make(map[ID]bool, len(w.refs))
	for p := range w.refs {
		ids[p.id] = true
	}
	return ids
}

// Close lets go of the snapshot: not committed, it is forgotten and its pages are left to the next sweep; committed, it is from now on
// as safe as its record makes it. Close may be called more than once; no Add may be under way.
func (w *Writer) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	w.packs.Wait() // their error is Commit's
	w.bases()
	if w.fill != nil {
		*w.fill.buf = (*w.fill.buf)[:0]
		w.s.packBufs.Put(w.fill.buf)
		w.fill = nil
	}
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	for _, p := range w.pinned {
		p.pins--
	}
	w.pinned = nil
	if !w.closed {
		w.closed = true
		delete(w.s.held, w.m.ID)
	}
}

// GCPercent is for a program while it makes snapshots. What they hold is mostly bytes, in which a collector has nothing
// to look at; at its default it would let as much garbage lie beside them. With six functions of 30 MB the server held
// 162 MB more than idle at 15 percent and larger blocks and windows, 139 so.
const GCPercent = 10
