package function

import (
	"context"
	"errors"
	"testing"
	"time"
)

func testRecord(name string, revision uint64, edit ...func(*Record)) Change {
	r := &Record{
		Key: Key{"1", "r", name}, Partition: "aws", Incarnation: 1, Epoch: 1, Revision: revision,
		Latest: VersionRecord{Number: Latest, Life: Live, Config: Config{Package: Package{CodeSHA256: "new"}}},
	}
	for _, f := range edit {
		f(r)
	}
	return Change{Revision: revision, Key: r.Key, Function: r}
}

func TestViewFollowsChanges(t *testing.T) {
	v := NewView()
	seven, three := 7, 3
	v.Apply(testRecord("b", 1, func(r *Record) { r.Reserved = &seven }))
	v.Apply(testRecord("a", 2))
	v.Loaded()
	if all := v.All(); len(all) != 2 || all[0].Record.Name != "a" || v.Reserved() != 7 {
		t.Fatalf("loaded: %d functions, reserved %d", len(all), v.Reserved())
	}
	b := v.Get(Key{"1", "r", "b"})
	v.Apply(testRecord("b", 3, func(r *Record) { r.Reserved = &three }))
	select {
	case <-b.Replaced():
	default:
		t.Error("a replaced entry does not say so")
	}
	if v.Reserved() != 3 || *b.Record.Reserved != 7 {
		t.Errorf("reserved %d; the old entry says %d", v.Reserved(), *b.Record.Reserved)
	}
	v.Apply(testRecord("b", 2, func(r *Record) { r.Reserved = &seven }))
	if v.Reserved() != 3 {
		t.Error("a change seen before was applied again")
	}
	v.Apply(Change{Revision: 4, Key: b.Record.Key})
	if v.Get(b.Record.Key) != nil || v.Reserved() != 0 {
		t.Error("a deleted function is still there")
	}
}

func TestViewServes(t *testing.T) {
	before := &Served{Config: Config{Package: Package{CodeSHA256: "old"}}, Epoch: 1}
	cases := []struct {
		name string
		edit func(*Record)
		code string // that $LATEST serves
	}{
		{"what is being created serves nothing", func(r *Record) { r.Latest.Life = Creating }, ""},
		{"what is live serves itself", func(*Record) {}, "new"},
		{"what is being updated serves what was before", func(r *Record) { r.Latest.Life, r.Before = Updating, before }, "old"},
		{"a failed update serves what was before", func(r *Record) { r.Latest.Life, r.Before = UpdateFailed, before }, "old"},
		{"what failed serves nothing", func(r *Record) { r.Latest.Life = Failed }, ""},
		{"what is revived serves nothing yet", func(r *Record) { r.Latest.Life = Reviving }, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			v := NewView()
			v.Apply(testRecord("a", 1, c.edit))
			v.Loaded()
			got := v.All()[0].Serving(Latest)
			if got == nil != (c.code == "") || got != nil && got.CodeSHA256 != c.code {
				t.Errorf("serves %+v, want code %q", got, c.code)
			}
		})
	}
}

func TestVersionsAreSeenOnlyWhenListed(t *testing.T) {
	v := NewView()
	v.Loaded()
	key := Key{"1", "r", "a"}
	version := func(revision, incarnation uint64, n int) Change {
		return Change{Revision: revision, Key: key, Incarnation: incarnation, Number: n, Version: &VersionRecord{Number: "1", Life: Live, Revision: revision}}
	}
	v.Apply(testRecord("a", 1))
	v.Apply(version(2, 1, 1))
	if e := v.Get(key); e.Version(1) != nil || e.Serving("1") != nil || len(v.Unlisted()) != 1 {
		t.Error("a version that is not listed can be seen")
	}
	v.Apply(testRecord("a", 3, func(r *Record) { r.Numbers = []int{1} }))
	if e := v.Get(key); e.Version(1) == nil || e.Serving("1") == nil || len(v.Unlisted()) != 0 {
		t.Error("a listed version cannot be seen")
	}
	v.Apply(testRecord("a", 4, func(r *Record) { r.Numbers, r.Incarnation = []int{1}, 4 }))
	if e := v.Get(key); e.Version(1) != nil || len(v.Unlisted()) != 1 {
		t.Error("a version of an earlier function of the same name can be seen")
	}
}

func TestWaitForARevision(t *testing.T) {
	v := NewView()
	v.Loaded()
	v.Apply(Change{Revision: 5})
	if err := v.Wait(t.Context(), 5); err != nil {
		t.Error(err)
	}
	done := make(chan error)
	go func() { done <- v.Wait(t.Context(), 7) }()
	v.Apply(Change{Revision: 6})
	select {
	case err := <-done:
		t.Errorf("returned %v before the revision came", err)
	case <-time.After(10 * time.Millisecond):
	}
	v.Apply(Change{Revision: 8})
	if err := <-done; err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Wait(ctx, 9); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if len(v.waiters) != 0 {
		t.Error("a waiter was forgotten")
	}
}
