package jetstream

import (
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"thaw/eventsource"
)

// Mappings and checkpoints come back as they were written, also when the broker's folder is gone and the journal has
// them; a stale write is refused; those of one mapping are dropped alone.
func TestMappings(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func() (*Store, *Mappings) {
		t.Helper()
		s, err := Open(t.Context(), Options{Dir: dir, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.Mappings(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s, m
	}
	s, m := open()
	window := 3
	want := &eventsource.Mapping{ID: "7c1a", Kind: eventsource.Kinesis, Qualifier: "live", Partition: "aws",
		Source:  eventsource.Origin{ARN: "arn:aws:kinesis:eu-west-1:123456789012:stream/s", Start: eventsource.Latest, Access: []eventsource.Access{{Type: "BASIC_AUTH", URI: "u"}}},
		Options: eventsource.Options{BatchSize: 7, Window: &window, Pollers: &eventsource.Pollers{Min: 1, Max: 2}}, Filters: []string{`{"data":{"a":[1]}}`}, State: eventsource.Disabling,
		Tags: map[string]string{"a": "b"}, Created: time.Date(2026, 11, 20, 9, 15, 3, 0, time.UTC)}
	var err error
	if want.Revision, err = m.Put(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Put(t.Context(), &eventsource.Mapping{ID: "7c1a"}); !errors.Is(err, eventsource.ErrStale) {
		t.Errorf("a second creation: %v", err)
	}
	marks := map[string]eventsource.Checkpoint{}
	for _, shard := range []string{"shardId-000000000001", "ünder/score.:*> 2"} {
		c := eventsource.Checkpoint{Start: eventsource.Start{At: eventsource.After, Position: "49"}, Ended: true}
		if c.Revision, err = m.Save(t.Context(), want.ID, shard, c); err != nil {
			t.Fatal(err)
		}
		marks[shard] = c
		if _, err := m.Save(t.Context(), want.ID, shard, eventsource.Checkpoint{Revision: c.Revision - 1}); !errors.Is(err, eventsource.ErrStale) {
			t.Errorf("a stale checkpoint: %v", err)
		}
	}
	if _, err := m.Save(t.Context(), "7c1b", "other", eventsource.Checkpoint{}); err != nil {
		t.Fatal(err)
	}
	for _, lose := range []bool{false, true} {
		s.Close()
		if lose {
			if err := os.RemoveAll(filepath.Join(dir, brokerFolder)); err != nil {
				t.Fatal(err)
			}
		}
		s, m = open()
		all, err := m.List(t.Context())
		if err != nil || len(all) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		want.Revision = all[0].Revision
		if !reflect.DeepEqual(all[0], want) {
			t.Errorf("read   %+v\nwanted %+v", all[0], want)
		}
		got, err := m.Load(t.Context(), want.ID)
		if err != nil || !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(marks))) {
			t.Fatalf("%v, %v", got, err)
		}
		for shard, c := range got {
			if c.Revision = marks[shard].Revision; !reflect.DeepEqual(c, marks[shard]) {
				t.Errorf("%s: %+v", shard, c)
			}
		}
	}
	if err := m.Drop(t.Context(), want.ID, "shardId-000000000001"); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Load(t.Context(), want.ID); err != nil || len(got) != 1 {
		t.Errorf("one of two was dropped: %v, %v", got, err)
	}
	if err := errors.Join(m.Drop(t.Context(), want.ID), m.Delete(t.Context(), want.ID), m.Delete(t.Context(), want.ID)); err != nil {
		t.Fatal(err)
	}
	if got, err := m.Load(t.Context(), want.ID); err != nil || len(got) != 0 {
		t.Errorf("all were dropped: %v, %v", got, err)
	}
	if got, err := m.Load(t.Context(), "7c1b"); err != nil || len(got) != 1 {
		t.Errorf("those of another mapping: %v, %v", got, err)
	}
	s.Close()
}

// A shard is one server's at a time: another gets it when it is given back, or when its server has not been heard of; that
// server knows before.
func TestLeases(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Options{Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	server := func() *Leases {
		t.Helper()
		l, err := s.leases(t.Context(), 2*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a, b := server(), server()
	defer b.Close()
	one, err := a.Take(t.Context(), "m", "shard")
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range []*Leases{a, b} {
		if _, err := l.Take(t.Context(), "m", "shard"); !errors.Is(err, eventsource.ErrHeld) {
			t.Errorf("taken twice: %v", err)
		}
	}
	one.Release(t.Context())
	if one, err = b.Take(t.Context(), "m", "shard"); err != nil {
		t.Fatal(err)
	}
	one.Release(t.Context())
	if _, err = a.Take(t.Context(), "m", "shard"); err != nil {
		t.Fatal(err)
	}
	a.stop() // as by a death: nothing of it is given back
	<-a.done
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if _, err := b.Take(t.Context(), "m", "shard"); err == nil {
			break
		} else if !errors.Is(err, eventsource.ErrHeld) || time.Now().After(end) {
			t.Fatal(err)
		}
	}
	c := server()
	one, err = c.Take(t.Context(), "m", "other")
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	<-one.Lost()
	if _, err := b.Take(t.Context(), "m", "other"); err != nil {
		t.Errorf("after its server has left: %v", err)
	}
}
