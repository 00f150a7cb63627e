package snapshot

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
)

// # A page as a difference
//
// A page of a heap that was built once more is seldom equal to one of the former heap and nearly always made of its pieces: objects lie elsewhere, some pointers
// are others. So a page is written as copies out of up to basePages other pages, one after another as one dictionary, and literals between.
// Heaps are made of words, kernel state and text of bytes; a page's own content says which unit is taken.
//
//	delta  = size of ops, ops of all pages, literals of all pages
//	ops    = unit and number of base pages; for each its place in the dictionary of the pack; then, until the page is full,
//	         units that are literal, and unless they fill it: units to copy less one, and from where, relative to where the last copy would go on
//
// All numbers are varints. The result is for zstd: literals repeat each other.
//
// What looks at every byte of a page that one goroutine has is "norace": in tests the race detector took fifteen times as
// long for it as for all the rest.

// basePages is how many other pages one page may be made of. Measured on heaps of Python: with one 1,060 KB, two 660, three 640. On kernel state, whose objects move
// about, four take a tenth less than two.
const basePages = 4

// unitOf is the unit in which a page is best compared: a word, unless few words begin with the zeros of a pointer or a small number.
//
//go:norace
func unitOf(page []byte) int {
	n := 0
	for w := 6; w < PageSize; w += 8 {
		if page[w] == 0 && page[w+1] == 0 {
			n++
		}
	}
	if n < PageSize/8/4 {
		return 1
	}
	return 8
}

// deltaWriter writes pages as differences.
type deltaWriter struct {
	ops, literals []byte
	dict          []byte          // of the page at hand
	last          int             // dictionary page that was named last
	table         [1 << 15]uint16 // unit of the dictionary, from 1; its units are at most as many as fit
}

func spread(x uint64, bits uint) uint64 { return x * 0x9e3779b97f4a7c15 >> (64 - bits) }

// add writes one page, given its base pages and their places in the pack's dictionary.
//
//go:norace
func (d *deltaWriter) add(page []byte, base [][]byte, places []int) {
	d.dict = d.dict[:0]
	unit := unitOf(page)
	head := len(base) << 1
	if unit == 1 {
		head++
	}
	d.ops = append(d.ops, byte(head))
	for i, b := range base {
		d.dict = append(d.dict, b...)
		d.ops = binary.AppendVarint(d.ops, int64(places[i]-d.last))
		d.last = places[i]
	}
	at := binary.LittleEndian.Uint64
	bits, short, long := uint(12), 8, 16 // a copy that goes on where the last ended costs less, and so pays sooner
	if unit == 1 {
		bits, short, long = 15, 4, 8
	}
	table := d.table[:1<<bits]
	clear(table)
	for w := len(d.dict) - 8; w >= 0; w -= unit {
		table[spread(at(d.dict[w:]), bits)] = uint16(w/unit + 1)
	}
	literal, next := 0, 0 // bytes that wait; where the last copy would go on
	for w := 0; w < PageSize; {
		from, n := next, 0
		if next < len(d.dict) {
			n = common(page[w:], d.dict[next:], unit)
		}
		if n < long && w+8 <= PageSize {
			if s := table[spread(at(page[w:]), bits)]; s > 0 {
				if m := common(page[w:], d.dict[int(s-1)*unit:], unit); m > n {
					from, n = int(s-1)*unit, m
				}
			}
		}
		if n < long && (n < short || from != next) {
			literal, w, next = literal+unit, w+unit, next+unit
			continue
		}
		d.flush(page, w, literal, unit)
		literal = 0
		d.ops = binary.AppendUvarint(d.ops, uint64(n/unit-1))
		d.ops = binary.AppendVarint(d.ops, int64(from-next)/int64(unit))
		w, next = w+n, from+n
	}
	if literal > 0 {
		d.flush(page, PageSize, literal, unit)
	}
}

func (d *deltaWriter) flush(page []byte, w, literal, unit int) {
	d.ops = binary.AppendUvarint(d.ops, uint64(literal/unit))
	d.literals = append(d.literals, page[w-literal:w]...)
}

