package snapshot

import (
	"fmt"
	"io/fs"
	"os"
	"sync"
)

// Handle is a snapshot's files, open. They stay readable until Close, whatever becomes of the cache. It may be used by many goroutines.
type Handle struct {
	c *Cache
	e *entry

	mu     sync.RWMutex // guards what follows; Open and Close cannot be at once
	closed bool
}

// ID is the snapshot's.
func (h *Handle) ID() ID { return h.e.id }

// File is a file for ReadAt and mmap: the descriptor is shared by all Handles of the snapshot, so its offset is nobody's, and it must not
// be closed. The error is fs.ErrNotExist when the snapshot has no such file.
func (h *Handle) File(name string) (*os.File, error) {
	for _, f := range h.e.files {
		if f.Name == name {
			return f.f, nil
		}
	}
	return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
}

// Size is a file's size in bytes; -1 when there is none.
func (h *Handle) Size(name string) int64 {
	for _, f := range h.e.files {
		if f.Name == name {
			return f.Size
		}
	}
	return -1
}

// Open opens a file once more, with an offset and flags of its own, to be closed by the caller or given to another process. It works for
// files that were evicted too. The error is fs.ErrClosed after Close.
func (h *Handle) Open(name string, flag int) (*os.File, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.closed {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrClosed}
	}
	f, err := h.File(name)
	if err != nil {
		return nil, err
	}
	return os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), os.O_RDONLY|flag, 0)
}

// Close lets go of the files. It may be called more than once.
func (h *Handle) Close() error {
	h.mu.Lock()
	closed := h.closed
	h.closed = true
	h.mu.Unlock()
	if !closed {
		h.c.release(h.e)
	}
	return nil
}
