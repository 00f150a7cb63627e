package blob

import (
	"testing"

	"gocloud.dev/blob/memblob"

	"thaw/snapshot"
	"thaw/snapshot/snapshottest"
)

func TestKeyedIsBlobs(t *testing.T) {
	t.Run("in a folder", func(t *testing.T) {
		dirs := map[string]string{}
		snapshottest.RunBlobs(t, func(t *testing.T) snapshot.Blobs {
			if dirs[t.Name()] == "" {
				dirs[t.Name()] = t.TempDir()
			}
			k, err := OpenKeyed(dirs[t.Name()])
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { k.Close() })
			return k
		})
	})
	t.Run("in a bucket", func(t *testing.T) {
		opened := map[string]*Keyed{}
		snapshottest.RunBlobs(t, func(t *testing.T) snapshot.Blobs {
			if opened[t.Name()] == nil {
				k := KeyedIn(memblob.OpenBucket(nil))
				opened[t.Name()] = k
				t.Cleanup(func() { k.Close() })
			}
			return opened[t.Name()]
		})
	})
}
