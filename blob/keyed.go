package blob

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"gocloud.dev/blob"
	"gocloud.dev/gcerrors"

	"thaw/snapshot"
)

// Keyed keeps blobs under keys that the caller chooses: snapshot.Blobs for a snapshot.Store, which names and verifies its blobs itself.
// On one machine snapshot.Folder does the same with fewer calls; this is the way to a bucket that several share.
type Keyed struct {
	bucket *blob.Bucket
	dir    string // empty when not a folder
}

var _ snapshot.Blobs = (*Keyed)(nil)

// OpenKeyed opens a folder, made if missing, and removes what a write left that was never finished.
func OpenKeyed(dir string) (*Keyed, error) {
	b, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	return &Keyed{b, dir}, nil
}

// KeyedIn keeps blobs in an open bucket: what a Put returned from must be durable and listed. Close closes it.
func KeyedIn(bucket *blob.Bucket) *Keyed { return &Keyed{bucket: bucket} }

// Close releases the bucket.
func (k *Keyed) Close() error { return k.bucket.Close() }

// Put implements snapshot.Blobs.
func (k *Keyed) Put(ctx context.Context, key string, b []byte) error {
	if !snapshot.ValidKey(key) {
		return fmt.Errorf("blob key %q is malformed", key)
	}
	err := k.bucket.WriteAll(ctx, key, b, &blob.WriterOptions{ContentType: "application/octet-stream", DisableContentTypeDetection: true})
	if err == nil && k.dir != "" {
		err = k.sync(key)
	}
	if err != nil {
		return fmt.Errorf("blob %s: %w", key, err)
	}
	return nil
}

// sync makes a blob of a folder durable, and its name: the library renames atomically but does not sync. Until it returns nobody was told that
// the blob exists; a torn one is found by its seal.
func (k *Keyed) sync(key string) error {
	file := filepath.Join(k.dir, filepath.FromSlash(key))
	for _, p := range []string{file, filepath.Dir(file), k.dir} {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		err = f.Sync()
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// Get implements snapshot.Blobs.
func (k *Keyed) Get(ctx context.Context, key string) ([]byte, error) {
	if !snapshot.ValidKey(key) {
		return nil, fmt.Errorf("blob key %q is malformed", key)
	}
	b, err := k.bucket.ReadAll(ctx, key)
	if gcerrors.Code(err) == gcerrors.NotFound {
		return nil, fmt.Errorf("blob %s: %w", key, snapshot.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("blob %s: %w", key, err)
	}
	return b, nil
}

// Delete implements snapshot.Blobs.
func (k *Keyed) Delete(ctx context.Context, key string) error {
	if !snapshot.ValidKey(key) {
		return fmt.Errorf("blob key %q is malformed", key)
	}
	if err := k.bucket.Delete(ctx, key); err != nil && gcerrors.Code(err) != gcerrors.NotFound {
		return fmt.Errorf("blob %s: %w", key, err)
	}
	return nil
}

// List implements snapshot.Blobs.
func (k *Keyed) List(ctx context.Context, prefix string) ([]snapshot.BlobInfo, error) {
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		return nil, fmt.Errorf("blob prefix %q is malformed", prefix)
	}
	it := k.bucket.List(&blob.ListOptions{Prefix: prefix})
	var list []snapshot.BlobInfo
	for {
		o, err := it.Next(ctx)
		if err == io.EOF {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list of blobs %s: %w", prefix, err)
		}
		if !o.IsDir && snapshot.ValidKey(o.Key) {
			list = append(list, snapshot.BlobInfo{Key: o.Key, Size: o.Size})
		}
	}
}
