package snapshot_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"thaw/internal/faultfs"
	"thaw/snapshot"
	"thaw/snapshot/snapshottest"
)

// crashStory is the life of two versions with refreshes, on a file system that may stop the world at any call. It returns at the first error.
// what maps each snapshot that was ever committed or tried to its files.
func crashStory(s *snapshot.Store, records snapshot.Records, steps int, what map[snapshot.ID]map[string][]byte) error {
	ctx := context.Background()
	memory := snapshottest.Memory(1, 60)
	for step := range steps {
		v := 1 + step%2
		files := map[string][]byte{"pages.img": snapshottest.Shifted(memory, uint64(step), 6, step), "state": snapshottest.Memory(uint64(20+step), 3)}
		if step%3 == 1 {
			files["pages.img"] = snapshottest.Rebuilt(memory, uint64(step))
		}
		m := meta(v, uint64(step+1))
		m.ID = snapshot.NewID()
		what[m.ID] = files
		man, err := tryPut(s, m, files)
		if err != nil {
			return err
		}
		if step == 1 && man.DeltaPages == 0 {
			return errors.New("no page is a difference: the test lost its point")
		}
		var old *snapshot.Meta
		_, err = snapshot.Update(ctx, records, version(v), func(r *snapshot.Record) error {
			old = r.Current
			r.State, r.Current = snapshot.Current, &man.Meta
			return nil
		})
		if err != nil {
			return err
		}
		if old != nil {
			if err := s.Delete(ctx, old.ID); err != nil {
				return err
			}
		}
		if _, err := s.Sweep(ctx, func(ctx context.Context) (map[snapshot.ID]bool, error) { return snapshot.LiveIDs(ctx, records) }); err != nil {
			return err
		}
	}
	return nil
}

func crashOptions(t testing.TB, fsys faultfs.FS) (snapshot.Options, error) {
	f, err := snapshot.OpenFolder(fsys, "/snapshots")
	opt := options(f)
	opt.PackPages, opt.Workers = 16, 1
	return opt, err
}

