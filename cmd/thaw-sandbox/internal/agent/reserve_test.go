package agent

import (
	"math/rand/v2"
	"slices"
	"testing"

	"gvisor.dev/gvisor/pkg/sentry/memmap"
)

func fr(pages ...uint64) (list []memmap.FileRange) {
	for i := 0; i < len(pages); i += 2 {
		list = append(list, memmap.FileRange{Start: pages[i] << 12, End: pages[i+1] << 12})
	}
	return list
}

func encoded(list []memmap.FileRange) (b []byte) {
	for _, r := range list {
		b = appendRange(b, r)
	}
	return b
}

func TestRangesAreReadAsWritten(t *testing.T) {
	want := fr(0, 1, 5, 9, 262000, 262144)
	if got := readRanges(encoded(want)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, b := range map[string][]byte{
		"nothing": nil, "half a range": encoded(want)[:5], "no order": encoded(fr(5, 9, 0, 1)), "an overlap": encoded(fr(0, 6, 5, 9)), "an empty range": make([]byte, rangeSize),
	} {
		if got := readRanges(b); len(got) != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := readRanges(encoded(fr(0, 1, 5, 9))[:rangeSize+3]); !slices.Equal(got, fr(0, 1)) {
		t.Errorf("a range and a half: %v", got)
	}
}

func TestMerge(t *testing.T) {
	if got := merge(fr(8, 9, 0, 2, 2, 4, 6, 9, 5, 6)); !slices.Equal(got, fr(0, 4, 5, 9)) {
		t.Errorf("got %v", got)
	}
}

// Every page of the list is in exactly one piece, on the right side.
func TestParts(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	some := func() (list []memmap.FileRange) {
		for at := random.Uint64N(5); at < 60; {
			n := 1 + random.Uint64N(6)
			list = append(list, fr(at, at+n)...)
			at += n + random.Uint64N(4)
		}
		return list
	}
	pages := func(list []memmap.FileRange) map[uint64]int {
		m := make(map[uint64]int)
		for _, r := range list {
			for a := r.Start; a < r.End; a += 4096 {
				m[a]++
			}
		}
		return m
	}
	for range 1000 {
		list, by := some(), some()
		var in, out []memmap.FileRange
		parts(list, by, func(piece memmap.FileRange, inside bool) {
			if inside {
				in = append(in, piece)
			} else {
				out = append(out, piece)
			}
		})
		ins, outs, bys := pages(in), pages(out), pages(by)
		for a := range pages(list) {
			want := [2]int{1, 0}
			if bys[a] == 0 {
				want = [2]int{0, 1}
			}
			if got := [2]int{ins[a], outs[a]}; got != want {
				t.Fatalf("%v by %v: page %d is %d times inside and %d times outside", list, by, a>>12, got[0], got[1])
			}
		}
		if len(ins)+len(outs) != len(pages(list)) {
			t.Fatalf("%v by %v: pieces %v and %v", list, by, in, out)
		}
	}
}

func TestTouchesAreReadAsWritten(t *testing.T) {
	want := []touch{{1, 0x48b000, touchExecute}, {2, 0x7ee4a693a000, touchRead | touchWrite}}
	var b []byte
	for _, k := range want {
		b = appendTouch(b, k)
	}
	if got := readTouches(append(b, 1, 2, 3)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := readTouches(make([]byte, (maxTouches+5)*touchSize)); len(got) != maxTouches {
		t.Errorf("%d touches were read", len(got))
	}
	at := want[1].accessType()
	if !at.Read || !at.Write || at.Execute {
		t.Errorf("access %v", at)
	}
	if got := touchOf(2, 0x7ee4a693a123, at); got != want[1] {
		t.Errorf("got %v, want %v", got, want[1])
	}
}
