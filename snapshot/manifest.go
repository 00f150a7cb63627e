package snapshot

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// PageSize is the unit of sharing, in bytes.
const PageSize = 4096

// Limits of what a manifest may say: they bound what reading a damaged one can cost.
const (
	maxFiles     = 64
	maxFileSize  = 1 << 40
	maxPacks     = 1 << 20
	maxPackPages = 1 << 16
)

// Stage is one named step of making a snapshot and how long it took.
type Stage struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"` // wall clock
	CPU     float64 `json:"cpu,omitempty"`
}

// Meta is what is known of a snapshot besides its bytes.
type Meta struct {
	ID         ID         `json:"id"`
	Generation Generation `json:"generation"`
	Key        Key        `json:"key"`
	// Born is when its Init began: what the function cached is at most as old. Its age counts from here.
	Born    time.Time `json:"born"`
	Created time.Time `json:"created"` // when its memory was saved
	Expires time.Time `json:"expires"` // zero: never; at this time no invoke starts on it any more
	// StatedExpiry is what a before-checkpoint hook said; zero when it said nothing. Expires follows from it and from the policy.
	StatedExpiry time.Time `json:"statedExpiry,omitzero"`
	MakeSeconds  float64   `json:"makeSeconds,omitempty"` // from the start of Init until verified
	Stages       []Stage   `json:"stages,omitempty"`
	Hooks        []string  `json:"hooks,omitempty"`  // that ran before the checkpoint, in order
	Primed       int       `json:"primed,omitempty"` // priming invokes in it
	// Attributes are the backend's own notes, which it reads back at restore.
	Attributes map[string]string `json:"attributes,omitempty"`
}

// KeyHash is the hash of its key; empty for no snapshot.
func (m *Meta) KeyHash() KeyHash {
	if m == nil {
		return ""
	}
	return m.Key.Hash()
}

// Age is how old what it cached can be.
func (m *Meta) Age(now time.Time) time.Duration { return now.Sub(m.Born) }

// Usable says whether an invoke may start on it now, under the present key.
func (m *Meta) Usable(now time.Time, key KeyHash) bool {
	return !m.Ended(now) && m.Key.Hash() == key
}

// clockSteps is by how much the wall clock may be set back without any doubt about a snapshot's age.
const clockSteps = 10 * time.Second

// Ended says whether its time is over.
func (m *Meta) Ended(now time.Time) bool {
	return !m.Expires.IsZero() && (!now.Before(m.Expires) || m.unborn(now))
}

// unborn says whether it was born in the future by the clock, which was set back then: nobody knows its age.
func (m *Meta) unborn(now time.Time) bool { return m.Born.After(now.Add(clockSteps)) }

// Manifest is a complete snapshot in a store. It is never changed in place.
type Manifest struct {
	Meta
	Files []File    `json:"files"`
	Packs []PackRef `json:"packs"`
	// At the time of the commit:
	Pages      int   `json:"pages"`           // in all files
	ZeroPages  int   `json:"zero"`            // of these, not kept
	NewPages   int   `json:"new"`             // of these, not shared with anything before
	DeltaPages int   `json:"delta,omitempty"` // of the new ones, kept as differences from pages of an earlier snapshot
	NewBytes   int64 `json:"newBytes"`        // what storing it added, in bytes as stored
}

// Size is the size of all files in bytes.
func (m *Manifest) Size() int64 {
	var n int64
	for i := range m.Files {
		n += m.Files[i].Size
	}
	return n
}

// File finds a file by its name; nil when there is none.
func (m *Manifest) File(name string) *File {
	for i := range m.Files {
		if m.Files[i].Name == name {
			return &m.Files[i]
		}
	}
	return nil
}

// File is one file of a snapshot.
type File struct {
	Name string `json:"name"`
	Size int64  `json:"size"`
	Sum  uint64 `json:"sum"`  // of its pages, see pageSum
	Runs []byte `json:"runs"` // see run
}

// PackRef names a pack and how many pages it holds.
type PackRef struct {
	ID    string `json:"id"`
	Pages int    `json:"pages"`
	// Base, when set, says of which pages this pack's pages are differences: runs as of a File, without zeros. The packs in it are whole ones of the same list.
	Base []byte `json:"base,omitempty"`
}

// run is count pages of a file that come one after another: slots of one pack, or zeros.
type run struct {
	pack  int // index into Manifest.Packs; -1: zeros
	slot  int
	count int
}

// Each run is written as three (zeros: two) unsigned varints: pack+1, slot, count.
type runWriter struct {
	b    []byte
	last run
}

func (w *runWriter) add(pack, slot int) {
	l := &w.last
	if l.count > 0 && l.pack == pack && (pack < 0 || l.slot+l.count == slot) {
		l.count++
		return
	}
	w.flush()
	*l = run{pack, slot, 1}
}

func (w *runWriter) flush() {
	if w.last.count == 0 {
		return
	}
	w.b = binary.AppendUvarint(w.b, uint64(w.last.pack+1))
	if w.last.pack >= 0 {
		w.b = binary.AppendUvarint(w.b, uint64(w.last.slot))
	}
	w.b = binary.AppendUvarint(w.b, uint64(w.last.count))
	w.last.count = 0
}

var errRuns = errors.New("malformed runs")

