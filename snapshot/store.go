package snapshot

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/errgroup"
)

// Folders of a Store.
const (
	packDir     = "pack"
	indexDir    = "index"
	manifestDir = "manifest"
	tombDir     = "tomb"
	formatKey   = "store" // sealed constant
)

// Of a store of an older format everything can be read; it becomes one of the newest when it is opened, so that a release that knows no differences (1), or only those
// from two pages, and longer hashes (2), leaves it alone.
const formatText = "thaw snapshot store 3"

var olderFormats = []string{"thaw snapshot store 1", "thaw snapshot store 2"}

// What a Store may answer besides failures of its blobs.
var (
	// ErrWrongKey: the blobs were written under another installation key. Nothing was changed.
	ErrWrongKey = errors.New("the snapshot store belongs to another installation key")
	// ErrSwept: pages that a commit meant to share were deleted by another server, or found damaged; make the snapshot again.
	ErrSwept = errors.New("shared pages are gone meanwhile")
)

// CorruptError says that a snapshot cannot be had any more, because a blob is missing or not what was written. No wrong byte was given out as right.
type CorruptError struct {
	Snapshot ID
	Blob     string // key of the blob; empty when all blobs are right and yet make no right file
	Err      error
}

func (e *CorruptError) Error() string {
	if e.Blob == "" {
		return fmt.Sprintf("snapshot %s is corrupt: %v", e.Snapshot, e.Err)
	}
	return fmt.Sprintf("snapshot %s is corrupt: blob %s: %v", e.Snapshot, e.Blob, e.Err)
}
func (e *CorruptError) Unwrap() error { return e.Err }

// Options are what Open needs. Blobs, Key and Log must be given.
type Options struct {
	Blobs Blobs
	Key   *InstallationKey
	Log   *slog.Logger
	// Workers hash, compress and decode at once; 0: one for each processor.
	Workers int
	// PackPages is how many pages fill a pack; 0: 1,024, which is 4 MiB. Smaller ones compress a little worse (64 KiB: 1 %) and cost an fsync each.
	PackPages int
	// OrphanAge is how old a manifest must be before a sweep removes it for being in no record; 0: an hour. It must exceed the time from Commit
	// to the record's change on other servers; those of this process are held anyway.
	OrphanAge time.Duration
	// MinLive is the share of a pack's pages below which a sweep moves the rest elsewhere; 0: 0.5.
	MinLive float64
	Now     func() time.Time // nil: time.Now
}

// Store keeps snapshots. It is safe for use by many goroutines.
type Store struct {
	blobs Blobs
	key   *InstallationKey
	log   *slog.Logger
	opt   Options
	codec

	packBufs sync.Pool     // *[]byte, PackPages pages
	dictBufs sync.Pool     // *[]byte
	packing  chan struct{} // a place for each pack that is being compared and compressed: each holds some 20 MB
	bases    *unpacker     // of all Writers
	random   *unpacker     // of all Readers

	sweeping sync.Mutex

	mu        sync.Mutex
	pages     map[pageHash]loc
	packs     map[ID]*pack
	byNumber  []*pack // pack.number -> pack; nil when gone
	sketched  []*pack // whose sketches are in memory, oldest first
	manifests map[ID]*Manifest
	held      map[ID]bool      // snapshots of open Writers
	strangers map[ID]time.Time // packs that no manifest or index named, and since when
}

// codec compresses and decodes packs, each whole: EncodeAll and DecodeAll only.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
	// For differences: what is left to compress there is little, and worth the time; most so where it is small.
	encDelta, encSmallDelta *zstd.Encoder
}

func newCodec(packers, decoders int) (c codec, err error) {
	// What an encoder holds follows from its window, for each that works: twice a window of up to 8 MiB unless told
	// otherwise, and at the best level tables of 34 MB.
	encoder := func(level zstd.EncoderLevel, workers, window int) (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(workers), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true),
			zstd.WithEncoderCRC(false))
	}
	var encErr, deltaErr, smallErr, decErr error
	// Fastest: on Node's heap it gives 5.9 : 1 at 270 MB/s a core, the next level 5.9 : 1 at 160.
	c.enc, encErr = encoder(zstd.SpeedFastest, packers, 2<<20)
	c.encDelta, deltaErr = encoder(zstd.SpeedDefault, packers, 1<<20)
	c.encSmallDelta, smallErr = encoder(zstd.SpeedBestCompression, 1, smallDelta)
	c.dec, decErr = zstd.NewReader(nil, zstd.WithDecoderConcurrency(decoders), zstd.WithDecodeAllCapLimit(true))
	return c, errors.Join(encErr, deltaErr, smallErr, decErr)
}

// close frees what works. Nothing may be under way.
func (c *codec) close() error {
	c.dec.Close()
	return errors.Join(c.enc.Close(), c.encDelta.Close(), c.encSmallDelta.Close())
}

// loc is where a page lies. Numbers instead of pointers keep the collector out of a map of millions.
type loc struct{ pack, slot uint32 }

