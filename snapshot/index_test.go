package snapshot

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"reflect"
	"testing"
)

func FuzzIndex(f *testing.F) {
	f.Add([]byte{})
	f.Add(marshalIndex([]packIndex{{NewID(), make([]pageHash, 3), false}, {NewID(), make([]pageHash, 1), true}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		packs, err := parseIndex(b)
		if err != nil {
			return
		}
		again := marshalIndex(packs)
		if same, err := parseIndex(again); err != nil || !reflect.DeepEqual(same, packs) {
			t.Fatalf("%x became %x, %v", b, again, err)
		}
		if len(again) > len(b) || len(again) == len(b) && !bytes.Equal(again, b) {
			t.Fatalf("%x became %x", b, again)
		}
	})
}

// An index of a store before format 3 has longer hashes.
func TestAnOlderIndex(t *testing.T) {
	now := []packIndex{{NewID(), []pageHash{{1, 2}, {3, 11: 4}}, true}, {NewID(), []pageHash{{5}}, false}}
	var b []byte
	for _, p := range now {
		id, _ := hex.DecodeString(string(p.id))
		n := uint32(len(p.hashes))
		if p.delta {
			n |= 1 << 31
		}
		b = binary.BigEndian.AppendUint32(append(b, id...), n)
		for _, h := range p.hashes {
			b = append(append(b, h[:]...), 9, 9, 9, 9)
		}
	}
	if got, err := parseIndex(b); err != nil || !reflect.DeepEqual(got, now) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseIndex(b[:len(b)-1]); err == nil {
		t.Error("a cut one was taken")
	}
}

func TestRunsAreJoined(t *testing.T) {
	m := &Manifest{Packs: []PackRef{{Pages: 10}, {Pages: 10}}}
	var w runWriter
	want := []run{{0, 3, 4}, {-1, 0, 3}, {0, 7, 1}, {1, 8, 2}, {1, 0, 1}, {-1, 0, 1}}
	size := int64(0)
	for _, r := range want {
		for i := range r.count {
			w.add(r.pack, r.slot+i)
			size += PageSize
		}
	}
	w.flush()
	var got []run
	if err := m.eachRun(&File{Size: size, Runs: w.b}, func(page int64, r run) { got = append(got, r) }); err != nil || len(got) != len(want) {
		t.Fatalf("%v, %v", got, err)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("%v instead of %v", got[i], want[i])
		}
	}
	for name, f := range map[string]File{
		"too few pages":       {Size: size + 1, Runs: w.b},
		"too many pages":      {Size: size - PageSize, Runs: w.b},
		"a cut varint":        {Size: PageSize, Runs: []byte{0x80}},
		"a run of none":       {Size: 0, Runs: []byte{0, 0}},
		"a pack out of range": {Size: PageSize, Runs: []byte{3, 0, 1}},
		"a slot out of range": {Size: PageSize, Runs: []byte{1, 10, 1}},
		"a huge count":        {Size: PageSize, Runs: []byte{1, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
	} {
		if err := m.eachRun(&f, func(int64, run) {}); err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}
