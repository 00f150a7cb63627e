package snapstart

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"thaw/function"
	"thaw/internal/faultfs"
	"thaw/snapshot"
	"thaw/snapshot/snapshottest"
)

// keeper is a Service that makes nothing: its records are in memory, its store is real.
func keeper(t testing.TB, dir string, records snapshot.Records, complete func() error) *Service {
	t.Helper()
	s, err := Open(context.Background(), Options{Dir: dir, CacheBytes: 1 << 20, Records: records, Complete: complete, Environments: noEnvironments{},
		Pool: &fakePool{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func allThere() error { return nil }

// asking is what Asked makes of a record, without a making.
func asking(r *snapshot.Record, _ time.Time) ([]snapshot.Step, error) {
	r.State, r.LastGeneration = snapshot.Making, 1
	r.Next = &snapshot.Meta{ID: snapshot.NewID(), Generation: 1, Key: snapshot.Key{Version: r.Version}}
	return nil, nil
}

func published(incarnation uint64) *function.Version {
	return &function.Version{Partition: "aws", Region: "eu-west-1", Account: "000000000000", Name: "orders", Number: "1", Incarnation: incarnation, Epoch: incarnation, SnapStart: true}
}

// keep stores a snapshot of a version as a making would.
func (s *Service) keep(t testing.TB, m *snapshot.Meta, text string) {
	t.Helper()
	w, err := s.store.Begin(context.Background(), *m)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add("memory", bytes.NewReader(bytes.Repeat([]byte(text), 9000))); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Commit(nil); err != nil {
		t.Fatal(err)
	}
}

// What is done for a life is over when the life has left, nothing begins after its end, and nothing of the next life
// under the same name begins before. At no moment after a deletion is there a record or a snapshot of what was deleted.
func TestLives(t *testing.T) {
	t.Parallel()
	records := snapshottest.NewRecords()
	s := keeper(t, t.TempDir(), records, allThere)
	defer s.Close()
	var now atomic.Uint64 // the incarnation that there is; 0: none
	now.Store(1)
	s.Begin(func(function.ARN, function.VersionNumber) uint64 { return now.Load() })
	const lives = 60
	var busy [lives + 1]atomic.Int64
	var done, refused, made atomic.Int64
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for n := range 8 {
		workers.Go(func() {
			draw := rand.New(rand.NewPCG(uint64(n), 1))
			for {
				select {
				case <-stop:
					return
				default:
				}
				seen := max(1, now.Load())
				v := published(seen)
				s.mu.Lock()
				l := s.enterLocked(v)
				s.mu.Unlock()
				if l == nil {
					refused.Add(1)
					time.Sleep(100 * time.Microsecond)
					continue
				}
				ctx, leave, err := s.begin(context.Background(), l)
				if err != nil {
					refused.Add(1)
					continue
				}
				busy[seen].Add(1)
				for other := range busy {
					if other != int(seen) && busy[other].Load() > 0 {
						t.Errorf("life %d has work under way beside that of life %d", other, seen)
					}
				}
				meta := snapshot.Meta{ID: snapshot.NewID(), Generation: 1, Key: snapshot.Key{Version: l.id}, Born: time.Now(), Created: time.Now()}
				if draw.IntN(4) == 0 {
					s.keep(t, &meta, string(meta.ID))
					made.Add(1)
				}
				if draw.IntN(2) == 0 {
					<-time.After(time.Duration(draw.IntN(2000)) * time.Microsecond)
				} else {
					select {
					case <-ctx.Done():
					case <-time.After(time.Millisecond):
					}
				}
				_, err = s.write(ctx, l, func(r *snapshot.Record, _ time.Time) ([]snapshot.Step, error) {
					r.State, r.Current = snapshot.Current, &meta
					return nil, nil
				})
				if err != nil && !errors.Is(err, errDeleted) {
					t.Errorf("change: %v", err)
				}
				busy[seen].Add(-1)
				leave()
				done.Add(1)
			}
		})
	}
	for n := uint64(1); n < lives; n++ {
		was := done.Load()
		for end := time.Now().Add(10 * time.Second); done.Load() < was+5 && time.Now().Before(end); {
			time.Sleep(100 * time.Microsecond)
		}
		id := snapshot.VersionOf(published(n))
		if n%2 == 0 { // created again before anybody has forgotten the one before
			now.Store(n + 1)
		} else {
			now.Store(0)
		}
		s.Forget(context.Background(), id.Function, n, "")
		if busy[n].Load() > 0 {
			t.Errorf("after the deletion work of life %d goes on", n)
		}
		if r, _, err := records.Get(context.Background(), id); err == nil && r.Incarnation <= n {
			t.Errorf("after the deletion of life %d there is its record", n)
		}
		if now.Load() == 0 {
			if list := s.store.List(); len(list) > 0 {
				t.Errorf("after the deletion of life %d there are %d snapshots", n, len(list))
			}
			now.Store(n + 1)
		}
	}
	close(stop)
	workers.Wait()
	t.Logf("%d pieces of work, %d refused, %d snapshots", done.Load(), refused.Load(), made.Load())
	if done.Load() < lives || made.Load() == 0 {
		t.Errorf("too little was done to tell: %d pieces of work, %d snapshots", done.Load(), made.Load())
	}
}

// A life that was found before its end is of no use after it: not to work, not to a change of the record, not to a late
// making of its version.
func TestNothingBeginsAfterTheEnd(t *testing.T) {
	t.Parallel()
	records := snapshottest.NewRecords()
	s := keeper(t, t.TempDir(), records, allThere)
	defer s.Close()
	now := uint64(1)
	s.Begin(func(function.ARN, function.VersionNumber) uint64 { return now })
	v := published(1)
	s.mu.Lock()
	l := s.enterLocked(v)
	changed := l.changed
	s.mu.Unlock()
	if _, err := s.write(context.Background(), l, asking); err != nil {
		t.Fatal(err)
	}
	now = 0
	s.Forget(context.Background(), v.UnqualifiedARN(), 1, "1")
	select {
	case <-changed:
	default:
		t.Error("who waits for the record is not told")
	}
	for range 2 { // without another function of the name, and with one
		if _, _, err := s.begin(context.Background(), l); !errors.Is(err, errDeleted) {
			t.Errorf("work begins: %v", err)
		}
		if _, err := s.write(context.Background(), l, asking); !errors.Is(err, errDeleted) {
			t.Errorf("the record is changed: %v", err)
		}
		if _, _, err := s.Make(context.Background(), v, nil); !errors.Is(err, function.ErrNotFound) {
			t.Errorf("a late making: %v", err)
		}
		s.Used(v)
		s.noteUses(time.Now())
		if list, err := records.List(context.Background()); err != nil || len(list) > 0 || s.Ready(v) {
			t.Errorf("there is a record: %+v, %v", list, err)
		}
		now = 2
		s.mu.Lock()
		if s.enterLocked(published(2)) == nil {
			t.Error("the next function of the name has no life")
		}
		s.mu.Unlock()
	}
}

// What a server that was killed has left of functions that are not there is removed at the next start, once it is known
// that no record is missing, and what is there is kept. Records of a release that knew no incarnations belong to the
// function that has the version.
func TestSweepAtStart(t *testing.T) {
	t.Parallel()
	dir, records := t.TempDir(), snapshottest.NewRecords()
	before := keeper(t, dir, records, allThere)
	put := func(name string, number function.VersionNumber, incarnation uint64) snapshot.ID {
		v := snapshot.Version{Function: function.ARN("arn:aws:lambda:eu-west-1:000000000000:function:" + name), Number: number}
		m := &snapshot.Meta{ID: snapshot.NewID(), Generation: 1, Key: snapshot.Key{Version: v}, Created: time.Now()}
		before.keep(t, m, name+string(number))
		if incarnation < 99 {
			if _, err := records.Put(context.Background(), snapshot.Record{Version: v, Incarnation: incarnation, State: snapshot.Current, Current: m}, 0); err != nil {
				t.Fatal(err)
			}
		}
		return m.ID
	}
	kept := map[snapshot.ID]bool{put("lives", "1", 7): true, put("old-release", "1", 0): true, put("lives", "$LATEST", 7): true}
	put("deleted", "1", 3)
	put("deleted", "2", 0)
	put("again", "1", 3)    // its function is another one by now
	put("lives", "2", 7)    // a version that was deleted
	put("deleted", "3", 99) // without a record
	put("lives", "1", 99)   // what was being made when the server was killed
	all := len(before.store.List())
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}
	incarnation := func(arn function.ARN, number function.VersionNumber) uint64 {
		switch arn.Name() + ":" + string(number) {
		case "lives:1", "lives:$LATEST":
			return 7
		case "old-release:1":
			return 5
		case "again:1":
			return 8
		}
		return 0
	}
	check := func(complete func() error, wantRecords, wantSnapshots int) *Service {
		t.Helper()
		s := keeper(t, dir, records, complete)
		s.Begin(incarnation)
		if err := s.Sweep(context.Background()); err != nil {
			t.Fatal(err)
		}
		list, err := records.List(context.Background())
		if err != nil || len(list) != wantRecords || len(s.store.List()) != wantSnapshots {
			t.Errorf("%d records and %d snapshots are left (%v); want %d and %d", len(list), len(s.store.List()), err, wantRecords, wantSnapshots)
		}
		return s
	}
	if err := check(func() error { return errors.New("a record is lost") }, 7, all).Close(); err != nil {
		t.Fatal(err)
	}
	s := check(allThere, 3, 3)
	for _, m := range s.store.List() {
		if !kept[m.ID] {
			t.Errorf("a snapshot of %s stays", m.Key.Version)
		}
	}
	s.mu.Lock()
	l := s.lives[snapshot.Version{Function: "arn:aws:lambda:eu-west-1:000000000000:function:old-release", Number: "1"}]
	s.mu.Unlock()
	if l == nil || l.incarnation != 5 {
		t.Errorf("the record of an older release belongs to %+v", l)
	} else if r, err := s.write(context.Background(), l, func(*snapshot.Record, time.Time) ([]snapshot.Step, error) { return nil, nil }); err != nil || r.Incarnation != 5 || r.State != snapshot.Current {
		t.Errorf("it becomes %+v, %v", r, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	blobs, err := snapshot.OpenFolder(faultfs.Disk{}, dir+"/store")
	if err != nil {
		t.Fatal(err)
	}
	packs, err := blobs.List(context.Background(), "pack/")
	if err != nil || len(packs) != 3 {
		t.Errorf("%d packs are left (%v), want 3", len(packs), err)
	}
}
