package jetstream

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"thaw/push"
)

type topic struct{ Name string }

// Records of push sources come back as they were written, also from the journal alone; a stale write and a record that is
// gone are refused, and what two servers would write at once is written once.
func TestDocuments(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() (*Store, *Documents, *push.Table[topic]) {
		t.Helper()
		s, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		d, err := s.Documents(t.Context(), Topics)
		if err != nil {
			t.Fatal(err)
		}
		table, err := push.OpenTable[topic](t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		return s, d, table
	}
	s, d, table := open()
	const key = "arn:aws:sns:eu-west-1:123456789012:orders.*> ü"
	for _, name := range []string{"first", "second"} {
		if err := table.Put(t.Context(), key, &topic{name}); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.Put(t.Context(), "gone", &topic{}); err != nil {
		t.Fatal(err)
	}
	if err := table.Delete(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	if err := table.Delete(t.Context(), "gone"); !errors.Is(err, push.ErrNone) {
		t.Errorf("deleted twice: %v", err)
	}
	if err := table.Change(t.Context(), "new", func(old *topic) (*topic, error) { return old, errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) || old(table, "new") != "" {
		t.Errorf("a refused change: %v", err)
	}
	if _, err := d.Put(t.Context(), key, []byte(`{}`), 1); !errors.Is(err, push.ErrStale) {
		t.Errorf("a stale write: %v", err)
	}
	if err := d.Delete(t.Context(), key, 1); !errors.Is(err, push.ErrStale) {
		t.Errorf("a stale deletion: %v", err)
	}
	big := strings.Repeat("x", 3<<20) // an API with its deployments
	if err := table.Put(t.Context(), "big", &topic{big}); err != nil {
		t.Errorf("a record of 3 MiB: %v", err)
	}
	s.Close()
	s, _, table = open()
	if old(table, "big") != big {
		t.Error("a record of 3 MiB did not come back")
	}
	other, err := s.Documents(t.Context(), Buses)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Put(t.Context(), key, []byte(`{"Name":"of another kind"}`), 0); err != nil {
		t.Fatal(err)
	}
	s.Close()
	if err := os.RemoveAll(filepath.Join(dir, brokerFolder)); err != nil {
		t.Fatal(err)
	}
	s, _, table = open()
	defer s.Close()
	if got := old(table, key); got != "second" || old(table, "big") != big || table.Len() != 2 {
		t.Errorf("after the journal alone: %q, %d records", got, table.Len())
	}
}

func old(t *push.Table[topic], key string) string {
	if v := t.Get(key); v != nil {
		return v.Name
	}
	return ""
}
