package eventsource

import (
	"testing"
	"testing/synctest"
	"time"
)

// What is held is released after its time, and not after the end.
func TestHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var h Held
		released := make(chan string, 3)
		h.For(time.Second, func() { released <- "first" })
		h.For(time.Minute, func() { released <- "second" })
		began := time.Now()
		if got := <-released; got != "first" || time.Since(began) != time.Second {
			t.Errorf("%s after %v", got, time.Since(began))
		}
		h.Close()
		h.For(time.Second, func() { released <- "third" })
		time.Sleep(time.Hour)
		if len(released) > 0 {
			t.Errorf("released after the end: %s", <-released)
		}
		if len(h.timers) > 0 {
			t.Errorf("%d timers are left", len(h.timers))
		}
	})
}
