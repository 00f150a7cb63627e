// Package functiontest holds the conformance suite of function.Store: every store passes it.
package functiontest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"thaw/function"
)

// Open opens a store on a folder, which may hold what an earlier one left, and returns how to close it.
type Open func(t testing.TB, dir string) (function.Store, func())

// Run checks a store against everything that function.Store promises.
func Run(t *testing.T, open Open) {
	t.Run("a record comes back as it was written, also after reopening", func(t *testing.T) { testReopen(t, open) })
	t.Run("create refuses a taken key, update and delete refuse a stale revision", func(t *testing.T) { testConflicts(t, open) })
	t.Run("a version is found by incarnation and number", func(t *testing.T) { testVersions(t, open) })
	t.Run("epochs grow and never repeat, also after deletion and reopening", func(t *testing.T) { testEpochs(t, open) })
	t.Run("a watch tells the writes that came before and then each one, in order", func(t *testing.T) { testWatch(t, open) })
	t.Run("of many writers of one record exactly one wins each revision", func(t *testing.T) { testRace(t, open) })
}

// Record returns a record with every member set, so that a lost one shows.
func Record(name string) *function.Record {
	n := 7
	c := function.Config{
		Runtime: "nodejs22.x", Role: "arn:aws:iam::000000000000:role/r", Handler: "index.handler", Description: "d", TimeoutSeconds: 3,
		MemoryMiB: 128, EphemeralMiB: 512, Architecture: "x86_64", Vars: map[string]string{"A": "1", "Ü": "\x00\n"}, VarsSet: true,
		KMSKeyARN: "k", Tracing: "Active", DeadLetterARN: "q", VPC: &function.VPC{SubnetIDs: []string{"subnet-1"}, SecurityGroupIDs: []string{"sg-1"}, IPv6: true},
		Logging:   function.Logging{Format: "JSON", AppLevel: "INFO", SysLevel: "WARN", Group: "/g"},
		SnapStart: true,
		Package: function.Package{CodeSHA256: "ab", CodeSize: 12, Layers: []function.Layer{{ARN: "l:1", SHA256: "cd", Size: 3}},
			Image: &function.Image{URI: "i", Digest: "sha256:ef", EntryPoint: []string{"e"}, Command: []string{"c"}, WorkingDirectory: "/w"}},
	}
	before := c.Clone()
	before.Description = "before"
	return &function.Record{
		Key: function.Key{Account: "000000000000", Region: "eu-west-1", Name: name}, Partition: "aws", Incarnation: 5,
		Latest: function.VersionRecord{
			Number: function.Latest, Config: c, Life: function.Updating, Reason: "r", ReasonCode: "c", RevisionID: "id",
			Modified: time.Date(2026, 11, 20, 9, 15, 3, 123e6, time.UTC), SourceDescription: "s",
		},
		Epoch: 6, Before: &function.Served{Config: before, Epoch: 4}, Numbers: []int{1, 3}, NextNumber: 4, Reserved: &n,
		Provisioned: map[function.Qualifier]function.Provision{"1": {Requested: 2}, "live": {Requested: 1}},
		Aliases: map[function.Qualifier]function.Alias{
			"live": {Version: "3", Description: "d", Weights: map[function.VersionNumber]float64{"1": 0.25}, RevisionID: "a"},
		},
		Policies: map[function.Qualifier][]function.Permission{"live": {{ID: "s", Service: "s3.amazonaws.com", Action: "lambda:InvokeFunction", SourceARN: "a"}}},
		Tags:     map[string]string{"t": "v"}, RecursiveLoop: "Allow",
	}
}

