package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Found is what Read has found in a folder.
type Found struct {
	Exists     bool   // there is a journal or a mark
	Incomplete string // why an earlier start thought that records may be missing

	lines  []placed
	n      uint64 // of the last line
	size   int64  // bytes up to its end
	mark   mark
	marked bool
	damage []string
}

type placed struct {
	Write
	at     int64
	length int
}

func parse(b []byte) (l line, ok bool) {
	text, ok := unseal(b)
	if !ok || json.Unmarshal(text, &l) != nil {
		return line{}, false
	}
	return l, true
}

// Read reads the journal of a folder and changes nothing. Damage is no error: Damage tells of it.
func Read(dir string) (*Found, error) {
	f := &Found{}
	m, damage, err := readMark(dir)
	if err != nil {
		return nil, fmt.Errorf("journal of records: %w", err)
	}
	f.mark, f.marked = m, damage == ""
	b, err := os.ReadFile(filepath.Join(dir, fileName))
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing {
		return nil, fmt.Errorf("journal of records: %w", err)
	}
	_, err = os.Lstat(filepath.Join(dir, markName))
	f.Exists = !missing || err == nil
	if !f.Exists {
		return f, nil
	}
	f.Incomplete = m.Incomplete
	if missing {
		f.damage = append(f.damage, "the journal is missing")
	} else {
		f.read(b)
	}
	if f.marked && f.n < m.N {
		f.damage = append(f.damage, fmt.Sprintf("the journal ends after write %d of %d", f.n, m.N))
	}
	return f, nil
}

func (f *Found) read(b []byte) {
	var base uint64
	headed := false
	var bad []string // lines that no good one follows
	for at, number := 0, 1; at < len(b); number++ {
		end := bytes.IndexByte(b[at:], '\n')
		torn := end < 0
		if torn {
			end = len(b) - at
		}
		l, ok := parse(b[at : at+end])
		switch {
		case torn: // its write was never acknowledged, or the mark says how many there are
			ok = false
		case !ok:
			bad = append(bad, fmt.Sprintf("line %d of the journal is damaged", number))
		case l.Head != nil && number == 1 && l.Head.Format == format:
			headed, base = true, l.Head.Base
			f.n = l.N
			if l.Head.Incomplete != "" {
				f.Incomplete = l.Head.Incomplete
			}
		case l.Head != nil:
			f.damage = append(f.damage, fmt.Sprintf("line %d of the journal is of another format", number))
		default:
			if headed && l.N != f.n+1 && len(f.damage)+len(bad) == 0 {
				f.damage = append(f.damage, fmt.Sprintf("writes %d to %d are not in the journal", f.n+1, l.N-1))
			}
			f.n = max(f.n, l.N)
			f.lines = append(f.lines, placed{l.Write, int64(at), end + 1})
		}
		at += end + 1
		if ok {
			f.size = int64(at)
			f.damage, bad = append(f.damage, bad...), nil
		}
	}
	if !f.marked || f.n < max(base, f.mark.N) { // else they are of writes that were never acknowledged
		f.damage = append(f.damage, bad...)
	}
	if !headed && len(f.damage) == 0 {
		f.damage = append(f.damage, "the journal has no head")
	}
	if f.n < base {
		f.damage = append(f.damage, fmt.Sprintf("the journal ends after write %d of %d", f.n, base))
	}
}

// Whole says that the journal has every write, by its own word and the mark's.
func (f *Found) Whole() bool { return f.Exists && f.marked && len(f.damage) == 0 && f.Incomplete == "" }

// Damage says what is wrong with the journal and its mark.
func (f *Found) Damage() []string {
	if f.Exists && !f.marked {
		return append(slices.Clone(f.damage), "the mark of the journal is missing or damaged")
	}
	return f.damage
}

// Verdict is what journal and broker together hold.
type Verdict struct {
	Writes     []Write           // what is live, by bucket and revision
	Last       map[string]uint64 // revisions that were given, by bucket
	Incomplete string            // why records may be missing; empty: they are all there
	// Broker and Journal say what either lacks, by bucket and key; of a record that has newer contents the older are no more.
	Broker, Journal []string
}

