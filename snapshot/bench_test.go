package snapshot_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"thaw/snapshot"
	"thaw/snapshot/snapshottest"
)

const benchPages = 60 << 20 / snapshot.PageSize

func BenchmarkPut60MB(b *testing.B) {
	memory := snapshottest.Memory(1, benchPages)
	b.SetBytes(int64(len(memory)))
	for b.Loop() {
		b.StopTimer()
		s := openStore(b, folder(b, b.TempDir()))
		b.StartTimer()
		put(b, s, meta(1, 1), map[string][]byte{"pages": memory})
	}
}

func BenchmarkPutShared60MB(b *testing.B) {
	memory := snapshottest.Memory(1, benchPages)
	s := openStore(b, folder(b, b.TempDir()))
	put(b, s, meta(1, 1), map[string][]byte{"pages": memory})
	b.SetBytes(int64(len(memory)))
	n := uint64(1)
	for b.Loop() {
		n++
		put(b, s, meta(1, n), map[string][]byte{"pages": snapshottest.Shifted(memory, n, 20, 3)})
	}
}

func BenchmarkExtract60MB(b *testing.B) {
	memory := snapshottest.Memory(1, benchPages)
	s := openStore(b, folder(b, b.TempDir()))
	m := put(b, s, meta(1, 1), map[string][]byte{"pages": memory})
	b.SetBytes(int64(len(memory)))
	out := &writerAt{make([]byte, len(memory))}
	for b.Loop() {
		if _, err := s.Extract(context.Background(), m.ID, func(*snapshot.File) (io.WriterAt, error) { return out, nil }); err != nil {
			b.Fatal(err)
		}
	}
	if !bytes.Equal(out.b, memory) {
		b.Fatal("other bytes came out")
	}
}

// The first restore of a snapshot on a machine: files made from the store.
func BenchmarkMaterialise60MB(b *testing.B) {
	s := openStore(b, folder(b, b.TempDir()))
	m := put(b, s, meta(1, 1), map[string][]byte{"pages.img": snapshottest.Memory(1, benchPages), "checkpoint.img": snapshottest.Memory(2, 100)})
	c := openCache(b, b.TempDir(), s)
	b.SetBytes(m.Size())
	for b.Loop() {
		h, err := c.Open(context.Background(), m.ID)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		h.Close()
		c.Drop(m.ID)
		b.StartTimer()
	}
}

// Every later one.
func BenchmarkOpenWarm(b *testing.B) {
	s := openStore(b, folder(b, b.TempDir()))
	m := put(b, s, meta(1, 1), map[string][]byte{"pages.img": snapshottest.Memory(1, 100)})
	c := openCache(b, b.TempDir(), s)
	for b.Loop() {
		h, err := c.Open(context.Background(), m.ID)
		if err != nil {
			b.Fatal(err)
		}
		h.Close()
	}
}

// The first one after a restart of the server: files are read once against their checksums.
func BenchmarkOpenAfterRestart60MB(b *testing.B) {
	s := openStore(b, folder(b, b.TempDir()))
	m := put(b, s, meta(1, 1), map[string][]byte{"pages.img": snapshottest.Memory(1, benchPages)})
	dir := b.TempDir()
	c := openCache(b, dir, s)
	h, err := c.Open(context.Background(), m.ID)
	if err != nil {
		b.Fatal(err)
	}
	h.Close()
	c.Close()
	b.SetBytes(m.Size())
	for b.Loop() {
		b.StopTimer()
		c := openCache(b, dir, s)
		b.StartTimer()
		h, err := c.Open(context.Background(), m.ID)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		h.Close()
		c.Close()
		b.StartTimer()
	}
}

func openCache(b *testing.B, dir string, s *snapshot.Store) *snapshot.Cache {
	c, err := snapshot.OpenCache(dir, 1<<40, s, quiet())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}
