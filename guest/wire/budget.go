package wire

import "time"

// Budget is how much an environment may send to the daemon of X-Ray. The guest keeps one, so that a function that floods
// costs the server nothing; the server keeps another, because it trusts no guest.
type Budget struct {
	Burst, Rate int64 // bytes; bytes a second
	left        int64
	filled      time.Time // zero: it is full
}

// SegmentBurst and SegmentRate are the guest's. The server allows twice as much, for its clock is another.
const (
	SegmentBurst = 1 << 20
	SegmentRate  = 1 << 20
)

// segmentCost is what a datagram counts for beside its bytes, so that empty ones are bounded, too.
const segmentCost = 256

// Afford takes from the budget what a datagram of n bytes costs, if it is there. The clock may have stood still, and jumped.
func (b *Budget) Afford(n int, now time.Time) bool {
	switch passed := now.Sub(b.filled); {
	case b.filled.IsZero():
		b.left = b.Burst
	case passed > 0:
		b.left = min(b.Burst, b.left+int64(min(passed.Seconds(), float64(b.Burst)/float64(b.Rate)+1)*float64(b.Rate)))
	}
	b.filled = now
	cost := int64(n) + segmentCost
	if b.left < cost {
		return false
	}
	b.left -= cost
	return true
}
