package firecracker

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// sparseFile has a byte at each of the places.
func sparseFile(t *testing.T, size int64, places ...int64) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	for _, at := range places {
		if _, err := f.WriteAt([]byte{7}, at); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Truncate(size); err != nil {
		t.Fatal(err)
	}
	return f
}

// A packed file is unpacked as it was, with its holes, also at both sides of each edge of a block.
func TestPackedFiles(t *testing.T) {
	for _, places := range [][]int64{nil, {0}, {sumBlock - 1}, {sumBlock}, {5*sumBlock + 99}, {0, 3 * sumBlock, 5*sumBlock + 99}} {
		const size = 5*sumBlock + 100
		f := sparseFile(t, size, places...)
		list, err := extents(f)
		if err != nil {
			t.Fatal(err)
		}
		var packed bytes.Buffer
		if err := pack(&packed, f, list); err != nil {
			t.Fatal(err)
		}
		if n, ok := fits(list, size); !ok || n != int64(packed.Len()) || n > int64(len(places))<<16 {
			t.Errorf("%d: %d bytes in %v, packed are %d", places, n, list, packed.Len())
		}
		again := sparseFile(t, 0)
		if err := unpack(again, &packed, list, size); err != nil {
			t.Fatal(err)
		}
		one, err := os.ReadFile(f.Name())
		two, err2 := os.ReadFile(again.Name())
		if err := errors.Join(err, err2); err != nil || !bytes.Equal(one, two) {
			t.Errorf("%d: it comes back as another, %v", places, err)
		}
		whole, err := sumFile(f)
		if err != nil || whole.Size != size || len(whole.Blocks) != 6 {
			t.Errorf("%d: sums %+v, %v", places, whole, err)
		}
		flat := sparseFile(t, 0) // the same without a hole
		if _, err := flat.WriteAt(one, 0); err != nil {
			t.Fatal(err)
		}
		if err := whole.check(flat); err != nil {
			t.Errorf("%d: without holes %v", places, err)
		}
		if err := flip(flat, size-1); err != nil {
			t.Fatal(err)
		}
		if err := whole.check(flat); !errors.Is(err, errDamaged) {
			t.Errorf("%d: a last byte that was turned: %v", places, err)
		}
	}
}

func TestPlacesThatDoNotFit(t *testing.T) {
	for _, bad := range [][]extent{{{-1, 2}}, {{0, 0}}, {{0, -1}}, {{0, 101}}, {{99, 2}}, {{0, 2}, {1, 2}}, {{50, 1}, {40, 1}}, {{1 << 62, 1 << 62}}} {
		if _, ok := fits(bad, 100); ok {
			t.Errorf("%v fits in 100 bytes", bad)
		}
	}
	if n, ok := fits([]extent{{0, 2}, {2, 98}}, 100); !ok || n != 100 {
		t.Errorf("what fills the file has %d bytes, fits %v", n, ok)
	}
}

func FuzzManifest(f *testing.F) {
	m := &manifest{Made: madeOf{Format: format}, MemoryMiB: 128, Tmp: []extent{{0, 10}}, TmpSize: 20, Parts: map[string]sums{partTmp: {Size: 10}}}
	good, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(append(slices.Clone(good), '\n'))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if m, err := decodeManifest(text); err == nil {
			if n, ok := fits(m.Tmp, m.TmpSize); !ok || n != m.Parts[partTmp].Size {
				t.Errorf("a manifest with %v was taken", m.Tmp)
			}
		}
	})
}

func TestWhatAMachineSaidLast(t *testing.T) {
	c := new(console)
	if got := c.tail(); got != "(silent)" {
		t.Errorf("it says %q", got)
	}
	c.Write(bytes.Repeat([]byte("boot "), consoleKeep))
	c.Write([]byte("Kernel\npanic"))
	if got := c.tail(); len(got) > consoleKeep || got[len(got)-17:] != "boot Kernel panic" {
		t.Errorf("it ends %q and has %d bytes", got[len(got)-17:], len(got))
	}
}
