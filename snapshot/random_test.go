package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"thaw/snapshot"
	"thaw/snapshot/snapshottest"
)

// counting counts the blobs that are read.
type counting struct {
	snapshot.Blobs
	gets atomic.Int64
}

func (c *counting) Get(ctx context.Context, key string) ([]byte, error) {
	c.gets.Add(1)
	return c.Blobs.Get(ctx, key)
}

// readEverywhere compares reads at random places, of random lengths, by several at once.
func readEverywhere(t *testing.T, r *snapshot.Reader, files map[string][]byte) {
	t.Helper()
	var all sync.WaitGroup
	for name, want := range files {
		f, err := r.File(name)
		if err != nil || r.Size(name) != int64(len(want)) {
			t.Fatalf("%s: %d bytes, %v", name, r.Size(name), err)
		}
		for seed := range uint64(3) {
			all.Go(func() {
				random := rand.New(rand.NewPCG(seed, 0))
				for range 60 {
					off := random.IntN(len(want) + 10)
					got := make([]byte, random.IntN(40_000))
					n, err := f.ReadAt(got, int64(off))
					should := want[min(off, len(want)):min(off+len(got), len(want))]
					if !bytes.Equal(got[:n], should) || (err == io.EOF) != (n < len(got) || off >= len(want)) || err != nil && err != io.EOF {
						t.Errorf("%s at %d: %d bytes of %d: %v", name, off, n, len(should), err)
						return
					}
				}
			})
		}
	}
	all.Wait()
}

// TestRandomReads holds that a snapshot can be read at any place without its files, also one that is kept as differences.
func TestRandomReads(t *testing.T) {
	blobs := &counting{Blobs: folder(t, t.TempDir())}
	s := openStore(t, blobs, func(o *snapshot.Options) { o.PackPages = 128 })
	memory := snapshottest.Memory(3, 1500)
	first := map[string][]byte{"memory": memory, "state": []byte("short"), "holes": append(make([]byte, 50_000), memory[:9000]...)}
	second := map[string][]byte{"memory": snapshottest.Rebuilt(memory, 4), "state": []byte("another")}
	var readers []*snapshot.Reader
	for i, files := range []map[string][]byte{first, second} {
		m := put(t, s, meta(1, uint64(i+1)), files)
		if i == 1 && m.DeltaPages == 0 {
			t.Error("the second is not kept as differences: the test tests less than it should")
		}
		r, err := s.Reader(t.Context(), m.ID)
		if err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r)
		readEverywhere(t, r, files)
	}
	// Neighbours come along: a pack is unpacked once.
	m := put(t, s, meta(2, 1), map[string][]byte{"memory": snapshottest.Memory(77, 1280)})
	r, err := s.Reader(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	readers = append(readers, r)
	f, err := r.File("memory")
	if err != nil {
		t.Fatal(err)
	}
	blobs.gets.Store(0)
	page := make([]byte, snapshot.PageSize)
	for off := int64(0); off < r.Size("memory"); off += snapshot.PageSize {
		if _, err := f.ReadAt(page, off); err != nil {
			t.Fatal(err)
		}
	}
	if n := blobs.gets.Load(); n > int64(len(m.Packs)) {
		t.Errorf("%d blobs were read for %d packs", n, len(m.Packs))
	}
	if _, err := r.File("nothing"); !errors.Is(err, fs.ErrNotExist) || r.Size("nothing") != -1 {
		t.Errorf("a file that there is not: %v", err)
	}
	if _, err := f.ReadAt(page, -1); err == nil {
		t.Error("read before the beginning")
	}
	for _, r := range readers {
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.ReadAt(page, 0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("read after the end: %v", err)
	}
	if _, err := s.Reader(t.Context(), snapshot.NewID()); !errors.Is(err, snapshot.ErrNotFound) {
		t.Errorf("a snapshot that there is not: %v", err)
	}
}

// TestRandomReadsAndSweeps holds that what is read stays, though no record names it any more, and that damage shows.
func TestRandomReadsAndSweeps(t *testing.T) {
	blobs := folder(t, t.TempDir())
	s := openStore(t, blobs, func(o *snapshot.Options) { o.PackPages = 16 })
	files := map[string][]byte{"memory": snapshottest.Memory(9, 200)}
	m := put(t, s, meta(1, 1), files)
	r, err := s.Reader(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := s.Sweep(t.Context(), alive()); err != nil {
		t.Fatal(err)
	}
	readEverywhere(t, r, files)
	m = put(t, s, meta(2, 1), files)
	for _, p := range m.Packs {
		if err := blobs.Put(t.Context(), "pack/"+p.ID, []byte("damaged")); err != nil {
			t.Fatal(err)
		}
	}
	damaged, err := openStore(t, blobs).Reader(t.Context(), m.ID) // another process's, which has unpacked none
	if err != nil {
		t.Fatal(err)
	}
	defer damaged.Close()
	f, err := damaged.File("memory")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.ReadAt(make([]byte, 50_000), 0); n > 0 || !errors.As(err, new(*snapshot.CorruptError)) {
		t.Errorf("packs are damaged: %d bytes, %v", n, err)
	}
}
