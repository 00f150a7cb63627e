package api

import (
	"errors"
	"net/http"

	"thaw/function"
)

// PutProvisionedConcurrencyConfig: PUT /2019-09-30/functions/{FunctionName}/provisioned-concurrency?Qualifier= -> 202. Supported for published versions.
//
// Differs: with SnapStart, unless the server is strict.
func (c *call) putProvisionedConcurrencyConfig() error {
	var in struct{ ProvisionedConcurrentExecutions *int }
	if err := c.decode(&in); err != nil {
		return err
	}
	var v violations
	v.notNull("provisionedConcurrentExecutions", in.ProvisionedConcurrentExecutions == nil)
	v.number("provisionedConcurrentExecutions", in.ProvisionedConcurrentExecutions, 1, 0)
	t, _, version, err := c.provisionTarget(&v, unpublished)
	if err != nil {
		return err
	}
	if c.s.Strict && version.Config.SnapStart {
		return invalidParameter("Provisioned Concurrency is not supported for SnapStart enabled functions.")
	}
	number, p := t.qualifier.Number(), function.Provision{Requested: *in.ProvisionedConcurrentExecutions, Modified: c.s.Now()}
	c.s.reserveMu.Lock() // as reservations: they share a sum
	defer c.s.reserveMu.Unlock()
	var e *function.Entry
	err = c.s.exclusive(t.key, func() error {
		e, err = c.s.change(c.r.Context(), t.key, func(now *function.Entry, r *function.Record) error {
			version := now.Version(number)
			if version == nil {
				return function.ErrNotFound
			}
			switch version.Life {
			case function.Live:
			case function.Failed:
				return fail("ResourceConflictException", "The operation cannot be performed at this time. The function is currently in the following state: Failed")
			default:
				return fail("ResourceConflictException", "The operation cannot be performed at this time. The function is currently in the following state: Pending")
			}
			others := r.ProvisionedTotal() - r.Provisioned[t.qualifier].Requested
			if err := c.s.provisionFits(r, others, p.Requested); err != nil {
				return err
			}
			if r.Provisioned == nil {
				r.Provisioned = map[function.Qualifier]function.Provision{}
			}
			r.Provisioned[t.qualifier] = p
			return nil
		})
		return err
	})
	if errors.Is(err, function.ErrNotFound) {
		return notFound(t.qualified())
	}
	if err != nil {
		return err
	}
	serving := e.Serving(function.VersionNumber(t.qualifier))
	if serving == nil {
		return notFound(t.qualified()) // deleted meanwhile
	}
	out := allocation(p, c.s.Pool.Provisioned(serving))
	out.Status, out.StatusReason = "IN_PROGRESS", ""
	c.s.Pool.Provision(serving, p.Requested)
	return c.json(http.StatusAccepted, out)
}

// provisionFits refuses what the function's reservation, or the account, does not give. others is what other versions of the function have.
func (s *Server) provisionFits(r *function.Record, others, n int) error {
	if r.Reserved != nil {
		if others+n > *r.Reserved {
			return invalidParameter("Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function")
		}
		return nil
	}
	free := s.Concurrency - s.view.Reserved() - (s.view.Provisioned() - r.ProvisionedTotal()) - others
	switch {
	case n > free:
		return invalidParameter("Specified ConcurrentExecutions for function is greater than account's unreserved concurrency [%d].", free)
	case free-n < function.MinUnreserved:
		return invalidParameter("Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [%d].", function.MinUnreserved)
	}
	return nil
}
