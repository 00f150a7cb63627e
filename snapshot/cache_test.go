package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"thaw/internal/faultfs"
	"thaw/snapshot"
	"thaw/snapshot/snapshottest"
)

type cacheBench struct {
	dir   string
	store *snapshot.Store
	ids   []snapshot.ID
	want  map[snapshot.ID]map[string][]byte
}

// withSnapshots makes a store with n snapshots of two files, of 101 pages each.
func withSnapshots(t testing.TB, n int) *cacheBench {
	c := &cacheBench{dir: t.TempDir(), store: openStore(t, memFolder(t, faultfs.NewMem())), want: map[snapshot.ID]map[string][]byte{}}
	for i := range n {
		files := map[string][]byte{"pages.img": snapshottest.Memory(uint64(i), 100), "checkpoint.img": snapshottest.Memory(uint64(100+i), 1)[:3000]}
		m := put(t, c.store, meta(i+1, 1), files)
		c.ids, c.want[m.ID] = append(c.ids, m.ID), files
	}
	return c
}

const cachedSize = 100*snapshot.PageSize + 3000

func (b *cacheBench) open(t testing.TB, limit int64) *snapshot.Cache {
	t.Helper()
	c, err := snapshot.OpenCache(b.dir, limit, b.store, quiet())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func (b *cacheBench) handle(t testing.TB, c *snapshot.Cache, n int) *snapshot.Handle {
	t.Helper()
	h, err := c.Open(context.Background(), b.ids[n])
	if err != nil {
		t.Fatal(err)
	}
	b.check(t, h)
	return h
}

func (b *cacheBench) check(t testing.TB, h *snapshot.Handle) {
	t.Helper()
	for name, want := range b.want[h.ID()] {
		f, err := h.File(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(io.NewSectionReader(f, 0, 1<<30))
		if err != nil || !bytes.Equal(got, want) || h.Size(name) != int64(len(want)) {
			t.Fatalf("file %s of %s has other bytes than were put (%v)", name, h.ID(), err)
		}
		own, err := h.Open(name, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(own); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("file %s of %s, opened again, has other bytes than were put (%v)", name, h.ID(), err)
		}
		own.Close()
	}
}

func openDescriptors(t testing.TB) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc here")
	}
	return len(list)
}