type pack struct {
	id     ID
	number uint32
	pages  int
	stored int64 // bytes
	pins   int
	// Of a pack whose pages are differences: from what, as the last manifest that was seen says. Without a manifest there is no telling.
	delta    bool
	dict     []dictRun
	sketches []sketch // of a whole pack; nil: not in memory
}

// maxPackers bounds how many packs are compared and compressed at a time, on machines with many processors: a matter of memory.
const maxPackers = 4

// Open reads what the blobs hold. The error is ErrWrongKey when another key wrote it. Blobs that are damaged are reported to the log
// and left out.
func Open(ctx context.Context, opt Options) (*Store, error) {
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	if opt.PackPages <= 0 {
		opt.PackPages = 1024
	}
	opt.PackPages = min(opt.PackPages, maxPackPages)
	if opt.OrphanAge == 0 {
		opt.OrphanAge = time.Hour
	}
	if opt.MinLive == 0 {
		opt.MinLive = 0.5
	}
	if opt.Now == nil {
		opt.Now = time.Now
	}
	packers := min(opt.Workers, maxPackers)
	codec, err := newCodec(packers, opt.Workers)
	if err != nil {
		return nil, fmt.Errorf("snapshot store: %w", err)
	}
	s := &Store{
		blobs: opt.Blobs, key: opt.Key, log: opt.Log, opt: opt, codec: codec,
		pages: map[pageHash]loc{}, packs: map[ID]*pack{}, manifests: map[ID]*Manifest{}, held: map[ID]bool{}, strangers: map[ID]time.Time{},
	}
	size := opt.PackPages * PageSize
	s.packBufs.New = func() any { b := make([]byte, 0, size); return &b }
	s.dictBufs.New = func() any { return new([]byte) }
	s.packing = make(chan struct{}, packers)
	s.bases, s.random = newUnpacker(s, maxUnpacked), newUnpacker(s, maxRandom)
	if err := s.load(ctx); err != nil {
		return nil, fmt.Errorf("snapshot store: %w", errors.Join(err, s.close()))
	}
	return s, nil
}

// Close frees what compresses and decodes. Nothing may be under way.
func (s *Store) Close() error { return s.close() }

// addManifestLocked makes a manifest known, and its packs: one whose index was lost is counted and swept, not shared. Caller holds s.mu.
func (s *Store) addManifestLocked(m *Manifest) {
	s.manifests[m.ID] = m
	for _, ref := range m.Packs {
		if s.packs[ID(ref.ID)] == nil {
			s.newPackLocked(ID(ref.ID), ref.Pages, 0)
		}
	}
	s.noteDictsLocked(m)
}

// noteDictsLocked learns from a manifest what packs are differences from. Caller holds s.mu.
func (s *Store) noteDictsLocked(m *Manifest) {
	for i, ref := range m.Packs {
		if p := s.packs[ID(ref.ID)]; p != nil && len(ref.Base) > 0 {
			p.delta = true
			p.dict, _ = m.dictOf(i) // validated before
		}
	}
}

// sharesLocked says whether the pages of a pack can be had, as far as this server knows. A pack of which only a manifest tells may be gone. Caller holds s.mu.
func (s *Store) sharesLocked(p *pack) bool {
	if p.delta && p.dict == nil {
		return false
	}
	for _, r := range p.dict {
		if p := s.packs[ID(r.pack.ID)]; p == nil || p.stored == 0 {
			return false
		}
	}
	return true
}

// eachBlob reads, opens and unpacks blobs, several at once. An error that f gets is of the blob's content; one of reading ends it all.
func (s *Store) eachBlob(ctx context.Context, list []BlobInfo, f func(key string, b []byte, err error) error) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2 * s.opt.Workers)
	for _, info := range list {
		g.Go(func() error {
			b, err := s.getSmall(ctx, info.Key)
			if err != nil && !isContent(err) {
				if errors.Is(err, ErrNotFound) { // swept since the list
					return nil
				}
				return err
			}
			return f(info.Key, b, err)
		})
	}
	return g.Wait()
}

// contentError is what is wrong with a blob that could be read.
type contentError struct{ error }

func (e contentError) Unwrap() error { return e.error }

func isContent(err error) bool { return errors.As(err, new(contentError)) }

const maxSmall = 1 << 30 // bytes of an index or manifest, unpacked

func (s *Store) putSmall(ctx context.Context, key string, b []byte) (stored int64, err error) {
	sealed := s.key.seal(key, s.enc.EncodeAll(b, binary.BigEndian.AppendUint32(nil, uint32(len(b)))))
	return int64(len(sealed)), s.blobs.Put(ctx, key, sealed)
}

