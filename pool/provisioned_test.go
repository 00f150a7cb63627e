package pool_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"thaw/execenv"
	"thaw/function"
	"thaw/pool"
)

// provider makes provisioned environments, real ones.
type provider struct {
	starter
	mu   sync.Mutex
	at   []time.Time
	fail error
	vars map[string]string
}

func (s *provider) Provision(_ context.Context, v *function.Version, owner execenv.Owner) (*execenv.Environment, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Now())
	if s.fail != nil {
		return nil, s.fail
	}
	c := *v
	c.Vars = s.vars
	return s.open(&c, owner, true), nil
}

func (s *provider) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func numbered(name string) *function.Version {
	v := version(name, 1)
	v.Number = "1"
	return v
}

func TestProvisionedConcurrencyIsThereBeforeAnyInvoke(t *testing.T) {
	s := &provider{}
	p, _ := open(t, pool.Options{Starter: s, Provider: s, IdleExpiry: 100 * time.Millisecond})
	v := numbered("provisioned")
	p.Provision(v, 2)
	until(t, "two are there", func() bool {
		return p.Provisioned(v) == pool.Allocation{Requested: 2, Allocated: 2} && p.Counts().Idle == 2
	})
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() { invoke(t, p, v, fmt.Sprintf(`{"ID":%d,"Ms":1500}`, i)) })
	}
	wg.Wait()
	if c := p.Counts(); c.Warm != 2 || c.Cold != 1 {
		t.Errorf("two provisioned and three invokes at once: %+v", c)
	}
	until(t, "only the ordinary one goes for its idle time", func() bool { return p.Counts().Environments == 2 })
	for _, e := range p.Environments() {
		if !e.Provisioned {
			t.Errorf("what is left is not provisioned: %+v", e)
		}
	}
	p.Provision(v, 1)
	until(t, "one goes", func() bool { return p.Counts().Environments == 1 && p.Provisioned(v).Allocated == 1 })
	p.Provision(v, 0)
	until(t, "the other goes", func() bool { return p.Counts().Environments == 0 })
	if a := p.Provisioned(v); a != (pool.Allocation{}) {
		t.Errorf("%+v", a)
	}
}

func TestProvisionedEnvironmentsAreReplaced(t *testing.T) {
	s := &provider{}
	p, _ := open(t, pool.Options{Starter: s, Provider: s})
	v := numbered("replaced")
	p.Provision(v, 1)
	until(t, "one is there", func() bool { return p.Counts().Idle == 1 })
	first := p.Environments()[0].ID
	res, err := p.Invoke(context.Background(), request(v, `{"Exit":3}`))
	if err != nil || res.FunctionError == "" {
		t.Fatalf("%+v, %v", res, err)
	}
	until(t, "another took its place", func() bool {
		for _, e := range p.Environments() {
			if e.ID == first {
				return false
			}
		}
		return p.Provisioned(v).Allocated == 1 && p.Counts().Idle == 1
	})
	if got := invoke(t, p, v, `{}`); !strings.Contains(got, `"N":1`) || p.Counts().Cold != 0 {
		t.Errorf("%s, %+v", got, p.Counts())
	}
}

func TestProvisionedEnvironmentsAreRenewedOneByOne(t *testing.T) {
	s := &provider{}
	p, _ := open(t, pool.Options{Starter: s, Provider: s, IdleExpiry: 400 * time.Millisecond, Spares: pool.Spares{Life: 2 * time.Second}})
	v := numbered("renewed")
	p.Provision(v, 2)
	until(t, "two are there", func() bool { return p.Provisioned(v).Allocated == 2 })
	first := map[string]bool{}
	for _, e := range p.Environments() {
		first[e.ID] = true
	}
	until(t, "both are others", func() bool {
		if p.Counts().Idle == 0 {
			t.Fatal("both went at once")
		}
		n := 0
		for _, e := range p.Environments() {
			if !first[e.ID] && e.Provisioned && (e.State == "Parked" || e.State == "Frozen") {
				n++
			}
		}
		return n == 2
	})
}

// E-018: an Init that fails is a failed allocation; it is tried again, ever later, and the reason goes when it succeeds.
func TestFailedAllocation(t *testing.T) {
	s := &provider{vars: map[string]string{"FAIL": "1"}}
	p, _ := open(t, pool.Options{Starter: s, Provider: s})
	v := numbered("unprovisioned")
	p.Provision(v, 1)
	until(t, "the allocation has failed", func() bool { return p.Provisioned(v) == pool.Allocation{Requested: 1, Failure: pool.InitFailure} })
	s.set(func() { s.fail = errors.New("no sandbox") })
	until(t, "it has failed for another reason", func() bool { return p.Provisioned(v).Failure == "no sandbox" })
	s.set(func() { s.fail, s.vars = nil, nil })
	until(t, "it is allocated", func() bool { return p.Provisioned(v) == pool.Allocation{Requested: 1, Allocated: 1} })
	if gap := s.at[1].Sub(s.at[0]); gap < time.Second {
		t.Errorf("tried again after %v", gap)
	}
	p.Retire(v.UnqualifiedARN(), "1", 2)
	until(t, "nothing is left of a version that was deleted", func() bool { return p.Counts().Environments == 0 })
}

func TestProvisionedIsNobodysVictim(t *testing.T) {
	var p *pool.Pool
	s := &provider{}
	p, _ = open(t, pool.Options{Starter: s, Provider: s, MaxEnvironments: 2})
	v := numbered("kept")
	p.Provision(v, 1)
	until(t, "one is there", func() bool { return p.Counts().Idle == 1 })
	for i := range 3 {
		invoke(t, p, version(fmt.Sprintf("passing-%d", i), 1), `{}`)
	}
	if a := p.Provisioned(v); a.Allocated != 1 {
		t.Errorf("%+v", a)
	}
}

// Provisioned concurrency belongs to its version: others cannot use it, and it counts against no one else's limit.
func TestLimitsWithProvisionedConcurrency(t *testing.T) {
	s := &provider{}
	p, _ := open(t, pool.Options{Starter: s, Provider: s})
	v, latest := numbered("overlap"), version("overlap", 1)
	p.Provision(v, 1)
	until(t, "one is there", func() bool { return p.Counts().Idle == 1 })
	limits := pool.Limits{Reserved: 1, Unreserved: 0, ProvisionedAll: 1}
	r := request(latest, `{}`)
	r.Limits = limits
	_, err := p.Invoke(context.Background(), r)
	var throttled *pool.ThrottledError
	if !errors.As(err, &throttled) || throttled.Reason != pool.ReservedConcurrency {
		t.Errorf("$LATEST, when all that is reserved is provisioned: %v", err)
	}
	limits.Provisioned = 1
	own := func(event string) error {
		r := request(v, event)
		r.Limits = limits
		_, err := p.Invoke(context.Background(), r)
		return err
	}
	done := make(chan error, 1)
	go func() { done <- own(`{"Ms":1500}`) }()
	until(t, "it runs", func() bool { return p.Counts().InFlight == 1 })
	if err := own(`{}`); !errors.As(err, &throttled) {
		t.Errorf("the version itself, past its share: %v", err)
	}
	if err := <-done; err != nil {
		t.Errorf("the version itself: %v", err)
	}
	if err := own(`{}`); err != nil {
		t.Errorf("and once more: %v", err)
	}
}
