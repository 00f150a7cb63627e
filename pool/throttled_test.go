package pool_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"thaw/pool"
)

// hands is a clock that moves when the test says so.
type hands struct {
	mu sync.Mutex
	at time.Time
}

func (h *hands) now() time.Time { h.mu.Lock(); defer h.mu.Unlock(); return h.at }

func (h *hands) move(d time.Duration) { h.mu.Lock(); defer h.mu.Unlock(); h.at = h.at.Add(d) }

// A function gets no more than 1,000 new environments in ten seconds. What comes then is refused at once with the
// account's reason; other functions are not concerned, and ten seconds later it goes on.
func TestAFunctionGrowsNoFasterThanAllowed(t *testing.T) {
	t.Parallel()
	clock := &hands{at: time.Now()}
	p, _ := open(t, pool.Options{Now: clock.now, Starter: &starter{fail: errors.New("this host makes none")}})
	invoke := func(name string) error {
		_, err := p.Invoke(context.Background(), request(version(name, 1), `{}`))
		return err
	}
	var throttled *pool.ThrottledError
	for i := range 1000 {
		if err := invoke("grows"); !errors.As(err, new(*pool.UnavailableError)) {
			t.Fatalf("start %d: %v", i+1, err)
		}
	}
	for range 3 {
		if err := invoke("grows"); !errors.As(err, &throttled) || throttled.Reason != pool.AccountConcurrency {
			t.Fatalf("beyond the rate: %v", err)
		}
	}
	if err := invoke("another"); errors.As(err, &throttled) {
		t.Errorf("another function: %v", err)
	}
	clock.move(11 * time.Second)
	if err := invoke("grows"); errors.As(err, &throttled) {
		t.Errorf("later: %v", err)
	}
	if c := p.Counts(); c.Throttled != 3 || c.InFlight != 0 || c.Waiting != 0 {
		t.Errorf("%+v", c)
	}
}

// Where requests have a rate, each reason says whose: the reservation's, or the account's. A request that concurrency
// refuses does not count against it, and neither does provisioned concurrency.
func TestRequestsHaveARate(t *testing.T) {
	t.Parallel()
	clock := &hands{at: time.Now()}
	p, _ := open(t, pool.Options{Now: clock.now, RequestRate: pool.RequestRate})
	v := version("rated", 1)
	try := func(l pool.Limits) pool.Reason {
		r := request(v, `{}`)
		r.Limits = l
		_, err := p.Invoke(context.Background(), r)
		if throttled := (*pool.ThrottledError)(nil); errors.As(err, &throttled) {
			return throttled.Reason
		}
		if err != nil {
			t.Fatal(err)
		}
		return ""
	}
	reserved := pool.Limits{Reserved: 1, Unreserved: 100}
	for range 3 {
		if got := try(pool.Limits{Reserved: 0, Unreserved: 100}); got != pool.ReservedConcurrency {
			t.Errorf("without any concurrency: %q", got)
		}
	}
	for i := range 10 {
		if got := try(reserved); got != "" {
			t.Fatalf("request %d: %q", i+1, got)
		}
	}
	if got := try(reserved); got != "ReservedFunctionInvocationRateLimitExceeded" {
		t.Errorf("beyond the rate: %q", got)
	}
	if got := try(pool.Limits{Reserved: 1, Unreserved: 100, Provisioned: 1, ProvisionedAll: 1}); got != "" {
		t.Errorf("on provisioned concurrency: %q", got)
	}
	if got := try(pool.Limits{Reserved: -1, Unreserved: 0}); got != pool.AccountConcurrency {
		t.Errorf("without any left: %q", got)
	}
	clock.move(100 * time.Millisecond)
	if got, again := try(reserved), try(pool.Limits{Reserved: -1, Unreserved: 1}); got != "" || again != "FunctionInvocationRateLimitExceeded" {
		t.Errorf("a tenth of a second later: %q, then %q", got, again)
	}
}
