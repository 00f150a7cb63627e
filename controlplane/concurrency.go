package controlplane

import (
	"context"
	"errors"

	"thaw/function"
	"thaw/pool"
)

// Reserve gives a function a part of the account's concurrency of its own. It leaves RevisionId alone: the reservation is
// no part of the configuration.
func (p *Plane) Reserve(ctx context.Context, k function.Key, n int) error {
	p.reserveMu.Lock() // one reservation at a time: they share a sum
	defer p.reserveMu.Unlock()
	_, err := p.Change(ctx, k, func(_ *function.Entry, r *function.Record) error {
		others := p.view.Reserved()
		if r.Reserved != nil {
			others -= *r.Reserved
		}
		if total := r.ProvisionedTotal(); n < total {
			return invalid(" ReservedConcurrentExecutions  %d should not be lower than function's total provisioned concurrency [%d].", n, total) // the spaces are the service's
		}
		provisioned := p.view.Provisioned()
		if r.Reserved == nil {
			provisioned -= r.ProvisionedTotal()
		}
		if p.Concurrency-others-provisioned-n < function.MinUnreserved {
			return invalid("Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [%d].", function.MinUnreserved)
		}
		r.Reserved = &n
		return nil
	})
	return err
}

// Unreserve takes it back.
func (p *Plane) Unreserve(ctx context.Context, k function.Key) error {
	_, err := p.Change(ctx, k, func(_ *function.Entry, r *function.Record) error {
		r.Reserved = nil
		return nil
	})
	return err
}

// Provision keeps n environments of what a qualifier names initialised. It returns the record of that, and how far it was
// before: the pool begins when it is asked to.
func (p *Plane) Provision(ctx context.Context, k function.Key, q function.Qualifier, n int) (asked function.Provision, before pool.Allocation, err error) {
	asked = function.Provision{Requested: n, Modified: p.Now()}
	p.reserveMu.Lock() // as reservations: they share a sum
	defer p.reserveMu.Unlock()
	e, err := p.Change(ctx, k, func(now *function.Entry, r *function.Record) error {
		version := now.Named(q)
		if version == nil {
			return function.ErrNotFound
		}
		if version.Number == function.Latest { // by way of an alias
			return invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
		}
		if err := checkOneProvision(r, q); err != nil {
			return err
		}
		if version.Config.TenantIsolation != "" {
			return NotForTenants("Provisioned Concurrency")
		}
		if p.Strict && version.Config.SnapStart {
			return invalid("Provisioned Concurrency is not supported for SnapStart enabled functions.")
		}
		if err := provisionable(version); err != nil {
			return err
		}
		if err := p.provisionFits(r, r.ProvisionedTotal()-r.Provisioned[q].Requested, n); err != nil {
			return err
		}
		if r.Provisioned == nil {
			r.Provisioned = map[function.Qualifier]function.Provision{}
		}
		r.Provisioned[q] = asked
		return nil
	})
	if err == nil {
		before = p.Allocation(e, q)
		p.provision(nil, e)
	}
	return asked, before, err
}

// checkOneProvision refuses to keep environments for a version by two names. C-108.
func checkOneProvision(r *function.Record, q function.Qualifier) error {
	if _, ok := r.Aliases[q]; ok {
		for n := range r.Shares(q, 0) {
			if _, taken := r.Provisioned[function.Qualifier(n)]; taken {
				return refuse(Conflict, "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version")
			}
		}
		return nil
	}
	for name := range r.Provisioned {
		if a, ok := r.Aliases[name]; ok && a.Uses(function.VersionNumber(q)) {
			return refuse(Conflict, "Version is pointed by a Provisioned Concurrency alias")
		}
	}
	return nil
}

// provisionable refuses versions that do not serve.
func provisionable(v *function.VersionRecord) error {
	state := "Pending"
	switch v.Life {
	case function.Live:
		return nil
	case function.Failed:
		state = "Failed"
	}
	return refuse(Conflict, "The operation cannot be performed at this time. The function is currently in the following state: %s", state)
}

// ErrNoProvision says that a version or alias has no provisioned concurrency.
var ErrNoProvision = refuse(NoProvision, "No Provisioned Concurrency Config found for this function")

// Unprovision makes provisioned environments ordinary ones: they go when they are idle for long enough. That there are
// none is no error.
func (p *Plane) Unprovision(ctx context.Context, k function.Key, q function.Qualifier) error {
	var was *function.Entry
	e, err := p.Change(ctx, k, func(now *function.Entry, r *function.Record) error {
		was = now
		if _, ok := r.Provisioned[q]; !ok {
			return errNothing
		}
		delete(r.Provisioned, q)
		return nil
	})
	if errors.Is(err, errNothing) {
		return nil
	}
	if err == nil {
		p.provision(was, e)
	}
	return err
}

// provisionFits refuses what the function's reservation, or the account, does not give. others is what other versions
// of the function have.
func (p *Plane) provisionFits(r *function.Record, others, n int) error {
	if r.Reserved != nil {
		if others+n > *r.Reserved {
			return invalid("Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function")
		}
		return nil
	}
	free := p.Concurrency - p.view.Reserved() - (p.view.Provisioned() - r.ProvisionedTotal()) - others
	switch {
	case n > free:
		return invalid("Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [%d].", free)
	case free-n < function.MinUnreserved:
		return invalid("Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [%d].", function.MinUnreserved)
	}
	return nil
}

// provision tells the pool what the versions of a function want, as far as that is not what they wanted before; was may be nil.
func (p *Plane) provision(was, e *function.Entry) {
	for _, r := range e.Versions() {
		before := 0
		if was != nil && was.Serving(r.Number) != nil {
			before = was.ProvisionedOf(r.Number)
		}
		if v, n := e.Serving(r.Number), e.ProvisionedOf(r.Number); v != nil && n != before {
			p.Pool.Provision(v, n)
		}
	}
}

// Allocation says how far the provisioned concurrency of a qualifier is, over the versions that it names.
func (p *Plane) Allocation(e *function.Entry, q function.Qualifier) (all pool.Allocation) {
	for number := range e.Record.Shares(q, 0) {
		v := e.Serving(number)
		if v == nil {
			continue
		}
		a := p.Pool.Provisioned(v)
		all.Requested += a.Requested
		all.Allocated += a.Allocated
		if a.Failure != "" {
			all.Failure = a.Failure
		}
	}
	return all
}