func TestCache(t *testing.T) {
	t.Run("files come once from the store and then from the cache", func(t *testing.T) {
		b := withSnapshots(t, 1)
		c := b.open(t, 1<<30)
		for range 3 {
			b.handle(t, c, 0).Close()
		}
		if st := c.Stats(); st.Loads != 1 || st.Hits != 2 || st.Bytes != cachedSize || !c.Has(b.ids[0]) {
			t.Errorf("%+v", st)
		}
		h := b.handle(t, c, 0)
		defer h.Close()
		if _, err := h.File("nothing"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a file that is not there: %v", err)
		}
		if f, err := os.OpenFile(filepath.Join(b.dir, string(b.ids[0]), "pages.img"), os.O_WRONLY, 0); err == nil && os.Geteuid() != 0 {
			f.Close()
			t.Error("the file can be written")
		}
	})
	t.Run("a file is open before Close or not at all", func(t *testing.T) {
		b := withSnapshots(t, 1)
		c := b.open(t, 1<<30)
		before := openDescriptors(t)
		for range 20 {
			h := b.handle(t, c, 0)
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					f, err := h.Open("pages.img", os.O_RDONLY)
					if err != nil {
						if !errors.Is(err, fs.ErrClosed) {
							t.Error(err)
						}
						return
					}
					f.Close()
				}
			})
			wg.Go(func() { h.Close(); c.Drop(b.ids[0]) })
			wg.Wait()
			h.Close()
		}
		if n := openDescriptors(t); n > before {
			t.Errorf("%d descriptors are open, %d before", n, before)
		}
	})
	t.Run("many that open one snapshot wait for one load", func(t *testing.T) {
		b := withSnapshots(t, 1)
		c := b.open(t, 1<<30)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() { b.handle(t, c, 0).Close() })
		}
		wg.Wait()
		if st := c.Stats(); st.Loads != 1 {
			t.Errorf("%+v", st)
		}
	})
	t.Run("the least recently used goes first", func(t *testing.T) {
		b := withSnapshots(t, 4)
		c := b.open(t, 2*cachedSize)
		for _, n := range []int{0, 1, 0, 2, 0, 3} {
			b.handle(t, c, n).Close()
		}
		if !c.Has(b.ids[0]) || !c.Has(b.ids[3]) || c.Has(b.ids[1]) || c.Has(b.ids[2]) {
			t.Error("others stayed")
		}
		if st := c.Stats(); st.Snapshots != 2 || st.Bytes != 2*cachedSize || st.Evicted != 2 {
			t.Errorf("%+v", st)
		}
		if list, _ := os.ReadDir(b.dir); len(list) != 2 {
			t.Errorf("%d folders are left", len(list))
		}
	})
	t.Run("what is open stays, and goes when it is closed", func(t *testing.T) {
		b := withSnapshots(t, 3)
		c := b.open(t, cachedSize/2)
		h0, h1 := b.handle(t, c, 0), b.handle(t, c, 1)
		if st := c.Stats(); st.Snapshots != 2 {
			t.Errorf("both open: %+v", st)
		}
		b.check(t, h0)
		h0.Close()
		h0.Close()
		b.check(t, h1)
		h1.Close()
		if st := c.Stats(); st.Snapshots != 0 || st.Bytes != 0 {
			t.Errorf("both closed: %+v", st)
		}
	})
	t.Run("a dropped snapshot stays readable for who has it open", func(t *testing.T) {
		before := openDescriptors(t)
		b := withSnapshots(t, 1)
		c := b.open(t, 1<<30)
		h := b.handle(t, c, 0)
		c.Drop(b.ids[0])
		c.Drop(b.ids[0])
		if c.Has(b.ids[0]) {
			t.Error("it is still there")
		}
		b.check(t, h)
		h2 := b.handle(t, c, 0) // made anew beside it
		b.check(t, h)
		h.Close()
		b.check(t, h2)
		h2.Close()
		c.Close()
		if now := openDescriptors(t); now > before {
			t.Errorf("%d descriptors leaked", now-before)
		}
	})
	t.Run("files outlive the process", func(t *testing.T) {
		b := withSnapshots(t, 2)
		c := b.open(t, 1<<30)
		b.handle(t, c, 0).Close()
		c.Close()
		os.Mkdir(filepath.Join(b.dir, "."+string(b.ids[1])+"-123"), 0o700) // of a load that was interrupted
		os.Mkdir(filepath.Join(b.dir, string(b.ids[1])), 0o700)
		c = b.open(t, 1<<30)
		if list, _ := os.ReadDir(b.dir); len(list) != 1 {
			t.Errorf("%d folders are left", len(list))
		}
		b.handle(t, c, 0).Close()
		b.handle(t, c, 0).Close()
		if st := c.Stats(); st.Loads != 0 || st.Hits != 1 || st.Bytes != cachedSize {
			t.Errorf("%+v", st)
		}
	})
	damages := map[string]func(path string) error{
		"a flipped bit": func(p string) error {
			b, err := os.ReadFile(p)
			b[len(b)/2] ^= 4
			return errors.Join(err, os.WriteFile(p, b, 0o600))
		},
		"zeros after a crash": func(p string) error {
			st, err := os.Stat(p)
			return errors.Join(err, os.WriteFile(p, make([]byte, st.Size()), 0o600))
		},
		"a cut file":     func(p string) error { return os.Truncate(p, 1000) },
		"a missing file": os.Remove,
	}
	for name, damage := range damages {
		for _, file := range []string{"pages.img", "checkpoint.img", ".sums"} {
			t.Run(name+" "+file+" is made again from the store", func(t *testing.T) {
				b := withSnapshots(t, 1)
				c := b.open(t, 1<<30)
				b.handle(t, c, 0).Close()
				c.Close()
				path := filepath.Join(b.dir, string(b.ids[0]), file)
				os.Chmod(path, 0o600)
				if err := damage(path); err != nil {
					t.Fatal(err)
				}
				c = b.open(t, 1<<30)
				b.handle(t, c, 0).Close()
				b.handle(t, c, 0).Close()
				if st := c.Stats(); st.Loads != 1 || st.Bytes != cachedSize || st.Snapshots != 1 {
					t.Errorf("%+v", st)
				}
			})
		}
	}
	t.Run("two snapshots swapped on disk are noticed", func(t *testing.T) {
		b := withSnapshots(t, 2)
		c := b.open(t, 1<<30)
		b.handle(t, c, 0).Close()
		b.handle(t, c, 1).Close()
		c.Close()
		p0, p1 := filepath.Join(b.dir, string(b.ids[0])), filepath.Join(b.dir, string(b.ids[1]))
		if err := errors.Join(os.Rename(p0+"/pages.img", p0+"/x"), os.Rename(p1+"/pages.img", p0+"/pages.img"), os.Rename(p0+"/x", p1+"/pages.img")); err != nil {
			t.Fatal(err)
		}
		c = b.open(t, 1<<30)
		b.handle(t, c, 0).Close()
		b.handle(t, c, 1).Close()
		if st := c.Stats(); st.Damaged != 2 || st.Loads != 2 || st.Bytes != 2*cachedSize {
			t.Errorf("%+v", st)
		}
	})
	t.Run("a failed load says why, and the next one is tried", func(t *testing.T) {
		b := withSnapshots(t, 1)
		blobs := &failingBlobs{Blobs: memFolder(t, faultfs.NewMem())}
		s := openStore(t, blobs)
		files := map[string][]byte{"pages.img": snapshottest.Memory(1, 50)}
		m := put(t, s, meta(1, 1), files)
		b.store, b.ids[0], b.want[m.ID] = s, m.ID, files
		c := b.open(t, 1<<30)
		blobs.fail = errors.New("input/output error")
		if _, err := c.Open(context.Background(), m.ID); !errors.Is(err, blobs.fail) {
			t.Errorf("%v", err)
		}
		blobs.fail = nil
		b.handle(t, c, 0).Close()
		if _, err := c.Open(context.Background(), snapshot.NewID()); !errors.Is(err, snapshot.ErrNotFound) {
			t.Errorf("one that is not there: %v", err)
		}
		if _, err := c.Open(context.Background(), "../x"); !errors.Is(err, snapshot.ErrNotFound) {
			t.Errorf("a malformed ID: %v", err)
		}
		if list, _ := os.ReadDir(b.dir); len(list) != 1 {
			t.Errorf("%d folders", len(list))
		}
	})
	t.Run("a caller that leaves does not end the load", func(t *testing.T) {
		b := withSnapshots(t, 1)
		c := b.open(t, 1<<30)
		ctx, cancel := context.WithCancelCause(context.Background())
		why := errors.New("the invoker left")
		cancel(why)
		if h, err := c.Open(ctx, b.ids[0]); err == nil {
			h.Close() // the load was quicker
		} else if !errors.Is(err, why) {
			t.Error(err)
		}
		b.handle(t, c, 0).Close()
		if st := c.Stats(); st.Loads != 1 {
			t.Errorf("%+v", st)
		}
	})
	t.Run("files that are here already are adopted", func(t *testing.T) {
		b := withSnapshots(t, 2)
		c := b.open(t, 1<<30)
		paths := func(n int) map[string]string {
			dir := t.TempDir()
			p := map[string]string{}
			for name, data := range b.want[b.ids[n]] {
				p[name] = filepath.Join(dir, name)
				if err := os.WriteFile(p[name], data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			return p
		}
		if err := c.Adopt(context.Background(), b.ids[0], paths(0)); err != nil {
			t.Fatal(err)
		}
		b.handle(t, c, 0).Close()
		if st := c.Stats(); st.Hits != 1 || st.Bytes != cachedSize {
			t.Errorf("%+v", st)
		}
		wrong := paths(1)
		os.WriteFile(wrong["pages.img"], b.want[b.ids[0]]["pages.img"], 0o600)
		if err := c.Adopt(context.Background(), b.ids[1], wrong); err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("another snapshot's file: %v", err)
		}
		if err := c.Adopt(context.Background(), b.ids[1], nil); err == nil {
			t.Error("no files were adopted")
		}
		b.handle(t, c, 1).Close()
	})
	t.Run("nothing is left open after all is closed", func(t *testing.T) {
		before := openDescriptors(t)
		b := withSnapshots(t, 3)
		c := b.open(t, cachedSize)
		var wg sync.WaitGroup
		for i := range 60 {
			wg.Go(func() {
				if i%5 == 4 {
					c.Drop(b.ids[i%3])
					return
				}
				b.handle(t, c, i%3).Close()
			})
		}
		wg.Wait()
		late := b.handle(t, c, 0)
		c.Close()
		b.check(t, late)
		late.Close()
		if _, err := c.Open(context.Background(), b.ids[0]); err == nil {
			t.Error("a closed cache opens")
		}
		if now := openDescriptors(t); now > before {
			t.Errorf("%d descriptors leaked", now-before)
		}
	})
}
