package pool

import (
	"time"

	"thaw/function"
)

const (
	// scalingRate is how many environments of one function are started for callers in scalingWindow at most.
	// Source: Lambda Developer Guide, Understanding concurrency, Concurrency scaling rate.
	scalingRate   = 1000
	scalingWindow = 10 * time.Second
	// RequestRate is how many requests a second a function takes for each unit of its concurrency. Source: Lambda
	// Developer Guide, quotas, "Invocation requests per function per Region".
	RequestRate = 10
)

// rates are what bounds how fast a function grows, and how often it is invoked. All methods are called with the pool's
// lock held.
type rates struct {
	starts   map[function.ARN]*window
	most     int // starts of one function within scalingWindow
	requests map[function.ARN]*bucket
	perUnit  int // requests a second for each unit of concurrency; 0: any number
	tidied   time.Time
}

func newRates(perUnit int) rates {
	return rates{starts: map[function.ARN]*window{}, most: scalingRate, requests: map[function.ARN]*bucket{}, perUnit: perUnit}
}

// start says whether one more environment of a function may be started for a caller, and counts it then.
func (r *rates) start(fn function.ARN, now time.Time) bool {
	r.tidy(now)
	w := r.starts[fn]
	if w == nil {
		w = &window{}
		r.starts[fn] = w
	}
	return w.take(now, r.most)
}

// request says whether a function with so much concurrency takes one more request, and counts it then.
func (r *rates) request(fn function.ARN, concurrency int, now time.Time) bool {
	if r.perUnit == 0 {
		return true
	}
	r.tidy(now)
	b := r.requests[fn]
	if b == nil {
		b = &bucket{}
		r.requests[fn] = b
	}
	return b.take(now, float64(concurrency*r.perUnit))
}

// tidy forgets functions of which nothing was heard for a while.
func (r *rates) tidy(now time.Time) {
	if now.Sub(r.tidied) < time.Minute {
		return
	}
	r.tidied = now
	for fn, w := range r.starts {
		if now.Sub(w.last) > scalingWindow {
			delete(r.starts, fn)
		}
	}
	for fn, b := range r.requests {
		if now.Sub(b.at) > time.Minute {
			delete(r.requests, fn)
		}
	}
}

// slots are how finely a window counts.
const slots = 20

// window counts what happened in the last scalingWindow. What it has counted leaves it within a slot after its time,
// never before.
type window struct {
	counts [slots + 1]int // by slot of time, in turn: those of the window, and the one that has just begun
	sum    int
	slot   int64 // the present one, from began on
	began  time.Time
	last   time.Time
}

func (w *window) take(now time.Time, most int) bool {
	if w.began.IsZero() {
		w.began = now
	}
	slot := int64(now.Sub(w.began) / (scalingWindow / slots)) // a wall clock that is set back does not move it
	if slot > w.slot {
		for i := max(w.slot+1, slot-slots); i <= slot; i++ {
			at := i % (slots + 1)
			w.sum -= w.counts[at]
			w.counts[at] = 0
		}
		w.slot = slot
	}
	if w.sum >= most {
		return false
	}
	w.counts[w.slot%(slots+1)]++
	w.sum++
	w.last = now
	return true
}

// bucket holds a second's worth of requests, and is filled evenly.
type bucket struct {
	left float64
	at   time.Time // of left; zero: it is full
}

func (b *bucket) take(now time.Time, perSecond float64) bool {
	if b.at.IsZero() {
		b.left = perSecond
	} else {
		b.left = min(perSecond, b.left+max(0, now.Sub(b.at).Seconds())*perSecond)
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}
