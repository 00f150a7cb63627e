package pool_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"thaw/execenv"
	"thaw/pool"
)

// clock is one that a test can move.
type clock struct{ by atomic.Int64 }

func (c *clock) now() time.Time       { return time.Now().Add(time.Duration(c.by.Load())) }
func (c *clock) move(d time.Duration) { c.by.Add(int64(d)) }

// The very environment answers after an hour without an invoke; when its credentials are half used up another takes its place.
func TestAProvisionedEnvironmentAfterAnHour(t *testing.T) {
	s, c := &provider{}, &clock{}
	p, _ := open(t, pool.Options{Starter: s, Provider: s, Now: c.now})
	v := numbered("hourly")
	p.Provision(v, 1)
	until(t, "one is there", func() bool { return p.Counts().Idle == 1 })
	first := p.Environments()[0].ID
	for n := 1; n <= 2; n++ {
		c.move(time.Hour)
		time.Sleep(1500 * time.Millisecond) // who lets go has looked
		if got := invoke(t, p, v, `{}`); !strings.Contains(got, fmt.Sprintf(`"N":%d`, n)) {
			t.Errorf("after %d hours: %s", n, got)
		}
		until(t, "it is idle", func() bool { return p.Counts().Idle == 1 })
	}
	if cold := p.Counts().Cold; cold != 0 || p.Environments()[0].ID != first {
		t.Errorf("%d cold starts, and there is %+v", cold, p.Environments())
	}
	c.move(time.Hour + time.Minute)
	until(t, "another took its place", func() bool {
		e := p.Environments()
		return len(e) == 1 && e[0].ID != first && p.Provisioned(v).Allocated == 1 && p.Counts().Idle == 1
	})
	if got := invoke(t, p, v, `{}`); !strings.Contains(got, `"N":1`) {
		t.Errorf("after three hours: %s", got)
	}
}

// A spare whose credentials end is given to nobody, also when nobody has let it go yet: the server was stopped, or the
// host slept.
func TestASparePastItsCredentialsServesNobody(t *testing.T) {
	a, c := &ahead{}, &clock{}
	p, _ := open(t, withSpares(a, pool.Options{Now: c.now, IdleExpiry: 100 * time.Hour, Spares: pool.Spares{Window: 100 * time.Hour}}))
	v := snapStarted("late", 1)
	var wg sync.WaitGroup
	wg.Go(func() { invoke(t, p, v, `{"Ms":2000}`) })
	until(t, "a spare is ready", func() bool { return p.Counts().Spares == 1 })
	wg.Wait()
	old := ""
	for _, e := range p.Environments() {
		if e.Spare {
			old = e.ID
		}
	}
	c.move(execenv.CredentialsLife - v.Timeout)
	for range 2 {
		wg.Go(func() { invoke(t, p, v, `{"Ms":1000}`) })
	}
	wg.Wait()
	if n := p.Counts().SpareClaims; n != 0 {
		t.Errorf("%d spares were claimed: %+v", n, p.Environments())
	}
	until(t, "the spare has gone", func() bool {
		for _, e := range p.Environments() {
			if e.ID == old {
				return false
			}
		}
		return true
	})
}

// An environment that ran Init has its credentials in variables, for six hours: busy or idle, no invoke begins in it that
// could see them end. The next one gets a new environment.
func TestAnEnvironmentPastItsCredentialsServesNobody(t *testing.T) {
	s, c := &provider{}, &clock{}
	p, _ := open(t, pool.Options{Starter: s, Now: c.now, IdleExpiry: 100 * time.Hour})
	v := numbered("long")
	for n := 1; n <= 2; n++ {
		if got := invoke(t, p, v, `{}`); !strings.Contains(got, fmt.Sprintf(`"N":%d`, n)) {
			t.Fatal(got)
		}
		until(t, "it is idle", func() bool { return p.Counts().Idle == 1 })
	}
	c.move(execenv.CredentialsLife - v.Timeout)
	if got := invoke(t, p, v, `{}`); !strings.Contains(got, `"N":1`) {
		t.Errorf("after the credentials' life: %s", got)
	}
	until(t, "the old one has gone", func() bool { return len(p.Environments()) == 1 })
}