// common is how many bytes, whole units, a and b have in common at their beginning.
//
//go:norace
func common(a, b []byte, unit int) int {
	n, end := 0, min(len(a), len(b))
	for n+8 <= end && binary.LittleEndian.Uint64(a[n:]) == binary.LittleEndian.Uint64(b[n:]) {
		n += 8
	}
	if unit == 1 {
		for n < end && a[n] == b[n] {
			n++
		}
	}
	return n
}

// bytes is what applyDelta takes.
func (d *deltaWriter) bytes() []byte {
	b := binary.AppendUvarint(make([]byte, 0, len(d.ops)+len(d.literals)+binary.MaxVarintLen64), uint64(len(d.ops)))
	return slices.Concat(b, d.ops, d.literals)
}

var errDelta = errors.New("malformed difference")

// maxDelta bounds what a delta of some pages can take: a literal page with the ops for every unit a copy of its own.
func maxDelta(pages int) int { return pages*PageSize*4 + 64 }

// maxStep bounds from where a copy is, relative to where the last would go on: that may lie past the dictionary's end
// by all that was literal since.
const maxStep = PageSize * (basePages + 1)

// applyDelta appends as many pages to out as were written. dict is the pack's dictionary.
func applyDelta(delta []byte, pages int, dict [][]byte, out []byte) ([]byte, error) {
	size, n := binary.Uvarint(delta)
	if n <= 0 || size > uint64(len(delta)-n) {
		return nil, errDelta
	}
	ops, literals := bytes.NewReader(delta[n:n+int(size)]), delta[n+int(size):]
	last := int64(0)
	var base []byte
	for range pages {
		head, err := ops.ReadByte()
		if err != nil || head>>1 > basePages {
			return nil, errDelta
		}
		unit := uint64(8)
		if head&1 == 1 {
			unit = 1
		}
		base = base[:0]
		for range head >> 1 {
			step, err := binary.ReadVarint(ops)
			last += step
			if err != nil || last < 0 || last >= int64(len(dict)) {
				return nil, errDelta
			}
			base = append(base, dict[last]...)
		}
		next := int64(0)
		for left := uint64(PageSize); ; {
			count, err := binary.ReadUvarint(ops)
			if err != nil || count > left/unit || count*unit > uint64(len(literals)) {
				return nil, errDelta
			}
			out = append(out, literals[:count*unit]...)
			literals, left, next = literals[count*unit:], left-count*unit, next+int64(count*unit)
			if left == 0 {
				break
			}
			count, err = binary.ReadUvarint(ops)
			if err != nil || count >= left/unit {
				return nil, errDelta
			}
			step, err := binary.ReadVarint(ops)
			if err != nil || step > maxStep || step < -maxStep {
				return nil, errDelta
			}
			n := int64((count + 1) * unit)
			next += step * int64(unit)
			if next < 0 || next > int64(len(base))-n {
				return nil, errDelta
			}
			out = append(out, base[next:next+n]...)
			left, next = left-uint64(n), next+n
			if left == 0 {
				break
			}
		}
	}
	if ops.Len() > 0 || len(literals) > 0 {
		return nil, errDelta
	}
	return out, nil
}

// sketchSize is how many features a page has. With 8 the differences of Node's and Python's heaps were a seventh larger.
const sketchSize = 16

// sketch is what similar pages have in common: the smallest hashes of all pairs of words in a page, or of all 16 bytes that follow each other where the unit is a
// byte. Two pages share as many as they share content, wherever it lies. It ends in zeros when the page is too monotonous to have so many.
type sketch [sketchSize]uint32

//go:norace
func sketchOf(page []byte) (s sketch) {
	unit := unitOf(page)
	n, before := 0, uint64(0)
	for w := 0; w+16 <= PageSize; w += unit {
		x := binary.LittleEndian.Uint64(page[w:]) * 0x9e3779b97f4a7c15
		x ^= x >> 32
		x = (x ^ binary.LittleEndian.Uint64(page[w+8:])) * 0xbf58476d1ce4e5b9
		x ^= x >> 32
		h := uint32(x>>32) | 1
		if x == before || n == sketchSize && h >= s[n-1] {
			continue
		}
		before = x
		i := n
		for i > 0 && s[i-1] > h {
			i--
		}
		if i > 0 && s[i-1] == h {
			continue
		}
		copy(s[i+1:], s[i:min(n, sketchSize-1)])
		s[i] = h
		n = min(n+1, sketchSize)
	}
	return s
}
