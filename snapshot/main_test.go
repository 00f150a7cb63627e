package snapshot_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"thaw/function"
	"thaw/internal/faultfs"
	"thaw/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testKey = snapshot.NewKey(bytes.Repeat([]byte{7}, 32))

var testTime = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func folder(t testing.TB, dir string) *snapshot.Folder {
	t.Helper()
	f, err := snapshot.OpenFolder(faultfs.Disk{}, dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// options make sweeps take everything that is in no record, whatever its age.
func options(blobs snapshot.Blobs) snapshot.Options {
	return snapshot.Options{Blobs: blobs, Key: testKey, Log: quiet(), Workers: 2, OrphanAge: 1}
}

func openStore(t testing.TB, blobs snapshot.Blobs, edit ...func(*snapshot.Options)) *snapshot.Store {
	t.Helper()
	opt := options(blobs)
	for _, e := range edit {
		e(&opt)
	}
	s, err := snapshot.Open(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func version(n int) snapshot.Version {
	return snapshot.Version{Function: "arn:aws:lambda:eu-west-1:123456789012:function:hello", Number: function.NumberOf(n)}
}

func meta(n int, gen uint64) snapshot.Meta {
	return snapshot.Meta{Generation: snapshot.Generation(gen), Key: snapshot.Key{Version: version(n)}, Born: testTime, Created: testTime}
}

func tryPut(s *snapshot.Store, m snapshot.Meta, files map[string][]byte) (*snapshot.Manifest, error) {
	w, err := s.Begin(context.Background(), m)
	if err != nil {
		return nil, err
	}
	defer w.Close()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.Add(name, bytes.NewReader(files[name])); err != nil {
			return nil, err
		}
	}
	return w.Commit(nil)
}

func put(t testing.TB, s *snapshot.Store, m snapshot.Meta, files map[string][]byte) *snapshot.Manifest {
	t.Helper()
	man, err := tryPut(s, m, files)
	if err != nil {
		t.Fatal(err)
	}
	return man
}

type writerAt struct{ b []byte }

func (w *writerAt) WriteAt(p []byte, off int64) (int, error) { return copy(w.b[off:], p), nil }

func get(s *snapshot.Store, id snapshot.ID) (map[string][]byte, error) {
	outs := map[string]*writerAt{}
	_, err := s.Extract(context.Background(), id, func(f *snapshot.File) (io.WriterAt, error) {
		outs[f.Name] = &writerAt{make([]byte, f.Size)}
		return outs[f.Name], nil
	})
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for name, w := range outs {
		files[name] = w.b
	}
	return files, nil
}

// wantFiles fails the test unless the snapshot has exactly these files.
func wantFiles(t testing.TB, s *snapshot.Store, id snapshot.ID, want map[string][]byte) {
	t.Helper()
	got, err := get(s, id)
	if err != nil {
		t.Fatal(err)
	}
	if !maps.EqualFunc(got, want, bytes.Equal) {
		t.Fatalf("snapshot %s has other bytes than were put", id)
	}
}

func alive(ids ...snapshot.ID) func(context.Context) (map[snapshot.ID]bool, error) {
	return func(context.Context) (map[snapshot.ID]bool, error) {
		m := map[snapshot.ID]bool{}
		for _, id := range ids {
			m[id] = true
		}
		return m, nil
	}
}
