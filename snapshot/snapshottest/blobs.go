package snapshottest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"thaw/snapshot"
)

// RunBlobs is the suite that every implementation of snapshot.Blobs passes. open returns the same blobs again when it is
// called again in one test, and none in a new test.
func RunBlobs(t *testing.T, open func(t *testing.T) snapshot.Blobs) {
	ctx := context.Background()
	mustPut := func(t *testing.T, b snapshot.Blobs, key string, data []byte) {
		t.Helper()
		if err := b.Put(ctx, key, data); err != nil {
			t.Fatal(err)
		}
	}
	wantGet := func(t *testing.T, b snapshot.Blobs, key string, want []byte) {
		t.Helper()
		got, err := b.Get(ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("blob %s: %d bytes that are not the %d that were put", key, len(got), len(want))
		}
	}
	t.Run("a blob comes back, also after opening again", func(t *testing.T) {
		b := open(t)
		for n, key := range []string{"store", "pack/0a", "manifest/ff00"} {
			mustPut(t, b, key, bytes.Repeat([]byte{byte(n), 0, 255}, 1<<(8*n)))
		}
		for _, b := range []snapshot.Blobs{b, open(t)} {
			for n, key := range []string{"store", "pack/0a", "manifest/ff00"} {
				wantGet(t, b, key, bytes.Repeat([]byte{byte(n), 0, 255}, 1<<(8*n)))
			}
		}
	})
	t.Run("an empty blob is a blob", func(t *testing.T) {
		b := open(t)
		mustPut(t, b, "pack/0", nil)
		wantGet(t, b, "pack/0", nil)
	})
	t.Run("a second put replaces the first, shorter or longer", func(t *testing.T) {
		b := open(t)
		for _, size := range []int{1000, 10, 5000} {
			mustPut(t, b, "pack/0", bytes.Repeat([]byte{'x'}, size))
			wantGet(t, b, "pack/0", bytes.Repeat([]byte{'x'}, size))
		}
	})
	t.Run("what was put and what was got may be changed", func(t *testing.T) {
		b := open(t)
		data := []byte("right")
		mustPut(t, b, "pack/0", data)
		copy(data, "wrong")
		got, _ := b.Get(ctx, "pack/0")
		copy(got, "worse")
		wantGet(t, b, "pack/0", []byte("right"))
	})
	t.Run("what is not there is not found, and deleting it is no error", func(t *testing.T) {
		b := open(t)
		mustPut(t, b, "pack/0", []byte("x"))
		if err := b.Delete(ctx, "pack/0"); err != nil {
			t.Fatal(err)
		}
		for _, key := range []string{"pack/0", "pack/1", "other/1", "store"} {
			if _, err := b.Get(ctx, key); !errors.Is(err, snapshot.ErrNotFound) {
				t.Errorf("get %s: %v", key, err)
			}
			if err := b.Delete(ctx, key); err != nil {
				t.Errorf("delete %s: %v", key, err)
			}
		}
	})
	t.Run("a list has what begins with the prefix, with sizes", func(t *testing.T) {
		b := open(t)
		want := map[string]int64{}
		for n := range 30 {
			key := fmt.Sprintf("pack/%d", n)
			mustPut(t, b, key, make([]byte, n))
			want[key] = int64(n)
		}
		mustPut(t, b, "packed/1", []byte("x"))
		mustPut(t, b, "store", []byte("xy"))
		list, err := b.List(ctx, "pack/")
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			if size, ok := want[i.Key]; !ok || size != i.Size {
				t.Errorf("list has %s of %d bytes", i.Key, i.Size)
			}
			delete(want, i.Key)
		}
		if len(want) > 0 {
			t.Errorf("list lacks %v", want)
		}
		if all, err := b.List(ctx, ""); err != nil || len(all) != 32 {
			t.Errorf("list of all has %d, %v", len(all), err)
		}
		if none, err := b.List(ctx, "tomb/"); err != nil || len(none) != 0 {
			t.Errorf("list of none has %d, %v", len(none), err)
		}
	})
	t.Run("a malformed key is refused", func(t *testing.T) {
		b := open(t)
		for _, key := range []string{"", "/", "a/", "/a", "a/b/c", "../a", "a/..", "A", "a b", "a.tmp"} {
			if err := b.Put(ctx, key, []byte("x")); err == nil {
				t.Errorf("key %q was taken", key)
			}
		}
		if list, err := b.List(ctx, ""); err != nil || len(list) != 0 {
			t.Errorf("they left %v, %v", list, err)
		}
	})
	t.Run("a cancelled put leaves the old or the new", func(t *testing.T) {
		b := open(t)
		mustPut(t, b, "pack/0", []byte("old"))
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		want := []byte("old")
		if err := b.Put(cancelled, "pack/0", []byte("new")); err == nil {
			want = []byte("new")
		}
		wantGet(t, b, "pack/0", want)
	})
	t.Run("who reads while others write gets one of the two whole", func(t *testing.T) {
		b := open(t)
		versions := [][]byte{bytes.Repeat([]byte{1}, 100_000), bytes.Repeat([]byte{2}, 50_000)}
		mustPut(t, b, "pack/0", versions[0])
		var wg sync.WaitGroup
		for w := range 2 {
			wg.Go(func() {
				for range 20 {
					if err := b.Put(ctx, "pack/0", versions[w]); err != nil {
						t.Error(err)
					}
				}
			})
			wg.Go(func() {
				for range 50 {
					got, err := b.Get(ctx, "pack/0")
					if err != nil {
						t.Error(err)
					} else if !bytes.Equal(got, versions[0]) && !bytes.Equal(got, versions[1]) {
						t.Errorf("got %d bytes that nobody put", len(got))
					}
				}
			})
		}
		wg.Wait()
	})
}
