package snapshot

import (
	"context"
	"errors"
	"strings"
)

// Blobs is where a Store keeps its bytes: a folder, or a bucket. snapshottest.RunBlobs says what an implementation must hold.
// All methods may be called from many goroutines.
type Blobs interface {
	// Put stores b under key in place of what was there. When it returns nil the blob is whole and durable; when it fails or the machine
	// does, the key has its old bytes or the new ones. b is not kept.
	Put(ctx context.Context, key string, b []byte) error
	// Get returns a blob, which is the caller's. The error is ErrNotFound when there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// Delete removes a blob; one that is not there is no error. It need not be durable.
	Delete(ctx context.Context, key string) error
	// List returns all blobs whose keys begin with prefix: "" or what ends in a slash. A Put that returned before is in it.
	List(ctx context.Context, prefix string) ([]BlobInfo, error)
}

// BlobInfo is one blob of a List.
type BlobInfo struct {
	Key  string
	Size int64 // bytes as stored
}

// ErrNotFound is the fact that no such blob, snapshot or record exists.
var ErrNotFound = errors.New("not found")

// ValidKey says whether a key is one that a Store uses: lower-case letters and digits, with at most one slash between.
func ValidKey(key string) bool {
	dir, name, two := strings.Cut(key, "/")
	return validPart(dir) && (!two || validPart(name))
}

func validPart(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}
