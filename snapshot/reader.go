package snapshot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Extract writes all files of a snapshot, decoding packs on all cores. create is called for each file before anything is written; what it
// returns must read as zeros where nothing is written, and is written to from several goroutines, in no order. nil skips the file's bytes.
//
// The error is ErrNotFound, *CorruptError (what was written is then worthless), or that of a blob or a file.
func (s *Store) Extract(ctx context.Context, id ID, create func(f *File) (io.WriterAt, error)) (*Manifest, error) {
	m, err := s.Manifest(ctx, id)
	if err != nil {
		return nil, err
	}
	for attempt := 0; ; attempt++ {
		m, err = s.extract(ctx, m, create)
		if !errors.Is(err, errMissing) || attempt == 2 {
			return m, err
		}
		// Pages may have been moved by a sweep of another server: then the manifest names other packs now.
		again, rerr := s.reload(ctx, id)
		if rerr != nil {
			return m, rerr
		}
		if slices.EqualFunc(m.Packs, again.Packs, func(a, b PackRef) bool { return a.ID == b.ID }) {
			return m, err
		}
	}
}

var errMissing = errors.New("is missing")

// Verify reads everything that a snapshot needs, and the manifest anew, without keeping it. Errors as of Extract.
func (s *Store) Verify(ctx context.Context, id ID) error {
	if _, err := s.reload(ctx, id); err != nil {
		return err
	}
	_, err := s.Extract(ctx, id, func(*File) (io.WriterAt, error) { return nil, nil })
	return err
}

// use is a run seen from its pack.
type use struct {
	file  int
	page  int64
	slot  int
	count int
}

func (s *Store) extract(ctx context.Context, m *Manifest, create func(f *File) (io.WriterAt, error)) (*Manifest, error) {
	m, unpin := s.pin(m)
	defer unpin()
	return m, s.extractPinned(ctx, m, create)
}

