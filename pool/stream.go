package pool

import (
	"context"
	"sync"

	"thaw/function"
)

// detachable stands between a running invocation and a caller who may leave: after detach the caller's sink is not
// touched any more.
type detachable struct {
	mu sync.Mutex
	to function.StreamSink
}

func (d *detachable) Head(contentType string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.to == nil {
		return context.Canceled
	}
	return d.to.Head(contentType)
}

func (d *detachable) Chunk(b []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.to == nil {
		return context.Canceled
	}
	return d.to.Chunk(b)
}

func (d *detachable) detach() {
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.to = nil
}