func (s *Store) getSmall(ctx context.Context, key string) ([]byte, error) {
	sealed, err := s.blobs.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	packed, err := s.key.open(key, sealed)
	if err != nil {
		return nil, contentError{err}
	}
	if len(packed) < 4 || binary.BigEndian.Uint32(packed) > maxSmall {
		return nil, contentError{errors.New("malformed size")}
	}
	b, err := s.dec.DecodeAll(packed[4:], make([]byte, 0, binary.BigEndian.Uint32(packed)))
	if err != nil {
		return nil, contentError{err}
	}
	return b, nil
}

func packKey(id ID) string     { return packDir + "/" + string(id) }
func packOf(key string) ID     { return ID(strings.TrimPrefix(key, packDir+"/")) }
func manifestKey(id ID) string { return manifestDir + "/" + string(id) }

// newPackLocked makes a pack known. Caller holds s.mu.
func (s *Store) newPackLocked(id ID, pages int, stored int64) *pack {
	p := &pack{id: id, number: uint32(len(s.byNumber)), pages: pages, stored: stored}
	s.byNumber = append(s.byNumber, p)
	s.packs[id] = p
	return p
}

// addPackLocked makes a stored pack known and its pages shareable. Caller holds s.mu.
func (s *Store) addPackLocked(idx packIndex, stored int64) *pack {
	p := s.packs[idx.id]
	if p == nil {
		p = s.newPackLocked(idx.id, len(idx.hashes), stored)
		p.delta = idx.delta
	}
	for slot, h := range idx.hashes {
		if at, ok := s.pages[h]; !ok || s.byNumber[at.pack] == nil {
			s.pages[h] = loc{p.number, uint32(slot)}
		}
	}
	return p
}

// forgetPacksLocked takes packs out of the index, so that nothing new refers to them. Caller holds s.mu.
func (s *Store) forgetPacksLocked(packs ...*pack) {
	if len(packs) == 0 {
		return
	}
	for _, p := range packs {
		s.byNumber[p.number] = nil
		delete(s.packs, p.id)
	}
	maps.DeleteFunc(s.pages, func(_ pageHash, l loc) bool { return s.byNumber[l.pack] == nil })
}

// hidePacksLocked takes the pages of packs out of the index while the packs stay known. Caller holds s.mu.
func (s *Store) hidePacksLocked(packs ...*pack) {
	s.forgetPacksLocked(packs...)
	for _, p := range packs {
		p.number = uint32(len(s.byNumber))
		s.byNumber = append(s.byNumber, p)
		s.packs[p.id] = p
	}
}

// lost removes a pack that turned out damaged: the next snapshot must not share its pages. The snapshots that need it are lost with it.
func (s *Store) lost(ctx context.Context, id ID, why error) {
	s.log.Error("pack of snapshot pages is damaged; snapshots that need it are made again", "pack", string(id), "err", why)
	s.mu.Lock()
	if p := s.packs[id]; p != nil {
		s.forgetPacksLocked(p)
	}
	s.mu.Unlock()
	if err := s.blobs.Delete(context.WithoutCancel(ctx), packKey(id)); err != nil {
		s.log.Warn("damaged pack stays", "pack", string(id), "err", err)
	}
}

// Manifest returns what a snapshot is made of. The error is ErrNotFound, or *CorruptError.
func (s *Store) Manifest(ctx context.Context, id ID) (*Manifest, error) {
	s.mu.Lock()
	m := s.manifests[id]
	s.mu.Unlock()
	if m != nil {
		return m, nil
	}
	return s.reload(ctx, id)
}

// reload reads a manifest that another server wrote, or wrote anew.
func (s *Store) reload(ctx context.Context, id ID) (*Manifest, error) {
	if !id.Valid() {
		return nil, fmt.Errorf("snapshot %q: %w", id, ErrNotFound)
	}
	b, err := s.getSmall(ctx, manifestKey(id))
	if err != nil && !isContent(err) {
		return nil, fmt.Errorf("snapshot %s: %w", id, err)
	}
	var m *Manifest
	if err == nil {
		m, err = parseManifestOf(manifestKey(id), b)
	}
	if err != nil {
		return nil, &CorruptError{id, manifestKey(id), err}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addManifestLocked(m)
	return m, nil
}

// List returns all snapshots that this server knows, by version and generation.
func (s *Store) List() []*Manifest {
	s.mu.Lock()
	list := make([]*Manifest, 0, len(s.manifests))
	for _, m := range s.manifests {
		list = append(list, m)
	}
	s.mu.Unlock()
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i], list[j]
		if a.Key.Version != b.Key.Version {
			return a.Key.ARN() < b.Key.ARN()
		}
		return a.Generation < b.Generation
	})
	return list
}

// Delete removes a snapshot; its pages go with the next Sweep unless others share them. One that is not there is no error.
func (s *Store) Delete(ctx context.Context, id ID) error {
	if !id.Valid() {
		return nil
	}
	s.mu.Lock()
	delete(s.manifests, id)
	s.mu.Unlock()
	if err := s.blobs.Delete(ctx, manifestKey(id)); err != nil {
		return fmt.Errorf("snapshot %s: %w", id, err)
	}
	return nil
}
