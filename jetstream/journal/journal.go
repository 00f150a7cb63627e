// Package journal is the second copy of the records: a file of its own beside the broker's, which tells at start
// whether every record that was acknowledged is still there, and which gives back those that the broker has lost.
//
//	DIR/journal    a head and then one line for each write that the broker has acknowledged, each with a checksum and counted
//	DIR/mark       how many lines there are, and for each bucket its last revision and a digest of what is live in it
//
// A write is acknowledged when the broker and the journal have synced it. The mark is rewritten in place after each
// write and synced now and then: one that is older than the journal still says what must at least be there.
//
// What was lost is found so: lines that fail their checksum or are missing between others say it themselves, lines that
// are missing at the end are known from the mark, and without the mark the broker must have exactly what the journal
// has (Judge).
//
// Owner: whoever called Open owns the Journal; it starts no goroutine. Lock order: flush, then mu.
package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

const (
	fileName = "journal"
	markName = "mark"
	tempName = "journal.new" // a rewrite that is not finished
)

// Write is one write that the broker has acknowledged.
type Write struct {
	Bucket   string `json:"b"`
	Key      string `json:"k,omitempty"` // empty: only says that revisions up to this one were given
	Revision uint64 `json:"r"`           // grows with every write to the bucket
	Deleted  bool   `json:"d,omitempty"`
	Value    []byte `json:"v,omitempty"`
}

// line is a Write as it is stored, or the head of the file.
type line struct {
	N    uint64 `json:"n"` // counts the lines of all files that ever were
	Head *head  `json:"head,omitempty"`
	Write
}

// head begins a file. It was whole, up to Base, when it got its name.
type head struct {
	Format     string `json:"format"`
	Base       uint64 `json:"base"`
	Incomplete string `json:"incomplete,omitempty"` // why records may be missing
}

const format = "thaw records journal 1"

// id is a key of a bucket.
type id struct{ bucket, key string }

// place is where the last write of a key lies in the file.
type place struct {
	revision uint64
	deleted  bool
	at       int64
	length   int
	sum      [sha256.Size]byte // of a live one: its part of the digest
}

// Journal is an open journal. It is safe for use by many goroutines.
type Journal struct {
	dir string

	flush sync.Mutex // who writes to the file

	mu         sync.Mutex
	file       *os.File
	mark       *os.File
	size       int64
	n          uint64 // of the last line
	written    uint64 // writes that Append was given and that are on disk
	queued     uint64 // writes that Append was given
	pending    []Write
	live       map[id]place
	buckets    map[string]*Bucket
	liveBytes  int64
	compactAt  int64 // bytes; the file is not rewritten before it has so many
	incomplete string
}

// Bucket is what the mark says of one bucket.
type Bucket struct {
	Last   uint64 `json:"last"` // revision
	Live   int    `json:"live"` // keys that are not deleted
	Digest digest `json:"digest"`
}

// digest of a set of live records: the exclusive or of their sums, so that a write costs one sum.
type digest [sha256.Size]byte

func (d digest) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(d[:])), nil }

func (d *digest) UnmarshalText(b []byte) error {
	if hex.DecodedLen(len(b)) != len(d) {
		return errors.New("malformed digest")
	}
	_, err := hex.Decode(d[:], b)
	return err
}

func (d *digest) flip(sum [sha256.Size]byte) {
	for i := range d {
		d[i] ^= sum[i]
	}
}

func sumOf(w Write) [sha256.Size]byte {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d ", w.Key, w.Revision)
	h.Write(w.Value)
	return [sha256.Size]byte(h.Sum(nil))
}

// The sum of a line is in front of it: 16 hex digits of its SHA-256 and a space.
const sumDigits = 16

func seal(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	return append(append(append(hex.AppendEncode(nil, sum[:sumDigits/2]), ' '), b...), '\n'), nil
}

// unseal answers the JSON of a line without its end; ok says that it is as it was written.
func unseal(b []byte) (text []byte, ok bool) {
	if len(b) <= sumDigits+1 || b[sumDigits] != ' ' {
		return nil, false
	}
	text = b[sumDigits+1:]
	sum := sha256.Sum256(text)
	return text, string(b[:sumDigits]) == hex.EncodeToString(sum[:sumDigits/2])
}

