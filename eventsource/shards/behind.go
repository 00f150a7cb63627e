package shards

import (
	"sync"
	"time"
)

// Behind is how far, in time, the reading of a shard is behind the shard's end. Its zero value is a reader that has heard
// nothing yet. Any number of goroutines use it.
type Behind struct {
	mu   sync.Mutex
	at   time.Time // of the last answer; zero: there was none
	last time.Duration
}

// fresh is how long an answer counts as one about now: shards that rest are asked at least so often, or say so themselves.
// A reader that asks less often is not read, because its function is slow.
const fresh = longest + 15*time.Second

// Set takes what an answer says.
func (b *Behind) Set(d time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.at, b.last = time.Now(), d
}

// Now is how far behind reading is, at most; -1: nobody knows.
func (b *Behind) Now() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at.IsZero() {
		return -1
	}
	if since := time.Since(b.at); since > fresh {
		return b.last + since
	}
	return b.last
}

// Lag is how many records are behind those that were read, as far as that follows: none, or -1.
func (b *Behind) Lag() int64 {
	if b.Now() == 0 {
		return 0
	}
	return -1
}
