package pool

import (
	"testing"
	"time"
)

func TestWants(t *testing.T) {
	now := time.Now()
	ago := func(d ...time.Duration) (out []time.Time) {
		for _, x := range d {
			out = append(out, now.Add(-x))
		}
		return out
	}
	const window = time.Hour
	for name, c := range map[string]struct {
		use  usage
		most int
		want int
	}{
		"never invoked":                                   {usage{}, 4, 0},
		"invoked just now":                                {usage{last: now}, 4, 1},
		"invoked within the window":                       {usage{last: now.Add(-window + time.Second)}, 4, 1},
		"invoked before the window":                       {usage{last: now.Add(-window)}, 4, 0},
		"one found nothing ready":                         {usage{last: now, misses: ago(time.Second)}, 4, 2},
		"two did, one of them long ago":                   {usage{last: now, misses: ago(surge, time.Second)}, 4, 2},
		"many did, and the bound holds":                   {usage{last: now, misses: ago(5, 4, 3, 2, 1)}, 4, 4},
		"a bound of one":                                  {usage{last: now, misses: ago(time.Second, 0)}, 1, 1},
		"switched off":                                    {usage{last: now, misses: ago(0)}, 0, 0},
		"misses do not count when all of it was long ago": {usage{last: now.Add(-window), misses: ago(0)}, 4, 0},
	} {
		if got := c.use.wants(now, window, c.most); got != c.want {
			t.Errorf("%s: wants %d, not %d", name, got, c.want)
		}
	}
}

func TestMissesAreBounded(t *testing.T) {
	var u usage
	at := time.Now()
	for i := range 100 {
		u.missed(at.Add(time.Duration(i)), 3)
	}
	if len(u.misses) != 3 || !u.misses[2].Equal(at.Add(99)) {
		t.Errorf("remembered %v", u.misses)
	}
	u.missed(at, 0)
	if len(u.misses) != 0 {
		t.Errorf("with spares off %v is remembered", u.misses)
	}
}

func TestSpareFits(t *testing.T) {
	const mib = 1 << 20
	for name, c := range map[string]struct {
		available, pending, held, need int64
		want                           bool
	}{
		"memory is not known":      {-1, 0, 1 << 40, 128 * mib, true},
		"plenty":                   {8192 * mib, 0, 0, 128 * mib, true},
		"just twice the need":      {256 * mib, 0, 0, 128 * mib, true},
		"less than twice":          {255 * mib, 0, 0, 128 * mib, false},
		"what is promised counts":  {300 * mib, 128 * mib, 0, 128 * mib, false},
		"spares have half already": {512 * mib, 0, 512 * mib, 128 * mib, false},
		"and one less leaves room": {640 * mib, 0, 384 * mib, 128 * mib, true},
		"a function that is larger than half of what is left": {4096 * mib, 0, 0, 3008 * mib, false},
	} {
		if got := spareFits(c.available, c.pending, c.held, c.need); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A start ahead of demand takes no place from a real one, and gets none while a real one waits.
func TestAdmissionOfSpares(t *testing.T) {
	a := newAdmission(2, &hostCores{})
	leave, err := a.spare(t.Context())
	if err != nil {
		t.Fatal("no place on an idle machine")
	}
	if _, err := a.spare(t.Context()); err == nil {
		t.Error("all cores were given to spares")
	}
	for range 2 {
		if _, err := a.enter(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	leave()
	if _, err := a.spare(t.Context()); err == nil {
		t.Error("a spare found a place that real starts have")
	}
	a.leave()
	if _, err := a.spare(t.Context()); err != nil {
		t.Error("no spare although a place is free")
	}
	if a.spares != 1 || a.running != 1 {
		t.Errorf("%d spares and %d starts are counted", a.spares, a.running)
	}
}
