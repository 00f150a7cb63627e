// Package snapshottest holds what tests of snapshots share: made-up memory, the suites that every implementation of Blobs and of
// Records passes, and Records in memory.
package snapshottest

import (
	"encoding/binary"
	"math/rand/v2"

	"thaw/snapshot"
)

// Memory makes n pages that look like a process's: a tenth zeros, text, pointers into one region, small numbers; it compresses about
// 4 : 1. Equal seeds give equal pages.
func Memory(seed uint64, n int) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n*snapshot.PageSize)
	base := 0x7f0000000000 + r.Uint64N(1<<30)<<12
	words := []string{"function", "prototype", "exports", "undefined", "constructor", "length", "require", "node_modules", "handler", "event"}
	for i := range n {
		page := b[i*snapshot.PageSize : (i+1)*snapshot.PageSize]
		switch r.IntN(10) {
		case 0: // zeros
		case 1, 2: // text
			for p := page; len(p) > 0; {
				p = p[copy(p, words[r.IntN(len(words))]):]
				if len(p) > 0 {
					p = p[1:]
				}
			}
		case 3: // not compressible
			for j := 0; j < len(page); j += 8 {
				binary.LittleEndian.PutUint64(page[j:], r.Uint64())
			}
		default: // objects: a type, pointers, numbers
			kind := base + r.Uint64N(16)*64
			for j := 0; j < len(page); j += 32 {
				binary.LittleEndian.PutUint64(page[j:], kind)
				binary.LittleEndian.PutUint64(page[j+8:], base+r.Uint64N(1<<20)*16)
				binary.LittleEndian.PutUint64(page[j+16:], r.Uint64N(1000)<<32)
			}
		}
	}
	return b
}

// Shifted is memory in which a few pages differ and the rest lie elsewhere: changed pages are new, and shift pages are put in at a
// third of it, as an allocator does that went another way.
func Shifted(memory []byte, seed uint64, changed, shift int) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	const ps = snapshot.PageSize
	at := len(memory) / ps / 3 * ps
	out := append([]byte(nil), memory[:at]...)
	for range shift * ps / 8 {
		out = binary.LittleEndian.AppendUint64(out, r.Uint64N(1<<20))
	}
	out = append(out, memory[at:]...)
	for range changed {
		page := r.IntN(len(out) / ps)
		binary.LittleEndian.PutUint64(out[page*ps+r.IntN(ps/8)*8:], r.Uint64())
	}
	return out
}

// Rebuilt is memory as a process leaves it that was initialised once more: the same objects, in pages of which none is equal to one of before. What a page holds
// lies some words further on, a tenth of the pages come in another order, and a few words of each are others.
func Rebuilt(memory []byte, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 3))
	const ps = snapshot.PageSize
	out := append([]byte(nil), memory...)
	pages := len(out) / ps
	page := func(i int) []byte { return out[i*ps : (i+1)*ps] }
	for range pages / 20 {
		a, b := page(r.IntN(pages)), page(r.IntN(pages))
		for i := range a {
			a[i], b[i] = b[i], a[i]
		}
	}
	for i := range pages {
		p := page(i)
		if [ps]byte(p) == [ps]byte{} {
			continue
		}
		shift := 8 * r.IntN(8)
		copy(p[shift:], append([]byte(nil), p[:ps-shift]...))
		for range 1 + r.IntN(6) {
			binary.LittleEndian.PutUint64(p[8*r.IntN(ps/8):], 0x7f0000000000+r.Uint64N(1<<30))
		}
	}
	return out
}
