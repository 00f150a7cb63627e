package snapshot

import (
	"bytes"
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"

	"thaw/internal/faultfs"
)

func somePage(seed uint64, words bool) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	p := make([]byte, PageSize)
	for w := 0; w < PageSize; w += 8 {
		x := r.Uint64()
		if words {
			x >>= 18
		}
		binary.LittleEndian.PutUint64(p[w:], x)
	}
	return p
}

func TestAPageAsADifference(t *testing.T) {
	heap, text, other := somePage(1, true), somePage(2, false), somePage(3, true)
	moved := func(p []byte, by int) []byte { return append(append([]byte(nil), p[by:]...), p[:by]...) }
	changed := func(p []byte) []byte {
		p = append([]byte(nil), p...)
		p[100] ^= 1
		p[PageSize-1] ^= 1
		return p
	}
	for _, c := range []struct {
		name string
		page []byte
		base [][]byte
		most int // bytes
	}{
		{"the base itself", heap, [][]byte{heap}, 16},
		{"one with two changes", changed(heap), [][]byte{heap}, 48},
		{"one that slid by words", moved(heap, 64), [][]byte{heap}, 32},
		{"text that slid by a byte", moved(text, 1), [][]byte{text}, 32},
		{"half of each of two", append(append([]byte(nil), other[:PageSize/2]...), heap[PageSize/2:]...), [][]byte{heap, other}, 32},
		{"another", other, [][]byte{heap}, PageSize + 16},
		{"without a base", heap, nil, PageSize + 16},
		{"zeros", make([]byte, PageSize), nil, PageSize + 16},
	} {
		t.Run(c.name, func(t *testing.T) {
			var w deltaWriter
			dict := append([][]byte{text, make([]byte, PageSize)}, c.base...)
			places := []int{2, 3}[:len(c.base)]
			for range 2 { // the second time nothing of the first is left over
				w.add(c.page, c.base, places)
			}
			b := w.bytes()
			got, err := applyDelta(b, 2, dict, nil)
			if err != nil || !bytes.Equal(got, append(append([]byte(nil), c.page...), c.page...)) {
				t.Fatalf("another page came back, %v", err)
			}
			if len(b) > 2*c.most {
				t.Errorf("it takes %d bytes", len(b)/2)
			}
			if len(b) > maxDelta(2) {
				t.Errorf("%d bytes are more than maxDelta", len(b))
			}
			for n := range b {
				if _, err := applyDelta(b[:n], 2, dict, nil); err == nil {
					t.Fatalf("cut to %d of %d bytes it was taken", n, len(b))
				}
			}
			if _, err := applyDelta(b, 3, dict, nil); err == nil {
				t.Error("more pages came back than were written")
			}
			if _, err := applyDelta(b, 1, dict, nil); err == nil {
				t.Error("what was left over was overlooked")
			}
		})
	}
}

// A page made of any bytes comes back, whatever its bases; and whatever claims to be a difference, it makes whole pages or an error.
func FuzzDelta(f *testing.F) {
	var w deltaWriter
	w.add(somePage(1, true), [][]byte{somePage(1, true)}, []int{0})
	f.Add(w.bytes(), []byte("a page"))
	f.Add([]byte{}, []byte{})
	f.Add([]byte{3, 0, 0x80, 0x04}, bytes.Repeat([]byte{1, 2, 3}, 2000))
	f.Fuzz(func(t *testing.T, delta, content []byte) {
		page := func(i int) []byte {
			p := make([]byte, PageSize)
			for at := 0; len(content) > 0 && at < PageSize; {
				at += copy(p[at:], content[i*7%len(content):])
			}
			return p
		}
		dict := [][]byte{page(1), page(2)}
		if out, err := applyDelta(delta, 2, dict, nil); err == nil && len(out) != 2*PageSize {
			t.Fatalf("two pages of %d bytes", len(out))
		}
		var w deltaWriter
		want := append(page(0), page(3)...)
		w.add(page(0), dict, []int{0, 1})
		w.add(page(3), dict[1:], []int{1})
		if got, err := applyDelta(w.bytes(), 2, dict, nil); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("another page came back, %v", err)
		}
	})
}

func TestSketches(t *testing.T) {
	count := func(a, b sketch) (n int) {
		for _, x := range a {
			for _, y := range b {
				if x == y && x != 0 {
					n++
				}
			}
		}
		return n
	}
	for _, words := range []bool{true, false} {
		p := somePage(1, words)
		slid := append(append([]byte(nil), p[8:]...), 1, 2, 3, 4, 5, 6, 7, 8)
		if n := count(sketchOf(p), sketchOf(slid)); n < sketchSize/2 {
			t.Errorf("a page that slid has %d of %d features in common, words %v", n, sketchSize, words)
		}
		if n := count(sketchOf(p), sketchOf(somePage(2, words))); n > 0 {
			t.Errorf("two pages that have nothing in common share %d features, words %v", n, words)
		}
	}
	if s := sketchOf(make([]byte, PageSize)); s[1] != 0 {
		t.Errorf("zeros have the features %v", s)
	}
}

// A store of an older format is read as ever, and is one of the newest from then on.
func TestAStoreOfAnOlderFormat(t *testing.T) {
	ctx := context.Background()
	blobs, err := OpenFolder(faultfs.NewMem(), "/s")
	if err != nil {
		t.Fatal(err)
	}
	opt := Options{Blobs: blobs, Key: NewKey(make([]byte, 32)), Log: slog.New(slog.DiscardHandler)}
	s, err := Open(ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Begin(ctx, Meta{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add("x", bytes.NewReader(somePage(1, true))); err != nil {
		t.Fatal(err)
	}
	m, err := w.Commit(nil)
	if err != nil {
		t.Fatal(err)
	}
	w.Close()
	s.Close()
	for _, format := range append(slices.Clone(olderFormats), formatText) {
		if err := blobs.Put(ctx, formatKey, opt.Key.seal(formatKey, []byte(format))); err != nil {
			t.Fatal(err)
		}
		s, err := Open(ctx, opt)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Verify(ctx, m.ID); err != nil {
			t.Error(err)
		}
		s.Close()
		b, err := blobs.Get(ctx, formatKey)
		if err != nil {
			t.Fatal(err)
		}
		if text, err := opt.Key.open(formatKey, b); err != nil || string(text) != formatText {
			t.Errorf("the store says %q, %v", text, err)
		}
	}
	if err := blobs.Put(ctx, formatKey, opt.Key.seal(formatKey, []byte("thaw snapshot store 4"))); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, opt); err == nil {
		t.Error("a store of a later format was opened")
	}
}

// Copies may come from anywhere in the dictionary after any number of literals: from its end, and then, after much that
// was literal, from its beginning.
func TestACopyFromFarBack(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	var dict [][]byte
	for i := range uint64(basePages) {
		dict = append(dict, somePage(10+i, false))
	}
	whole := slices.Concat(dict...)
	for _, literal := range []int{0, 1, 51, 100, 2000} {
		for _, from := range []int{0, 1, 49, 50, 51, 52} {
			page := slices.Clone(whole[len(whole)-1000:])
			for range literal {
				page = append(page, byte(r.Uint32()))
			}
			page = append(page, whole[from:from+900]...)
			for len(page) < PageSize {
				page = append(page, byte(r.Uint32()))
			}
			var w deltaWriter
			w.add(page, dict, []int{0, 1, 2, 3})
			got, err := applyDelta(w.bytes(), 1, dict, nil)
			if err != nil || !bytes.Equal(got, page) {
				t.Errorf("%d literal bytes, then a copy from %d: %v", literal, from, err)
			}
		}
	}
}
