package shards

import (
	"sync/atomic"
	"time"
)

// Rest bounds what shards without records cost: those of all readers that share it are asked in turn, one each so many
// milliseconds, where that is less often than each of them would be by itself. nil: there is no such bound.
type Rest struct {
	// Each is the time between two questions about shards that rest, whichever. A question takes half a millisecond of a
	// processor; a thousand streams without records may take 2 % of one.
	Each time.Duration
	n    atomic.Int64
}

// longest is how seldom a shard is asked, however many there are.
const longest = time.Minute

// enter takes note of a shard that rests from now on, until leave.
func (r *Rest) enter() { r.n.Add(1) }
func (r *Rest) leave() { r.n.Add(-1) }

// pause is how long a shard waits that would wait so long by itself.
func (r *Rest) pause(alone time.Duration) time.Duration {
	return max(alone, min(time.Duration(r.n.Load())*r.Each, longest))
}