// The world stops before every single call in turn, and the disk forgets what was not synced, as it likes. Each time the records must name
// whole snapshots, and the store must go on as if nothing had been.
func TestCrashAtEveryCall(t *testing.T) {
	ctx := context.Background()
	story := func(fsys *faultfs.Mem) (snapshot.Records, map[snapshot.ID]map[string][]byte, error) {
		records, what := snapshottest.NewRecords(), map[snapshot.ID]map[string][]byte{}
		opt, err := crashOptions(t, fsys)
		if err != nil {
			return records, what, err
		}
		s, err := snapshot.Open(ctx, opt)
		if err != nil {
			return records, what, err
		}
		defer s.Close()
		return records, what, crashStory(s, records, 4, what)
	}
	whole := faultfs.NewMem()
	if _, _, err := story(whole); err != nil {
		t.Fatal(err)
	}
	calls := whole.Calls()
	seen := map[faultfs.Label]int{}
	for _, l := range calls {
		seen[l]++
	}
	t.Logf("%d calls: %v", len(calls), seen)
	lives := 0
	for nth := 1; nth <= len(calls); nth++ {
		for seed := range uint64(2) {
			name := fmt.Sprintf("crash before call %d, disk %d", nth, seed)
			fsys := faultfs.NewMem()
			fsys.CrashAt(nth)
			records, what, err := story(fsys)
			if err == nil && !fsys.Crashed() {
				continue // goroutines make the number of calls differ by a few
			}
			if err != nil && !errors.Is(err, faultfs.ErrCrashed) {
				t.Fatalf("%s: %v", name, err)
			}
			after := fsys.Reboot(rand.New(rand.NewPCG(uint64(nth), seed)))
			opt, err := crashOptions(t, after)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			s, err := snapshot.Open(ctx, opt)
			if err != nil {
				t.Fatalf("%s: open: %v", name, err)
			}
			live, _ := snapshot.LiveIDs(ctx, records)
			for id := range live {
				lives++
				wantFiles(t, s, id, what[id])
			}
			// The life goes on, and leaves nothing that nobody needs.
			if err := crashStory(s, records, 1, what); err != nil {
				t.Fatalf("%s: afterwards: %v", name, err)
			}
			live, _ = snapshot.LiveIDs(ctx, records)
			for range 2 { // strangers go the second time that they are seen
				if _, err := s.Sweep(ctx, func(context.Context) (map[snapshot.ID]bool, error) { return live, nil }); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			for id := range live {
				wantFiles(t, s, id, what[id])
			}
			checkNothingIsLeft(t, name, s, opt.Blobs, len(live))
			s.Close()
			if t.Failed() {
				t.Fatal(name)
			}
		}
	}
	if lives == 0 {
		t.Error("no crash left a snapshot to look at")
	}
}

func checkNothingIsLeft(t *testing.T, name string, s *snapshot.Store, blobs snapshot.Blobs, live int) {
	t.Helper()
	needed := map[string]bool{}
	for _, m := range s.List() {
		for _, p := range m.Packs {
			needed["pack/"+p.ID] = true
		}
	}
	list, err := blobs.List(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	manifests := 0
	for _, info := range list {
		switch dir, _, _ := strings.Cut(info.Key, "/"); {
		case dir == "pack" && !needed[info.Key], dir == "tomb":
			t.Errorf("%s: %s is left and nobody needs it", name, info.Key)
		case dir == "manifest":
			manifests++
		}
	}
	if manifests != live {
		t.Errorf("%s: %d manifests for %d snapshots", name, manifests, live)
	}
}

// One call fails, and the disk works again: the snapshot under way is lost at most, and what fails says so.
func TestEveryCallFailsOnce(t *testing.T) {
	ctx := context.Background()
	broken := errors.New("no space left on device")
	memory := snapshottest.Memory(1, 60)
	for _, label := range []faultfs.Label{"blob.create", "blob.sync", "blob.rename", "blob.syncdir", "blob.remove", "blob.read", "blob.list"} {
		for nth := 1; nth <= 6; nth++ {
			fsys := faultfs.NewMem()
			opt, err := crashOptions(t, fsys)
			if err != nil {
				t.Fatal(err)
			}
			s, err := snapshot.Open(ctx, opt)
			if err != nil {
				t.Fatal(err)
			}
			first := put(t, s, meta(1, 1), map[string][]byte{"pages.img": memory})
			fsys.Fail(label, nth, broken)
			changed := map[string][]byte{"pages.img": snapshottest.Shifted(memory, 5, 30, 2), "heap.img": snapshottest.Rebuilt(memory, 5)}
			m, err := tryPut(s, meta(1, 2), changed)
			if err != nil && !errors.Is(err, broken) {
				t.Errorf("%s %d: put: %v", label, nth, err)
			}
			if err == nil {
				wantOrBroken(t, s, m.ID, changed, broken)
				if err := s.Delete(ctx, m.ID); err != nil && !errors.Is(err, broken) {
					t.Errorf("%s %d: delete: %v", label, nth, err)
				}
			}
			if _, err := s.Sweep(ctx, alive(first.ID)); err != nil && !errors.Is(err, broken) {
				t.Errorf("%s %d: sweep: %v", label, nth, err)
			}
			fsys.Fail(label, 1e9, nil)
			wantFiles(t, s, first.ID, map[string][]byte{"pages.img": memory})
			for range 2 {
				if _, err := s.Sweep(ctx, alive(first.ID)); err != nil {
					t.Errorf("%s %d: second sweep: %v", label, nth, err)
				}
			}
			checkNothingIsLeft(t, string(label), s, opt.Blobs, 1)
			again := put(t, s, meta(1, 3), changed)
			wantFiles(t, s, again.ID, changed)
			s.Close()
		}
	}
}

func wantOrBroken(t *testing.T, s *snapshot.Store, id snapshot.ID, want map[string][]byte, broken error) {
	t.Helper()
	if _, err := get(s, id); errors.Is(err, broken) {
		return
	}
	wantFiles(t, s, id, want)
}

// A key file is made whole or not at all.
func TestCrashWhileTheKeyIsMade(t *testing.T) {
	for nth := 1; nth <= 7; nth++ {
		for seed := range uint64(8) {
			fsys := faultfs.NewMem()
			if err := fsys.MkdirAll("", "/data"); err != nil {
				t.Fatal(err)
			}
			fsys.CrashAt(nth)
			k, err := snapshot.LoadKey(fsys, "/data/key")
			after := fsys.Reboot(rand.New(rand.NewPCG(seed, 0)))
			again, err2 := snapshot.LoadKey(after, "/data/key")
			if err2 != nil {
				t.Fatalf("crash at %d: no key any more: %v", nth, err2)
			}
			if err == nil {
				// It was given out, so it must be the one.
				opt := options(nil)
				opt.Key = k
				f, _ := snapshot.OpenFolder(after, "/s")
				opt.Blobs = f
				s, err := snapshot.Open(context.Background(), opt)
				if err != nil {
					t.Fatal(err)
				}
				s.Close()
				opt.Key = again
				if s, err = snapshot.Open(context.Background(), opt); err != nil {
					t.Fatalf("crash at %d: another key: %v", nth, err)
				}
				s.Close()
			}
		}
	}
}
