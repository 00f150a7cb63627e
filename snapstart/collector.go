package snapstart

import (
	"runtime/debug"
	"sync"

	"thaw/snapshot"
)

// collector lowers how much garbage the server may have while snapshots are made: see snapshot.GCPercent.
var collector struct {
	mu     sync.Mutex
	makers int
	usual  int // percent, when there is none
}

// tidyHeap is called when the making of a snapshot begins, and what it returns at the end.
func tidyHeap() (end func()) {
	c := &collector
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.makers++; c.makers == 1 {
		c.usual = debug.SetGCPercent(snapshot.GCPercent)
		if c.usual >= 0 && c.usual < snapshot.GCPercent { // by GOGC
			debug.SetGCPercent(c.usual)
		}
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.makers--; c.makers == 0 {
			debug.SetGCPercent(c.usual)
		}
	}
}
