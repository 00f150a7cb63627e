package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"thaw/internal/faultfs"
	"thaw/snapshot"
	"thaw/snapshot/snapshottest"
)

// Random operations against a map, on packs of two sizes: small ones make sweeps move pages all the time.
func TestRandomOperationsAgainstAModel(t *testing.T) {
	ctx := context.Background()
	moved, differences := 0, 0
	for seed := range uint64(6) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 99))
			blobs := memFolder(t, faultfs.NewMem())
			edit := func(o *snapshot.Options) { o.PackPages = []int{8, 64}[seed%2] }
			s := openStore(t, blobs, edit)
			model := map[snapshot.ID]map[string][]byte{}
			live := map[snapshot.ID]bool{}
			memory := snapshottest.Memory(seed, 80)
			var order []snapshot.ID
			pick := func(of map[snapshot.ID]map[string][]byte) snapshot.ID {
				order = slices.DeleteFunc(order, func(id snapshot.ID) bool { return of[id] == nil })
				if len(order) == 0 {
					return ""
				}
				return order[r.IntN(len(order))]
			}
			for op := range 120 {
				switch r.IntN(8) {
				case 0, 1, 2:
					n := 1 + r.IntN(79)
					files := map[string][]byte{
						"pages.img": snapshottest.Shifted(memory[:n*snapshot.PageSize+r.IntN(2)*100], r.Uint64N(5), r.IntN(8)+1, r.IntN(3)),
						"state":     snapshottest.Memory(r.Uint64N(4), r.IntN(3)),
					}
					if r.IntN(2) == 0 {
						files["pages.img"] = snapshottest.Rebuilt(memory[:n*snapshot.PageSize], r.Uint64N(3))
					}
					m := put(t, s, meta(1, uint64(op)), files)
					differences += m.DeltaPages
					model[m.ID], live[m.ID] = files, true
					order = append(order, m.ID)
				case 3, 4:
					if id := pick(model); id != "" {
						wantFiles(t, s, id, model[id])
					}
				case 5:
					if id := pick(model); id != "" {
						delete(model, id)
						delete(live, id)
						if r.IntN(2) == 0 { // else the sweep finds that nobody names it
							if err := s.Delete(ctx, id); err != nil {
								t.Fatal(err)
							}
							if _, err := get(s, id); !errors.Is(err, snapshot.ErrNotFound) {
								t.Fatalf("deleted and still there: %v", err)
							}
						}
					}
				case 6:
					swept, err := s.Sweep(ctx, func(context.Context) (map[snapshot.ID]bool, error) { return maps.Clone(live), nil })
					if err != nil {
						t.Fatal(err)
					}
					moved += swept.MovedPages
					if n := len(s.List()); n != len(model) {
						t.Fatalf("%d snapshots instead of %d", n, len(model))
					}
				case 7:
					s = openStore(t, blobs, edit)
				}
			}
			for id, files := range model {
				wantFiles(t, s, id, files)
			}
			for range 2 {
				if _, err := s.Sweep(ctx, func(context.Context) (map[snapshot.ID]bool, error) { return live, nil }); err != nil {
					t.Fatal(err)
				}
			}
			checkNothingIsLeft(t, "at the end", s, blobs, len(model))
		})
	}
	if moved == 0 || differences == 0 {
		t.Errorf("sweeps moved %d pages and %d were differences: the test lost its point", moved, differences)
	}
}

// A writer that was begun before a sweep keeps what it shares, although nothing else needs it any more.
func TestASweepSparesWhatAWriterShares(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, memFolder(t, faultfs.NewMem()))
	memory := snapshottest.Memory(1, 300)
	old := put(t, s, meta(1, 1), map[string][]byte{"pages.img": memory})
	w, err := s.Begin(ctx, meta(1, 2))
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Add("pages.img", bytes.NewReader(memory)); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, old.ID); err != nil {
		t.Fatal(err)
	}
	sweep := func() snapshot.Swept {
		swept, err := s.Sweep(ctx, alive())
		if err != nil {
			t.Fatal(err)
		}
		return swept
	}
	sweep()
	m, err := w.Commit(nil)
	if err != nil {
		t.Fatal(err)
	}
	sweep() // committed, not closed: in no record, and held
	wantFiles(t, s, m.ID, map[string][]byte{"pages.img": memory})
	if m.NewPages != 0 {
		t.Errorf("%d pages are not shared", m.NewPages)
	}
	w.Close()
	if swept := sweep(); swept.Manifests != 1 || swept.Packs == 0 {
		t.Errorf("closed and in no record, and yet %+v", swept)
	}
}

// Writers, readers, deleters and sweeps at once; every record must always name a whole snapshot.
func TestEverythingAtOnce(t *testing.T) {
	ctx := context.Background()
	s := openStore(t, memFolder(t, faultfs.NewMem()), func(o *snapshot.Options) { o.PackPages = 16 })
	cache, err := snapshot.OpenCache(t.TempDir(), 1<<20, s, quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	records := snapshottest.NewRecords()
	memory := snapshottest.Memory(1, 60)
	content := func(id snapshot.ID, m *snapshot.Meta) []byte {
		return snapshottest.Shifted(memory, uint64(m.Generation)%4, 5, int(m.Generation)%3)
	}
	stop := make(chan struct{})
	var makers, others sync.WaitGroup
	for v := range 3 {
		makers.Go(func() {
			for g := range uint64(15) {
				m := meta(v, g+1)
				w, err := s.Begin(ctx, m)
				if err != nil {
					t.Error(err)
					return
				}
				err = w.Add("pages.img", bytes.NewReader(content("", &m)))
				var man *snapshot.Manifest
				if err == nil {
					man, err = w.Commit(nil)
				}
				if err != nil {
					t.Error(err)
					w.Close()
					return
				}
				var old *snapshot.Meta
				if _, err := snapshot.Update(ctx, records, version(v), func(r *snapshot.Record) error {
					old = r.Current
					r.State, r.Current = snapshot.Current, &man.Meta
					return nil
				}); err != nil {
					t.Error(err)
				}
				w.Close()
				if old != nil {
					if err := s.Delete(ctx, old.ID); err != nil {
						t.Error(err)
					}
					cache.Drop(old.ID)
				}
			}
		})
		others.Go(func() { // reads as a restore does
			for {
				select {
				case <-stop:
					return
				default:
				}
				r, _, err := records.Get(ctx, version(v))
				if err != nil {
					continue
				}
				h, err := cache.Open(ctx, r.Current.ID)
				if err != nil {
					// Only one that was replaced meanwhile may be gone.
					if now, _, _ := records.Get(ctx, version(v)); now.Current.ID == r.Current.ID {
						t.Errorf("the current snapshot cannot be read: %v", err)
					}
					continue
				}
				want := content(r.Current.ID, r.Current)
				got := make([]byte, len(want)+1)
				f, err := h.File("pages.img")
				if err != nil {
					t.Error(err)
				} else if n, _ := f.ReadAt(got, 0); !bytes.Equal(got[:n], want) {
					t.Error("wrong bytes")
				}
				h.Close()
			}
		})
	}
	others.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.Sweep(ctx, func(ctx context.Context) (map[snapshot.ID]bool, error) { return snapshot.LiveIDs(ctx, records) }); err != nil {
				t.Error(err)
			}
			s.Usage()
		}
	})
	makers.Wait()
	close(stop)
	others.Wait()
	live, _ := snapshot.LiveIDs(ctx, records)
	if len(live) != 3 {
		t.Errorf("%d live snapshots", len(live))
	}
	for id := range live {
		if err := s.Verify(ctx, id); err != nil {
			t.Error(err)
		}
	}
}