// create replaces, atomically, whatever journal is in the folder; the lines are counted on from after.
func create(dir string, after uint64, writes []Write, last map[string]uint64, incomplete string) (err error) {
	temp := filepath.Join(dir, tempName)
	f, err := os.OpenFile(temp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(temp)
		}
	}()
	all := slices.Clone(writes)
	for _, b := range slices.Sorted(maps.Keys(last)) {
		all = append(all, Write{Bucket: b, Revision: last[b]})
	}
	n := after + 1
	var text bytes.Buffer
	b, err := seal(line{N: n, Head: &head{format, n + uint64(len(all)), incomplete}})
	if err != nil {
		return err
	}
	text.Write(b)
	for _, w := range all {
		n++
		if b, err = seal(line{N: n, Write: w}); err != nil {
			return err
		}
		text.Write(b)
		if text.Len() > 1<<20 {
			if _, err = text.WriteTo(f); err != nil {
				return err
			}
		}
	}
	if _, err = text.WriteTo(f); err != nil {
		return err
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err = os.Rename(temp, filepath.Join(dir, fileName)); err != nil {
		return err
	}
	return syncDir(dir)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// Create replaces whatever journal is in the folder by one of these live records and opens it. last are the revisions
// that were given, by bucket. incomplete says why records may be missing; empty: they are all there.
func Create(dir string, writes []Write, last map[string]uint64, incomplete string) (*Journal, error) {
	after := uint64(0)
	if found, err := Read(dir); err == nil {
		after = max(found.n, found.mark.N)
	}
	if err := create(dir, after, writes, last, incomplete); err != nil {
		return nil, fmt.Errorf("journal of records: %w", err)
	}
	found, err := Read(dir)
	if err != nil {
		return nil, err
	}
	if found.damage != nil {
		return nil, fmt.Errorf("journal of records: just written, and %s", strings.Join(found.damage, "; "))
	}
	found.Incomplete = incomplete // the mark is still that of before
	return Open(dir, found)
}

// Open opens a journal that Read has found whole.
func Open(dir string, found *Found) (*Journal, error) {
	j := &Journal{dir: dir, n: found.n, live: map[id]place{}, buckets: map[string]*Bucket{}, incomplete: found.Incomplete}
	var err error
	if j.file, err = os.OpenFile(filepath.Join(dir, fileName), os.O_RDWR, 0); err != nil {
		return nil, fmt.Errorf("journal of records: %w", err)
	}
	// A torn line at the end was never acknowledged.
	j.size = found.size
	if err := j.file.Truncate(j.size); err != nil {
		j.file.Close()
		return nil, fmt.Errorf("journal of records: %w", err)
	}
	if j.mark, err = os.OpenFile(filepath.Join(dir, markName), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		j.file.Close()
		return nil, fmt.Errorf("journal of records: %w", err)
	}
	for _, f := range found.lines {
		j.apply(f.Write, f.at, f.length)
	}
	if err := errors.Join(j.putMark(), j.mark.Sync(), syncDir(dir)); err != nil {
		j.Close()
		return nil, fmt.Errorf("journal of records: %w", err)
	}
	return j, nil
}

// Close syncs the mark and closes the files.
func (j *Journal) Close() error {
	j.flush.Lock()
	defer j.flush.Unlock()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := errors.Join(j.mark.Sync(), j.mark.Close(), j.file.Close())
	j.file, j.mark = nil, nil
	return err
}

// apply makes a write known. Caller holds mu, or is alone.
func (j *Journal) apply(w Write, at int64, length int) {
	b := j.buckets[w.Bucket]
	if b == nil {
		b = &Bucket{}
		j.buckets[w.Bucket] = b
	}
	b.Last = max(b.Last, w.Revision)
	if w.Key == "" {
		return
	}
	k := id{w.Bucket, w.Key}
	was, known := j.live[k]
	if known && was.revision >= w.Revision { // writes of one key may come here in another order than the broker took them
		return
	}
	if known && !was.deleted {
		b.Live--
		b.Digest.flip(was.sum)
		j.liveBytes -= int64(was.length)
	}
	now := place{revision: w.Revision, deleted: w.Deleted, at: at, length: length}
	if !w.Deleted {
		now.sum = sumOf(w)
		b.Live++
		b.Digest.flip(now.sum)
		j.liveBytes += int64(length)
	}
	j.live[k] = now
}

// Append makes a write durable that the broker has acknowledged. After an error the write is tried again with the next one.
func (j *Journal) Append(w Write) error {
	j.mu.Lock()
	j.pending = append(j.pending, w)
	j.queued++
	mine := j.queued
	j.mu.Unlock()
	j.flush.Lock()
	defer j.flush.Unlock()
	if j.written >= mine { // with another's
		return nil
	}
	if err := j.write(); err != nil {
		return fmt.Errorf("journal of records: %w", err)
	}
	return nil
}

// write puts everything that is pending into the file. Caller holds flush.
func (j *Journal) write() error {
	j.mu.Lock()
	writes, upTo := j.pending, j.queued
	j.pending = nil
	j.mu.Unlock()
	err := j.put(writes)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.pending = append(writes, j.pending...)
		return err
	}
	j.written = upTo
	return j.putMark()
}

