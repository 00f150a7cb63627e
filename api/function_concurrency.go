package api

import (
	"errors"
	"net/http"

	"thaw/function"
)

type reservedConcurrency struct {
	ReservedConcurrentExecutions *int `json:",omitempty"`
}

// PutFunctionConcurrency: PUT /2017-10-31/functions/{FunctionName}/concurrency -> 200. Supported.
//
// Differs: the account's limit is one for all regions of the server.
func (c *call) putFunctionConcurrency() error {
	var in reservedConcurrency
	if err := c.decode(&in); err != nil {
		return err
	}
	var v violations
	ref, _ := c.checkTarget(&v, writeNames, c.label)
	v.notNull("reservedConcurrentExecutions", in.ReservedConcurrentExecutions == nil)
	v.number("reservedConcurrentExecutions", in.ReservedConcurrentExecutions, 0, 0)
	if err := v.err(); err != nil {
		return err
	}
	t, err := c.resolveFunction(ref)
	if err != nil {
		return err
	}
	n := *in.ReservedConcurrentExecutions
	c.s.reserveMu.Lock() // one reservation at a time: they share a sum
	defer c.s.reserveMu.Unlock()
	err = c.reserve(t, func(r *function.Record) error {
		others := c.s.view.Reserved()
		if r.Reserved != nil {
			others -= *r.Reserved
		}
		if total := r.ProvisionedTotal(); n < total {
			return invalidParameter(" ReservedConcurrentExecutions  %d should not be lower than function's total provisioned concurrency [%d].", n, total) // the spaces are the service's
		}
		provisioned := c.s.view.Provisioned()
		if r.Reserved == nil {
			provisioned -= r.ProvisionedTotal()
		}
		if c.s.Concurrency-others-provisioned-n < function.MinUnreserved {
			return invalidParameter("Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its minimum value of [%d].", function.MinUnreserved)
		}
		r.Reserved = &n
		return nil
	})
	if errors.Is(err, function.ErrNotFound) {
		return notFound(t.qualified())
	}
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, in)
}

// DeleteFunctionConcurrency: DELETE /2017-10-31/functions/{FunctionName}/concurrency -> 204. Supported.
func (c *call) deleteFunctionConcurrency() error {
	t, err := c.functionTarget()
	if err != nil {
		return err
	}
	err = c.reserve(t, func(r *function.Record) error {
		r.Reserved = nil
		return nil
	})
	if errors.Is(err, function.ErrNotFound) {
		return notFound(t.arn())
	}
	if err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// GetFunctionConcurrency: GET /2019-09-30/functions/{FunctionName}/concurrency -> 200. Supported.
func (c *call) getFunctionConcurrency() error {
	t, err := c.functionTarget()
	if err != nil {
		return err
	}
	e := c.s.view.Get(t.key)
	if e == nil {
		return notFound(t.arn())
	}
	return c.json(http.StatusOK, reservedConcurrency{e.Record.Reserved})
}

// reserve changes a reservation. It leaves RevisionId alone: the reservation is no part of the configuration.
func (c *call) reserve(t target, f func(*function.Record) error) error {
	return c.s.exclusive(t.key, func() error {
		_, err := c.s.change(c.r.Context(), t.key, func(_ *function.Entry, r *function.Record) error { return f(r) })
		return err
	})
}

// functionTarget is target for operations that take no version.
func (c *call) functionTarget() (target, error) {
	var v violations
	ref, _ := c.checkTarget(&v, readNames, c.label)
	if err := v.err(); err != nil {
		return target{}, err
	}
	return c.resolveFunction(ref)
}
