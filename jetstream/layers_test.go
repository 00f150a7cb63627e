package jetstream

import (
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"testing"
	"time"

	"thaw/layer"
)

// Layers come back as they were written after a reopening, also when the broker's folder is gone and the journal has them;
// numbers go on; a stale write is refused; a backup knows their packages.
func TestLayerRecords(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() (*Store, *LayerRecords, *layer.Library) {
		t.Helper()
		s, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		records, err := s.LayerRecords(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l, err := layer.Open(t.Context(), records)
		if err != nil {
			t.Fatal(err)
		}
		return s, records, l
	}
	s, records, l := open()
	k := layer.Key{Account: "000000000000", Region: "eu-west-1", Name: "shared-Libs_1"}
	want := layer.Version{Number: 2, Description: "d", Created: time.Date(2026, 11, 20, 9, 15, 3, 123e6, time.UTC), SHA256: "ab", Size: 3, Unzipped: 9,
		Runtimes: []string{"python3.12"}, Architectures: []string{"arm64"}, License: "MIT"}
	if _, _, err := l.Publish(t.Context(), k, "aws", layer.Version{SHA256: "first"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.Publish(t.Context(), k, "aws", want); err != nil {
		t.Fatal(err)
	}
	if _, err := l.ChangePolicy(t.Context(), k, 2, func(v *layer.Version) error {
		v.Statements = append(v.Statements, layer.Statement{ID: "s", Principal: "*", Organization: "o-1"})
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Delete(t.Context(), k, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Delete(t.Context(), k, 1); !errors.Is(err, layer.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := records.Put(t.Context(), l.Get(k), 1); !errors.Is(err, layer.ErrStale) {
		t.Errorf("a stale write: %v", err)
	}
	writes, _, err := s.Snapshot()
	if err != nil || !slices.Equal(Named(writes), []string{"ab"}) {
		t.Errorf("a backup knows the packages %v, %v", Named(writes), err)
	}
	kept := *l.Get(k)
	s.Close()
	s, _, l = open()
	defer s.Close()
	if got := l.Get(k); got == nil || !reflect.DeepEqual(*got, kept) {
		t.Errorf("it came back as %+v, was %+v", got, kept)
	}
	if _, v, err := l.Publish(t.Context(), k, "aws", layer.Version{}); err != nil || v.Number != 3 {
		t.Errorf("the next version is %+v, %v", v, err)
	}
}