func (j *Journal) put(writes []Write) error {
	if j.file == nil {
		return fs.ErrClosed
	}
	var text []byte
	ends := make([]int, len(writes))
	for i, w := range writes {
		b, err := seal(line{N: j.n + 1 + uint64(i), Write: w})
		if err != nil {
			return err
		}
		text = append(text, b...)
		ends[i] = len(text)
	}
	_, err := j.file.WriteAt(text, j.size)
	if err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return errors.Join(err, j.file.Truncate(j.size)) // at worst the next write goes over it
	}
	j.mu.Lock()
	begin := 0
	for i, w := range writes {
		j.apply(w, j.size+int64(begin), ends[i]-begin)
		begin = ends[i]
	}
	j.n += uint64(len(writes))
	j.size += int64(len(text))
	grown := j.size > max(j.compactAt, 1<<20+4*j.liveBytes)
	j.mu.Unlock()
	if grown {
		j.compact()
	}
	return nil
}

// compact rewrites the file with what is live. Tombstones stay: a write that the broker took before a deletion may yet
// be on its way here. When that fails the file stays as it is, or, once it was replaced, takes no more writes. Caller
// holds flush.
func (j *Journal) compact() {
	j.compactAt = 2 * j.size // when this fails
	writes, err := j.Live()
	if err != nil {
		return
	}
	j.mu.Lock()
	last := j.lastLocked()
	for k, p := range j.live {
		if p.deleted {
			writes = append(writes, Write{Bucket: k.bucket, Key: k.key, Revision: p.revision, Deleted: true})
		}
	}
	n, incomplete := j.n, j.incomplete
	j.mu.Unlock()
	if err := create(j.dir, n, writes, last, incomplete); err != nil {
		return
	}
	found, err := Read(j.dir)
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(filepath.Join(j.dir, fileName), os.O_RDWR, 0)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.file.Close()
	if err != nil {
		j.file = nil // put fails from now on, and the next start finds a whole file
		return
	}
	j.file, j.size, j.n, j.liveBytes, j.compactAt = f, found.size, found.n, 0, 0
	clear(j.live)
	clear(j.buckets)
	for _, l := range found.lines {
		j.apply(l.Write, l.at, l.length)
	}
}

func (j *Journal) lastLocked() map[string]uint64 {
	last := make(map[string]uint64, len(j.buckets))
	for name, b := range j.buckets {
		last[name] = b.Last
	}
	return last
}

// Live reads all live records, by bucket and revision.
func (j *Journal) Live() ([]Write, error) {
	j.mu.Lock()
	file := j.file
	places := make([]place, 0, len(j.live))
	for _, p := range j.live {
		if !p.deleted {
			places = append(places, p)
		}
	}
	j.mu.Unlock()
	if file == nil {
		return nil, fs.ErrClosed
	}
	writes := make([]Write, 0, len(places))
	for _, p := range places {
		b := make([]byte, p.length)
		if _, err := file.ReadAt(b, p.at); err != nil {
			return nil, fmt.Errorf("journal of records: %w", err)
		}
		l, ok := parse(bytes.TrimSuffix(b, []byte("\n")))
		if !ok {
			return nil, fmt.Errorf("journal of records: the line at byte %d is damaged", p.at)
		}
		writes = append(writes, l.Write)
	}
	Sort(writes)
	return writes, nil
}

// Snapshot is Live, and the last revision of each bucket, at one moment.
func (j *Journal) Snapshot() (writes []Write, last map[string]uint64, err error) {
	j.flush.Lock()
	defer j.flush.Unlock()
	writes, err = j.Live()
	j.mu.Lock()
	defer j.mu.Unlock()
	return writes, j.lastLocked(), err
}

// Incomplete says why records may be missing; empty: they are all there.
func (j *Journal) Incomplete() string { return j.incomplete }

// Sort orders writes by bucket and revision.
func Sort(writes []Write) {
	slices.SortFunc(writes, func(a, b Write) int {
		if c := strings.Compare(a.Bucket, b.Bucket); c != 0 {
			return c
		}
		if a.Revision < b.Revision {
			return -1
		}
		return 1
	})
}

// Files are the names of a journal's files in its folder.
var Files = []string{fileName, markName}