func (s *Store) extractPinned(ctx context.Context, m *Manifest, create func(f *File) (io.WriterAt, error)) error {
	uses := make([][]use, len(m.Packs))
	outs := make([]io.WriterAt, len(m.Files))
	for i := range m.Files {
		f := &m.Files[i]
		out, err := create(f)
		if err != nil {
			return fmt.Errorf("file %s of snapshot %s: %w", f.Name, m.ID, err)
		}
		outs[i] = out
		err = m.eachRun(f, func(page int64, r run) {
			if r.pack >= 0 {
				uses[r.pack] = append(uses[r.pack], use{i, page, r.slot, r.count})
			}
		})
		if err != nil {
			return &CorruptError{m.ID, manifestKey(m.ID), err}
		}
	}
	dicts := make([][]dictRun, len(m.Packs))
	isBase := map[string]bool{}
	for i := range m.Packs {
		dict, err := m.dictOf(i)
		if err != nil {
			return &CorruptError{m.ID, manifestKey(m.ID), err}
		}
		if len(uses[i]) > 0 {
			dicts[i] = dict
			for _, r := range dict {
				isBase[r.pack.ID] = true
			}
		}
	}
	unpacked := newUnpacker(s, maxExtract)
	defer unpacked.open()()
	sums := make([]atomic.Uint64, len(m.Files))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(s.opt.Workers)
	for i, ref := range m.Packs {
		if len(uses[i]) == 0 {
			continue
		}
		g.Go(func() error {
			if err := context.Cause(gctx); err != nil {
				return err
			}
			write := func(pages []byte) error {
				for _, u := range uses[i] {
					b := pages[u.slot*PageSize : (u.slot+u.count)*PageSize]
					var sum uint64
					for n := range u.count {
						sum += pageSum(u.page+int64(n), b[n*PageSize:(n+1)*PageSize])
					}
					sums[u.file].Add(sum)
					f := &m.Files[u.file]
					if rest := f.Size - u.page*PageSize; int64(len(b)) > rest {
						b = b[:rest] // the last page of a file that ends within it
					}
					if outs[u.file] == nil {
						continue
					}
					if _, err := outs[u.file].WriteAt(b, u.page*PageSize); err != nil {
						return fmt.Errorf("file %s of snapshot %s: %w", f.Name, m.ID, err)
					}
				}
				return nil
			}
			if isBase[ref.ID] {
				return unpacked.use(gctx, m.ID, ref, write)
			}
			return s.readPack(gctx, m.ID, ref, dicts[i], unpacked, write)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i := range m.Files {
		if f := &m.Files[i]; sums[i].Load() != f.Sum {
			return &CorruptError{m.ID, "", fmt.Errorf("file %s has another checksum", f.Name)}
		}
	}
	return nil
}

// pin keeps sweeps away from the packs of a manifest, and returns the manifest as it is now.
func (s *Store) pin(m *Manifest) (now *Manifest, unpin func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.manifests[m.ID]; now != nil {
		m = now
	}
	var pinned []*pack
	for _, ref := range m.Packs {
		if p := s.packs[ID(ref.ID)]; p != nil {
			p.pins++
			pinned = append(pinned, p)
		}
	}
	return m, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, p := range pinned {
			p.pins--
		}
	}
}

// readPack gives f the pages of a pack, for the length of the call. dict, when it is not nil, is what they are differences from; bases unpacks it.
func (s *Store) readPack(ctx context.Context, id ID, ref PackRef, dict []dictRun, bases *unpacker, f func(pages []byte) error) error {
	buf := s.packBufs.Get().(*[]byte)
	defer func() {
		*buf = (*buf)[:0]
		s.packBufs.Put(buf)
	}()
	if err := s.decodePack(ctx, id, ref, dict, bases, buf); err != nil {
		return err
	}
	return f(*buf)
}

// decodePack is readPack into a buffer of packBufs.
func (s *Store) decodePack(ctx context.Context, id ID, ref PackRef, dict []dictRun, bases *unpacker, buf *[]byte) error {
	key := packKey(ID(ref.ID))
	sealed, err := s.blobs.Get(ctx, key)
	if errors.Is(err, ErrNotFound) {
		s.mu.Lock()
		if p := s.packs[ID(ref.ID)]; p != nil {
			s.forgetPacksLocked(p)
		}
		s.mu.Unlock()
		return &CorruptError{id, key, errMissing}
	}
	if err != nil {
		return fmt.Errorf("snapshot %s: %w", id, err)
	}
	corrupt := func(err error) error {
		s.lost(ctx, ID(ref.ID), err)
		return &CorruptError{id, key, err}
	}
	packed, err := s.key.open(key, sealed)
	if err != nil {
		return corrupt(err)
	}
	if cap(*buf) < ref.Pages*PageSize { // written under other options
		*buf = make([]byte, 0, ref.Pages*PageSize)
	}
	var pages []byte
	if dict == nil {
		pages, err = s.dec.DecodeAll(packed, (*buf)[:0])
	} else {
		base, free, berr := bases.dictionary(ctx, id, dict)
		if berr != nil {
			return berr
		}
		defer free()
		pages, err = s.openDelta(packed, ref.Pages, base, (*buf)[:0])
	}
	if err != nil {
		return corrupt(err)
	}
	if len(pages) != ref.Pages*PageSize {
		return corrupt(fmt.Errorf("has %d bytes instead of %d", len(pages), ref.Pages*PageSize))
	}
	*buf = pages
	return nil
}

// openDelta makes pages of differences as Store.pack packed them.
func (s *Store) openDelta(packed []byte, pages int, base [][]byte, out []byte) ([]byte, error) {
	if len(packed) < 4 || int64(binary.BigEndian.Uint32(packed)) > int64(maxDelta(pages)) {
		return nil, errDelta
	}
	delta, err := s.dec.DecodeAll(packed[4:], make([]byte, 0, binary.BigEndian.Uint32(packed)))
	if err != nil {
		return nil, err
	}
	return applyDelta(delta, pages, base, out)
}
