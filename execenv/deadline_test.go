package execenv

import (
	"testing"
	"time"
)

func TestADeadlineThatIsNoticedLate(t *testing.T) {
	l := newDeadline()
	defer l.Stop()
	l.Reset(time.Hour)
	if !l.reached(l.at) || !l.reached(l.at.Add(lateBy/2)) {
		t.Error("one that is noticed in time does not count")
	}
	if l.reached(l.at.Add(time.Minute)) {
		t.Error("one that is noticed a minute late counts at once")
	}
	select {
	case <-l.C:
	case <-time.After(10 * lateGrace):
		t.Fatal("the grace does not end")
	}
	if !l.reached(time.Now()) {
		t.Error("it does not count after the grace")
	}
	l.Reset(time.Hour)
	if l.reached(l.at.Add(time.Minute)) {
		t.Error("the next one has no grace of its own")
	}
}
