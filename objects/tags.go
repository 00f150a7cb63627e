package objects

import (
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// tagsMost is how many eTags are kept: a listing would read every file again.
const tagsMost = 10_000

// tags are eTags of files as they were. The zero value is ready.
type tags struct {
	mu  sync.Mutex
	all map[string]tag // by path
}

type tag struct {
	size  int64
	mtime time.Time
	text  string
}

// of is the eTag of a file.
func (t *tags) of(root *os.Root, name string, info fs.FileInfo) string {
	key := filepath.Join(root.Name(), name)
	t.mu.Lock()
	kept, ok := t.all[key]
	t.mu.Unlock()
	if ok && kept.size == info.Size() && kept.mtime.Equal(info.ModTime()) {
		return kept.text
	}
	text := ETag(root, name, info)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil || len(t.all) >= tagsMost {
		t.all = map[string]tag{}
	}
	t.all[key] = tag{info.Size(), info.ModTime(), text}
	return text
}
