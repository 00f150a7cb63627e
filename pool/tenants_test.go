package pool_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"

	"thaw/execenv"
	"thaw/function"
	"thaw/pool"
)

func forTenant(v *function.Version, tenant, event string) *pool.Request {
	r := request(v, event)
	r.TenantID = tenant
	return r
}

// An environment serves one tenant, whoever waits and whoever comes back first; a tenant's own is used again, and all
// count against the function's one concurrency.
func TestTenantsShareNoEnvironment(t *testing.T) {
	t.Parallel()
	p, s := open(t, pool.Options{})
	v := version("tenants", 1)
	v.PerTenant = true
	var mu sync.Mutex
	tenantOf := map[int]string{} // by process: each environment has one
	var all sync.WaitGroup
	for i := range 24 {
		all.Go(func() {
			tenant := fmt.Sprint("tenant-", i%3)
			res, err := p.Invoke(context.Background(), forTenant(v, tenant, `{"Ms":20}`))
			if err != nil {
				t.Error(err)
				return
			}
			var a struct{ Pid int }
			if err := json.Unmarshal(res.Payload, &a); err != nil || a.Pid == 0 {
				t.Errorf("%s: %v", res.Payload, err)
			}
			mu.Lock()
			defer mu.Unlock()
			if was := tenantOf[a.Pid]; was != "" && was != tenant {
				t.Errorf("process %d served %s and %s", a.Pid, was, tenant)
			}
			tenantOf[a.Pid] = tenant
		})
	}
	all.Wait()
	opened := s.opened.Load()
	for i := range 3 {
		res, err := p.Invoke(context.Background(), forTenant(v, fmt.Sprint("tenant-", i), `{}`))
		if err != nil {
			t.Errorf("tenant-%d, again: %v", i, err)
			continue
		}
		var a struct{ Pid int }
		if err := json.Unmarshal(res.Payload, &a); err != nil {
			t.Errorf("%s: %v", res.Payload, err)
		}
		// One that was opened for a request that another one served has served nobody yet.
		if was := tenantOf[a.Pid]; was != "" && was != fmt.Sprint("tenant-", i) {
			t.Errorf("process %d served %s and tenant-%d", a.Pid, was, i)
		}
	}
	if s.opened.Load() != opened {
		t.Error("a tenant with an idle environment got another one")
	}
	r := forTenant(v, "tenant-9", `{}`)
	r.Limits.Reserved = 0
	if _, err := p.Invoke(context.Background(), r); !errors.As(err, new(*pool.ThrottledError)) {
		t.Errorf("a tenant without concurrency: %v", err)
	}
	p.Retire(v.UnqualifiedARN(), "", 2) // all tenants' environments are of the version
	if _, err := p.Invoke(context.Background(), forTenant(v, "tenant-0", `{}`)); !errors.Is(err, pool.ErrSuperseded) {
		t.Errorf("of a version that was replaced: %v", err)
	}
}

// alone owns one environment.
type alone struct{ offered, gone chan struct{} }

func (alone) Opened(*execenv.Environment)        {}
func (a alone) Offered(*execenv.Environment)     { a.offered <- struct{}{} }
func (alone) Withdrawn(*execenv.Environment)     {}
func (a alone) Gone(*execenv.Environment, error) { close(a.gone) }

// Should whoever keeps tenants apart fail, the environment itself refuses the second one.
func TestAnEnvironmentRefusesAnotherTenant(t *testing.T) {
	t.Parallel()
	a := alone{make(chan struct{}, 8), make(chan struct{})}
	e := (&starter{}).open(version("one-tenant", 1), a, false)
	for i, tenant := range []string{"blue", "red", "", "blue"} {
		if tenant == "blue" {
			<-a.offered
		}
		o := <-e.Invoke(&function.Invocation{RequestID: string(execenv.NewID()), InvokedARN: "arn", TenantID: tenant, Event: []byte(`{}`)})
		if refused := errors.As(o.Err, new(*execenv.SandboxError)); refused != (tenant != "blue") || errors.Is(o.Err, execenv.ErrNotTaken) {
			t.Errorf("invoke %d, of %q: %s, %v", i+1, tenant, o.Payload, o.Err)
		}
		if i == 0 {
			<-a.offered
			a.offered <- struct{}{}
		}
	}
	e.Stop("the test is over")
	<-a.gone
}