// eachRun calls f for every run of a file with the number of its first page.
func (m *Manifest) eachRun(file *File, f func(page int64, r run)) error {
	pages, page := pagesOf(file.Size), int64(0)
	for b := file.Runs; len(b) > 0; {
		var v [3]uint64
		for i := range v {
			if i == 1 && v[0] == 0 {
				continue
			}
			n := 0
			if v[i], n = binary.Uvarint(b); n <= 0 {
				return errRuns
			}
			b = b[n:]
		}
		if v[2] == 0 || v[2] > uint64(pages-page) || v[0] > uint64(len(m.Packs)) {
			return errRuns
		}
		r := run{int(v[0]) - 1, int(v[1]), int(v[2])}
		if r.pack >= 0 && (v[1] > maxPackPages || v[2] > maxPackPages || r.slot+r.count > m.Packs[r.pack].Pages) {
			return errRuns
		}
		f(page, r)
		page += int64(r.count)
	}
	if page != pages {
		return errRuns
	}
	return nil
}

func pagesOf(size int64) int64 { return (size + PageSize - 1) / PageSize }

// ParseManifest reads what Marshal wrote, and refuses what is inconsistent in itself.
func ParseManifest(b []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

// Marshal writes a manifest.
func (m *Manifest) Marshal() ([]byte, error) { return json.Marshal(m) }

func (m *Manifest) validate() error {
	if !m.ID.Valid() {
		return fmt.Errorf("malformed id %q", m.ID)
	}
	if len(m.Files) > maxFiles || len(m.Packs) > maxPacks {
		return errors.New("too many files or packs")
	}
	seen := make(map[string]bool, len(m.Packs))
	for _, p := range m.Packs {
		if !ID(p.ID).Valid() || p.Pages <= 0 || p.Pages > maxPackPages || seen[p.ID] {
			return fmt.Errorf("malformed pack %q", p.ID)
		}
		seen[p.ID] = true
	}
	for i, p := range m.Packs {
		if _, err := m.dictOf(i); err != nil {
			return fmt.Errorf("base of pack %q: %w", p.ID, err)
		}
	}
	names := make(map[string]bool, len(m.Files))
	for i := range m.Files {
		f := &m.Files[i]
		if !validFileName(f.Name) || names[f.Name] {
			return fmt.Errorf("malformed file name %q", f.Name)
		}
		names[f.Name] = true
		if f.Size < 0 || f.Size > maxFileSize {
			return fmt.Errorf("malformed size of %s", f.Name)
		}
		if err := m.eachRun(f, func(int64, run) {}); err != nil {
			return fmt.Errorf("%s: %w", f.Name, err)
		}
	}
	return nil
}

// validFileName allows what can be a file's name in a folder beside our own: letters, digits, dot, hyphen, underscore, no dot first.
func validFileName(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_"
	return s != "" && len(s) <= 100 && s[0] != '.' && strings.Trim(s, letters) == ""
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// pageSum is a page's part of its file's Sum, which is their sum: pages may be summed in any order, and one that is changed or
// in the wrong place shows. It guards against mistakes of ours and of disks; against others there is the seal.
func pageSum(page int64, b []byte) uint64 {
	x := uint64(page)<<32 ^ uint64(crc32.Checksum(b, castagnoli)) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9 // the finaliser of splitmix64
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// index is what one commit added: the hashes of the pages of its packs.
type packIndex struct {
	id     ID
	hashes []pageHash
	delta  bool // its pages are differences: only a manifest tells from what
}

// Marks in the number of a pack's pages.
const (
	deltaBit = 1 << 31 // its pages are differences
	hashBit  = 1 << 30 // its hashes are as long as ours: since format 3. Older ones have oldHash bytes, of which ours are the first.
	oldHash  = 16
)

// An index is written pack by pack: 16 bytes id, u32 big-endian number of pages and marks, the hash of each.
func marshalIndex(packs []packIndex) []byte {
	var b []byte
	for _, p := range packs {
		id, err := hex.DecodeString(string(p.id))
		if err != nil || len(id) != 16 {
			panic("malformed pack id " + string(p.id))
		}
		b = append(b, id...)
		n := uint32(len(p.hashes)) | hashBit
		if p.delta {
			n |= deltaBit
		}
		b = binary.BigEndian.AppendUint32(b, n)
		for i := range p.hashes {
			b = append(b, p.hashes[i][:]...)
		}
	}
	return b
}

func parseIndex(b []byte) ([]packIndex, error) {
	var packs []packIndex
	for len(b) > 0 {
		if len(b) < 20 {
			return nil, errors.New("malformed index")
		}
		n := uint64(binary.BigEndian.Uint32(b[16:]))
		delta := n&deltaBit != 0
		size := uint64(oldHash)
		if n&hashBit != 0 {
			size = uint64(len(pageHash{}))
		}
		n &^= deltaBit | hashBit
		if n == 0 || n > maxPackPages || uint64(len(b)-20) < n*size {
			return nil, errors.New("malformed index")
		}
		p := packIndex{id: ID(hex.EncodeToString(b[:16])), hashes: make([]pageHash, n), delta: delta}
		b = b[20:]
		for i := range p.hashes {
			copy(p.hashes[i][:], b[i*int(size):])
		}
		b = b[n*size:]
		packs = append(packs, p)
	}
	return packs, nil
}
