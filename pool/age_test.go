package pool

import (
	"testing"
	"time"
)

// A time without a monotonic reading is what the wall clock alone says.
func TestAgeCountsByTheClockThatSaysMore(t *testing.T) {
	start := time.Now()
	for _, c := range []struct {
		name string
		now  time.Time
		want time.Duration
	}{
		{"both went on", start.Add(3 * time.Hour), 3 * time.Hour},
		{"the host slept: the wall clock went on", start.Round(0).Add(8 * time.Hour), 8 * time.Hour},
	} {
		if got := age(start, c.now); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if got := age(start.Round(0).Add(time.Hour), start.Add(2*time.Hour)); got != time.Hour {
		t.Errorf("of a time that was read from a record: %v", got)
	}
}
