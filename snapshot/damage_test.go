package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"thaw/snapshot"
	"thaw/snapshot/snapshottest"
)

// Every kind of blob is damaged in every way. Whatever happens, nobody gets wrong bytes, and the same content can be stored again.
func TestDamagedBlobs(t *testing.T) {
	ctx := context.Background()
	type damage struct {
		name string
		do   func(path string, others []string) error
	}
	rewrite := func(f func(b []byte) []byte) func(string, []string) error {
		return func(path string, _ []string) error {
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			return os.WriteFile(path, f(b), 0o600)
		}
	}
	flip := func(at func(n int) int) func(string, []string) error {
		return rewrite(func(b []byte) []byte { b[at(len(b))] ^= 1; return b })
	}
	damages := []damage{
		{"first bit flipped", flip(func(int) int { return 0 })},
		{"a bit in the middle flipped", flip(func(n int) int { return n / 2 })},
		{"last bit flipped", flip(func(n int) int { return n - 1 })},
		{"emptied", rewrite(func([]byte) []byte { return nil })},
		{"cut to half", rewrite(func(b []byte) []byte { return b[:len(b)/2] })},
		{"cut by one", rewrite(func(b []byte) []byte { return b[:len(b)-1] })},
		{"longer by one", rewrite(func(b []byte) []byte { return append(b, 0) })},
		{"zeroed", rewrite(func(b []byte) []byte { clear(b); return b })},
		{"missing", func(path string, _ []string) error { return os.Remove(path) }},
		{"swapped with another of its kind", func(path string, others []string) error {
			if len(others) == 0 {
				return nil
			}
			temp := path + ".x"
			return errors.Join(os.Rename(path, temp), os.Rename(others[0], path), os.Rename(temp, others[0]))
		}},
		{"replaced by a manifest", func(path string, _ []string) error {
			root := filepath.Dir(path)
			if filepath.Base(path) != "store" {
				root = filepath.Dir(root)
			}
			list, _ := filepath.Glob(filepath.Join(root, "manifest", "*"))
			b, err := os.ReadFile(list[len(list)-1])
			return errors.Join(err, os.WriteFile(path, b, 0o600))
		}},
	}
	memory := snapshottest.Memory(1, 150)
	for _, kind := range []string{"pack", "index", "manifest", "store"} {
		for _, d := range damages {
			t.Run(kind+" "+d.name, func(t *testing.T) {
				dir := t.TempDir()
				small := func(o *snapshot.Options) { o.PackPages = 32 }
				s := openStore(t, folder(t, dir), small)
				want := map[snapshot.ID]map[string][]byte{}
				differences := 0
				for g := range uint64(3) {
					files := map[string][]byte{"pages.img": snapshottest.Shifted(memory, g, 10, int(g)), "state": snapshottest.Memory(50+g, 5)}
					if g == 2 {
						files["pages.img"] = snapshottest.Rebuilt(memory, g)
					}
					m := put(t, s, meta(1, g+1), files)
					want[m.ID] = files
					differences += m.DeltaPages
				}
				if differences < 100 {
					t.Fatalf("only %d pages are differences: the test lost its point", differences)
				}
				paths, _ := filepath.Glob(filepath.Join(dir, kind, "*"))
				if kind == "store" {
					paths = []string{filepath.Join(dir, kind)}
				}
				if len(paths) == 0 {
					t.Fatal("nothing to damage")
				}
				if err := d.do(paths[0], paths[1:]); err != nil {
					t.Fatal(err)
				}
				opt := options(folder(t, dir))
				opt.PackPages = 32
				again, err := snapshot.Open(ctx, opt)
				if err != nil {
					t.Fatal(err)
				}
				defer again.Close()
				whole, lost := 0, 0
				for id, files := range want {
					got, err := get(again, id)
					switch {
					case err == nil && maps.EqualFunc(got, files, bytes.Equal):
						whole++
					case errors.As(err, new(*snapshot.CorruptError)), errors.Is(err, snapshot.ErrNotFound):
						lost++
					default:
						t.Errorf("wrong bytes, or error %v", err)
					}
				}
				if kind == "pack" || kind == "manifest" {
					if lost == 0 {
						t.Error("the damage was not noticed")
					}
				} else if lost > 0 {
					t.Errorf("%d snapshots are lost without need", lost)
				}
				// What is made again does not rest on damaged pages.
				for id, files := range want {
					if err := again.Delete(ctx, id); err != nil {
						t.Fatal(err)
					}
					for attempt := 0; ; attempt++ {
						m, err := tryPut(again, meta(1, 9), files)
						if err == nil {
							err = again.Verify(ctx, m.ID)
						} else if !errors.Is(err, snapshot.ErrSwept) { // what it shared was found damaged in this moment
							t.Fatal(err)
						}
						if err == nil {
							wantFiles(t, again, m.ID, files)
							break
						}
						if attempt == 9 {
							t.Fatalf("stored again and still damaged: %v", err)
						}
						if m == nil {
							continue
						}
						if err := again.Delete(ctx, m.ID); err != nil {
							t.Fatal(err)
						}
					}
				}
				if _, err := again.Sweep(ctx, alive()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestWholeFilesOfOldPacksAreNoReplay(t *testing.T) {
	// A pack of another snapshot, whole and under the right key of the installation, in the place of this one.
	dir := t.TempDir()
	s := openStore(t, folder(t, dir))
	a := put(t, s, meta(1, 1), map[string][]byte{"x": bytes.Repeat([]byte("a"), 9000)})
	b := put(t, s, meta(2, 1), map[string][]byte{"x": bytes.Repeat([]byte("b"), 9000)})
	data, err := os.ReadFile(filepath.Join(dir, "pack", b.Packs[0].ID))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "pack", a.Packs[0].ID), data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = get(s, a.ID)
	var corrupt *snapshot.CorruptError
	if !errors.As(err, &corrupt) || corrupt.Snapshot != a.ID || corrupt.Blob != "pack/"+a.Packs[0].ID {
		t.Errorf("got %v", err)
	}
	wantFiles(t, s, b.ID, map[string][]byte{"x": bytes.Repeat([]byte("b"), 9000)})
}

// A disk that fails is not damage: nothing may be deleted or forgotten because of it.
func TestFailingReadsAreNotDamage(t *testing.T) {
	ctx := context.Background()
	blobs := &failingBlobs{Blobs: folder(t, t.TempDir())}
	s := openStore(t, blobs)
	files := map[string][]byte{"pages.img": snapshottest.Memory(1, 100)}
	m := put(t, s, meta(1, 1), files)
	blobs.fail = errors.New("input/output error")
	_, err := get(s, m.ID)
	if err == nil || errors.As(err, new(*snapshot.CorruptError)) || !errors.Is(err, blobs.fail) {
		t.Errorf("got %v", err)
	}
	if _, err := snapshot.Open(ctx, options(blobs)); !errors.Is(err, blobs.fail) {
		t.Errorf("open: %v", err)
	}
	blobs.fail = nil
	wantFiles(t, s, m.ID, files)
	if again := put(t, s, meta(1, 2), files); again.NewPages != 0 {
		t.Errorf("%d pages were forgotten", again.NewPages)
	}
}

type failingBlobs struct {
	snapshot.Blobs
	fail error
}

func (f *failingBlobs) Get(ctx context.Context, key string) ([]byte, error) {
	if f.fail != nil {
		return nil, fmt.Errorf("blob %s: %w", key, f.fail)
	}
	return f.Blobs.Get(ctx, key)
}

// Two servers on one bucket: one sweeps while the other shares what it sweeps. Whoever is first, no snapshot is left without its pages.
func TestTwoServersOnOneBucket(t *testing.T) {
	ctx := context.Background()
	memory := snapshottest.Memory(1, 100)
	for _, when := range []string{"before the tomb", "after the tomb", "after the deletion"} {
		t.Run("the other commits "+when, func(t *testing.T) {
			inner := folder(t, t.TempDir())
			a := openStore(t, inner)
			old := put(t, a, meta(1, 1), map[string][]byte{"pages.img": memory})
			b := openStore(t, inner)
			w, err := b.Begin(ctx, meta(2, 1))
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if err := w.Add("pages.img", bytes.NewReader(memory)); err != nil {
				t.Fatal(err)
			}
			var m *snapshot.Manifest
			var commitErr error
			commit := func() { m, commitErr = w.Commit(nil) }
			hook := &hookedBlobs{Blobs: inner}
			hooked := openStore(t, hook)
			switch when {
			case "before the tomb":
				hook.beforePut = commit
			case "after the tomb":
				hook.afterPut = commit
			}
			if err := hooked.Delete(ctx, old.ID); err != nil {
				t.Fatal(err)
			}
			swept, err := hooked.Sweep(ctx, func(context.Context) (map[snapshot.ID]bool, error) { return map[snapshot.ID]bool{}, nil })
			if err != nil {
				t.Fatal(err)
			}
			if when == "after the deletion" {
				if swept.Packs == 0 {
					t.Fatal("nothing was swept")
				}
				commit()
			}
			if commitErr == nil && when == "after the deletion" {
				// Its tomb is gone too: the verification before a snapshot becomes current is what finds it.
				if err := b.Verify(ctx, m.ID); !errors.As(err, new(*snapshot.CorruptError)) {
					t.Errorf("verified: %v", err)
				}
			} else if commitErr == nil {
				wantFiles(t, b, m.ID, map[string][]byte{"pages.img": memory})
			} else if !errors.Is(commitErr, snapshot.ErrSwept) {
				t.Error(commitErr)
			} else if list, _ := inner.List(ctx, "manifest/"); len(list) != 0 {
				t.Errorf("the refused commit left %v", list)
			}
			w.Close()
			// The second try shares nothing that is gone.
			for attempt := 0; ; attempt++ {
				m := put(t, b, meta(2, 2), map[string][]byte{"pages.img": memory})
				if b.Verify(ctx, m.ID) == nil {
					wantFiles(t, b, m.ID, map[string][]byte{"pages.img": memory})
					break
				}
				if attempt > 3 {
					t.Fatal("made again and again, and still without its pages")
				}
			}
		})
	}
}

type hookedBlobs struct {
	snapshot.Blobs
	beforePut, afterPut func() // of the first tomb
}

func (h *hookedBlobs) Put(ctx context.Context, key string, b []byte) error {
	if strings.HasPrefix(key, "tomb/") && h.beforePut != nil {
		h.beforePut()
		h.beforePut = nil
	}
	err := h.Blobs.Put(ctx, key, b)
	if strings.HasPrefix(key, "tomb/") && h.afterPut != nil {
		h.afterPut()
		h.afterPut = nil
	}
	return err
}

// Pages that were moved by another server are found at their new place.
func TestPagesMovedByAnotherServer(t *testing.T) {
	ctx := context.Background()
	blobs := folder(t, t.TempDir())
	small := func(o *snapshot.Options) { o.PackPages = 32 }
	a := openStore(t, blobs, small)
	memory := snapshottest.Memory(1, 200)
	first := put(t, a, meta(1, 1), map[string][]byte{"pages.img": memory})
	var few []byte
	for i := 0; i < 200; i += 10 {
		few = append(few, memory[i*snapshot.PageSize:(i+1)*snapshot.PageSize]...)
	}
	second := put(t, a, meta(1, 2), map[string][]byte{"pages.img": few})
	b := openStore(t, blobs, small)
	reader, err := b.Reader(ctx, second.ID)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if err := a.Delete(ctx, first.ID); err != nil {
		t.Fatal(err)
	}
	swept, err := a.Sweep(ctx, alive(second.ID))
	if err != nil || swept.MovedPages == 0 {
		t.Fatalf("%+v, %v", swept, err)
	}
	readEverywhere(t, reader, map[string][]byte{"pages.img": few})
	wantFiles(t, b, second.ID, map[string][]byte{"pages.img": few})
	ids := []snapshot.ID{}
	for _, m := range b.List() {
		ids = append(ids, m.ID)
	}
	if !slices.Contains(ids, second.ID) {
		t.Error("the other server forgot it")
	}
}