// Load returns a view of all that is stored now.
func Load(t testing.TB, s function.Store) *function.View {
	t.Helper()
	v := function.NewView()
	stop, err := s.Watch(t.Context(), v.Apply)
	if err != nil {
		t.Fatal(err)
	}
	stop()
	v.Loaded()
	return v
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func testReopen(t *testing.T, open Open) {
	dir := t.TempDir()
	s, closeStore := open(t, dir)
	r := Record("orders")
	must(t, s.Create(t.Context(), r))
	for i := range 3 {
		r.Latest.Config.Description = fmt.Sprint("write ", i)
		must(t, s.Update(t.Context(), r))
	}
	v := &function.VersionRecord{Number: "3", Config: r.Latest.Config.Clone(), Life: function.Live, RevisionID: "v3", Modified: r.Latest.Modified, SourceDescription: "x"}
	must(t, s.PutVersion(t.Context(), r.Key, r.Incarnation, v))
	gone := Record("gone")
	must(t, s.Create(t.Context(), gone))
	must(t, s.Delete(t.Context(), gone))
	closeStore()

	s, closeStore = open(t, dir)
	defer closeStore()
	view := Load(t, s)
	e := view.Get(r.Key)
	if e == nil {
		t.Fatal("the record is gone")
	}
	if got, want := fmt.Sprintf("%+v", flat(e.Record)), fmt.Sprintf("%+v", flat(r)); got != want {
		t.Errorf("record\n got %s\nwant %s", got, want)
	}
	if got := e.Version(3); got == nil || fmt.Sprintf("%+v", *got) == "" || !got.Config.Equal(&v.Config) || got.RevisionID != "v3" || got.Revision != v.Revision || got.SourceDescription != "x" {
		t.Errorf("version 3 is %+v, want %+v", got, v)
	}
	if view.Get(gone.Key) != nil {
		t.Error("a deleted record came back")
	}
	r.Tags = nil
	must(t, s.Update(t.Context(), r)) // the revision of before the restart still counts
}

// flat makes a record comparable as text: pointers followed.
func flat(r *function.Record) any {
	return struct {
		function.Record
		Before function.Served
		VPC    function.VPC
		Image  function.Image
		N      int
	}{func() function.Record {
		c := *r
		c.Before, c.Reserved, c.Latest.Config.VPC, c.Latest.Config.Image = nil, nil, nil, nil
		return c
	}(),
		func() function.Served { b := *r.Before; b.Config.VPC, b.Config.Image = nil, nil; return b }(), *r.Latest.Config.VPC, *r.Latest.Config.Image, *r.Reserved}
}

func testConflicts(t *testing.T, open Open) {
	s, closeStore := open(t, t.TempDir())
	defer closeStore()
	r := Record("orders")
	must(t, s.Create(t.Context(), r))
	wantErr(t, "second create", s.Create(t.Context(), Record("orders")), function.ErrExists)
	stale := *r
	must(t, s.Update(t.Context(), r))
	if r.Revision <= stale.Revision {
		t.Errorf("revision went from %d to %d", stale.Revision, r.Revision)
	}
	old := stale.Revision
	wantErr(t, "update of a stale revision", s.Update(t.Context(), &stale), function.ErrStale)
	wantErr(t, "delete of a stale revision", s.Delete(t.Context(), &stale), function.ErrStale)
	if stale.Revision != old {
		t.Error("a refused write changed the revision")
	}
	deleted := *r
	must(t, s.Delete(t.Context(), &deleted))
	if deleted.Revision <= r.Revision {
		t.Errorf("revision of the deletion is %d, not after %d", deleted.Revision, r.Revision)
	}
	wantErr(t, "update of a deleted record", s.Update(t.Context(), r), function.ErrStale)
	wantErr(t, "second delete", s.Delete(t.Context(), r), function.ErrStale)
	must(t, s.Create(t.Context(), Record("orders")))
}

func testVersions(t *testing.T, open Open) {
	s, closeStore := open(t, t.TempDir())
	defer closeStore()
	r := Record("orders")
	must(t, s.Create(t.Context(), r))
	v := &function.VersionRecord{Number: "1", Config: r.Latest.Config, Life: function.Creating}
	must(t, s.PutVersion(t.Context(), r.Key, r.Incarnation, v))
	again := &function.VersionRecord{Number: "1"}
	wantErr(t, "a second version 1", s.PutVersion(t.Context(), r.Key, r.Incarnation, again), function.ErrStale)
	must(t, s.PutVersion(t.Context(), r.Key, r.Incarnation+1, again)) // another life of the same name
	v.Life = function.Live
	must(t, s.PutVersion(t.Context(), r.Key, r.Incarnation, v))
	must(t, s.PutVersion(t.Context(), r.Key, r.Incarnation, &function.VersionRecord{Number: "2"})) // not listed

	view := Load(t, s)
	e := view.Get(r.Key)
	if got := e.Version(1); got == nil || got.Life != function.Live {
		t.Errorf("version 1 is %+v", got)
	}
	if e.Version(2) != nil || e.Version(3) != nil {
		t.Error("a version that is not listed or not stored can be seen")
	}
	if got := view.Unlisted(); len(got) != 2 {
		t.Errorf("%d versions are unlisted, want 2: %+v", len(got), got)
	}
	must(t, s.DeleteVersion(t.Context(), r.Key, r.Incarnation, 1))
	must(t, s.DeleteVersion(t.Context(), r.Key, r.Incarnation, 99))
	if Load(t, s).Get(r.Key).Version(1) != nil {
		t.Error("a deleted version can be seen")
	}
}

func testEpochs(t *testing.T, open Open) {
	dir := t.TempDir()
	var last uint64
	for range 2 {
		s, closeStore := open(t, dir)
		for range 3 {
			r := Record("orders")
			must(t, s.Create(t.Context(), r))
			n, err := s.Epoch(t.Context())
			must(t, err)
			if n <= last {
				t.Errorf("epoch %d after %d", n, last)
			}
			last = n
			must(t, s.Delete(t.Context(), r))
		}
		closeStore()
	}
}

func testWatch(t *testing.T, open Open) {
	s, closeStore := open(t, t.TempDir())
	defer closeStore()
	r := Record("orders")
	must(t, s.Create(t.Context(), r))
	changes := make(chan function.Change, 100)
	stop, err := s.Watch(t.Context(), func(c function.Change) { changes <- c })
	must(t, err)
	if c := <-changes; c.Revision != r.Revision || c.Function == nil || c.Key != r.Key {
		t.Errorf("first change is %+v", c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	next := func() function.Change {
		t.Helper()
		select {
		case c := <-changes:
			return c
		case <-ctx.Done():
			t.Fatal("no change was told within 30 s")
			panic("unreachable")
		}
	}
	must(t, s.Update(t.Context(), r))
	if c := next(); c.Revision != r.Revision || c.Function == nil || c.Function.Revision != r.Revision {
		t.Errorf("change of the update is %+v", c)
	}
	epoch, err := s.Epoch(t.Context())
	must(t, err)
	if c := next(); c.Revision != epoch || c.Key != (function.Key{}) {
		t.Errorf("change of the epoch is %+v, want nothing but revision %d", c, epoch)
	}
	v := &function.VersionRecord{Number: "1"}
	must(t, s.PutVersion(t.Context(), r.Key, 5, v))
	if c := next(); c.Revision != v.Revision || c.Version == nil || c.Number != 1 || c.Incarnation != 5 {
		t.Errorf("change of the version is %+v", c)
	}
	must(t, s.Delete(t.Context(), r))
	if c := next(); c.Revision != r.Revision || c.Function != nil || c.Key != r.Key || c.Number != 0 {
		t.Errorf("change of the deletion is %+v", c)
	}
	stop()
	must(t, s.Create(t.Context(), Record("later")))
	select {
	case c := <-changes:
		t.Errorf("told %+v after stop", c)
	default:
	}
}

func testRace(t *testing.T, open Open) {
	s, closeStore := open(t, t.TempDir())
	defer closeStore()
	r := Record("orders")
	must(t, s.Create(t.Context(), r))
	const writers = 8
	var wg sync.WaitGroup
	won := make([]bool, writers)
	for i := range writers {
		wg.Add(1)
		go func() {
			defer wg.Done()
			c := r.Clone()
			c.Latest.Config.Description = fmt.Sprint(i)
			err := s.Update(t.Context(), c)
			if err != nil && !errors.Is(err, function.ErrStale) {
				t.Error(err)
			}
			won[i] = err == nil
		}()
	}
	wg.Wait()
	winners, winner := 0, ""
	for i, w := range won {
		if w {
			winners++
			winner = fmt.Sprint(i)
		}
	}
	if got := Load(t, s).Get(r.Key).Record.Latest.Config.Description; winners != 1 || got != winner {
		t.Errorf("%d writers won, the last is %q, stored is %q", winners, winner, got)
	}
}