// Judge puts together what the journal and the broker have; the newer write of a key counts. readable says that the
// broker gave all that it has. Records are known to be complete when the journal is whole, or when the two have
// together what the mark says, or, without the mark, when they have the same.
func (f *Found) Judge(broker []Write, readable bool) Verdict {
	v := Verdict{Last: map[string]uint64{}}
	ofBroker, ofJournal := newest(broker), map[id]Write{}
	for _, l := range f.lines {
		take(ofJournal, l.Write)
	}
	union := maps.Clone(ofJournal)
	whole := f.Whole()
	given := map[string]uint64{}
	for _, l := range f.lines {
		given[l.Bucket] = max(given[l.Bucket], l.Revision)
	}
	for k, w := range ofBroker {
		if _, known := ofJournal[k]; !known && whole && w.Revision <= given[k.bucket] && k.key != "" {
			continue // deleted, and its tombstone is no more
		}
		take(union, w)
	}
	for k, w := range union {
		v.Last[k.bucket] = max(v.Last[k.bucket], w.Revision)
		if k.key == "" {
			continue
		}
		if b, ok := ofBroker[k]; (!ok && !w.Deleted) || ok && b.Revision < w.Revision {
			v.Broker = append(v.Broker, k.bucket+" "+k.key)
		}
		if j, ok := ofJournal[k]; (!ok && !w.Deleted) || ok && j.Revision < w.Revision {
			v.Journal = append(v.Journal, k.bucket+" "+k.key)
		}
		if !w.Deleted {
			v.Writes = append(v.Writes, w)
		}
	}
	for k := range ofBroker {
		if w, ok := union[k]; (!ok || w.Deleted && w.Revision > ofBroker[k].Revision) && !ofBroker[k].Deleted && k.key != "" {
			v.Broker = append(v.Broker, k.bucket+" "+k.key)
		}
	}
	for name, b := range f.mark.Buckets {
		v.Last[name] = max(v.Last[name], b.Last)
	}
	for name, last := range given {
		v.Last[name] = max(v.Last[name], last)
	}
	Sort(v.Writes)
	slices.Sort(v.Broker)
	v.Broker = slices.Compact(v.Broker)
	slices.Sort(v.Journal)
	v.Incomplete = f.incomplete(broker, readable, len(v.Broker) == 0 && len(v.Journal) == 0)
	return v
}

func (f *Found) incomplete(broker []Write, readable, same bool) string {
	switch {
	case f.Incomplete != "":
		return f.Incomplete
	case f.Whole():
		return ""
	case f.marked && f.meets(broker):
		return ""
	case !f.marked && len(f.damage) == 0 && readable && same:
		return ""
	}
	reason := "records may be missing"
	for _, d := range f.Damage() {
		reason += "; " + d
	}
	if !readable {
		reason += "; the broker's records are damaged"
	}
	if len(reason) > 500 {
		reason = reason[:500] + " ..."
	}
	return reason
}

// meets says whether journal and broker together have exactly what was live when the mark was written.
func (f *Found) meets(broker []Write) bool {
	then := map[id]Write{}
	consider := func(w Write) {
		if b := f.mark.Buckets[w.Bucket]; b != nil && w.Revision <= b.Last {
			take(then, w)
		}
	}
	for _, l := range f.lines {
		consider(l.Write)
	}
	for _, w := range broker {
		consider(w)
	}
	got := map[string]*Bucket{}
	for k, w := range then {
		if w.Deleted || k.key == "" {
			continue
		}
		if got[k.bucket] == nil {
			got[k.bucket] = &Bucket{}
		}
		got[k.bucket].Live++
		got[k.bucket].Digest.flip(sumOf(w))
	}
	for name, want := range f.mark.Buckets {
		have := got[name]
		if have == nil {
			have = &Bucket{}
		}
		if have.Live != want.Live || have.Digest != want.Digest {
			return false
		}
	}
	return true
}

func newest(writes []Write) map[id]Write {
	m := make(map[id]Write, len(writes))
	for _, w := range writes {
		take(m, w)
	}
	return m
}

func take(m map[id]Write, w Write) {
	k := id{w.Bucket, w.Key}
	if was, ok := m[k]; !ok || was.Revision < w.Revision {
		m[k] = w
	}
}
