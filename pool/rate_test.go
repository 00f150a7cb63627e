package pool

import (
	"fmt"
	"testing"
	"time"

	"thaw/function"
)

// In no ten seconds does a function start more than it may, and it may start as many again ten seconds later.
func TestScalingRate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newRates(0)
	var started []time.Time
	for range 4000 { // 100 s, much more often than is allowed
		for range 10 {
			if r.start("busy", now) {
				started = append(started, now)
			}
		}
		now = now.Add(25 * time.Millisecond)
	}
	first := 0
	for last := range started {
		for started[last].Sub(started[first]) >= scalingWindow {
			first++
		}
		if n := last - first + 1; n > scalingRate {
			t.Fatalf("%d starts within %v", n, scalingWindow)
		}
	}
	if len(started) < 9*scalingRate || len(started) > 11*scalingRate {
		t.Errorf("%d starts in 100 s", len(started))
	}
	if !r.start("calm", now) {
		t.Error("another function pays for it")
	}
	back := now.Add(-time.Hour).Round(0) // a wall clock that was set back: nothing of the monotonic one is left here
	r.start("busy", back)
	for i := range 3000 { // functions that are gone are forgotten
		r.start(function.ARN(fmt.Sprint("f", i)), now.Add(time.Duration(i)*time.Second))
	}
	if n := len(r.starts); n > 100 {
		t.Errorf("%d functions are remembered", n)
	}
}

// A function takes ten requests a second for each unit of concurrency: a second's worth at once, then as they come.
func TestRequestRate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newRates(RequestRate)
	burst := func(concurrency int) (n int) {
		for r.request("f", concurrency, now) {
			n++
		}
		return n
	}
	for _, c := range []struct {
		wait        time.Duration
		concurrency int
		want        int
	}{{0, 3, 30}, {0, 3, 0}, {100 * time.Millisecond, 3, 3}, {time.Hour, 3, 30}, {time.Second, 1, 10}, {time.Second, 0, 0}} {
		now = now.Add(c.wait)
		if got := burst(c.concurrency); got != c.want {
			t.Errorf("after %v with concurrency %d it takes %d, want %d", c.wait, c.concurrency, got, c.want)
		}
	}
	if free := newRates(0); !free.request("f", 0, now) {
		t.Error("without a rate something is refused")
	}
}
