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
