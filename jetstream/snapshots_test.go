package jetstream

import (
	"context"
	"log/slog"
	"testing"

	"thaw/snapshot"
	"thaw/snapshot/snapshottest"
)

func TestSnapshotRecords(t *testing.T) {
	s, err := Open(context.Background(), Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	snapshottest.RunRecords(t, func(t *testing.T) snapshot.Records {
		r, err := s.SnapshotRecords(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		list, err := r.List(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for _, rec := range list { // each part of the suite begins with none
			_, rev, err := r.Get(context.Background(), rec.Version)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Delete(context.Background(), rec.Version, rev); err != nil {
				t.Fatal(err)
			}
		}
		return r
	})
}
