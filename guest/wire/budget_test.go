package wire

import (
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	t.Parallel()
	b := Budget{Burst: 1000, Rate: 1000}
	now := time.Unix(1, 0)
	for i, c := range []struct {
		wait time.Duration
		n    int
		want bool
	}{
		{0, 1000 - segmentCost, true},                // the burst
		{0, 0, false},                                // empty ones cost, too
		{200 * time.Millisecond, 0, false},           // not yet
		{56 * time.Millisecond, 0, true},             // the rate
		{1000 * time.Hour, 1000 - segmentCost, true}, // frozen for long: no more than the burst
		{-time.Hour, 0, false},                       // a clock that was set
		{time.Second, 1000 - segmentCost, true},      //
		{time.Second, 1001 - segmentCost, false},     // larger than all of it
		{200 * 365 * 24 * time.Hour, 1000 - segmentCost, true},
	} {
		now = now.Add(c.wait)
		if got := b.Afford(c.n, now); got != c.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}
