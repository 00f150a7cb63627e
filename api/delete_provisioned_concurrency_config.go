package api

import (
	"errors"
	"net/http"

	"thaw/function"
)

// DeleteProvisionedConcurrencyConfig: DELETE /2019-09-30/functions/{FunctionName}/provisioned-concurrency?Qualifier= -> 204. Supported for published
// versions: the environments become ordinary ones, and go when they are idle for long enough.
func (c *call) deleteProvisionedConcurrencyConfig() error {
	var v violations
	t, _, _, err := c.provisionTarget(&v, notPublished)
	if err != nil {
		return err
	}
	number := function.Number(t.qualifier)
	var e *function.Entry
	err = c.s.exclusive(t.key, func() error {
		e, err = c.s.change(c.r.Context(), t.key, func(_ *function.Entry, r *function.Record) error {
			if _, ok := r.Provisioned[number]; !ok {
				return errNoProvision
			}
			delete(r.Provisioned, number)
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
	if serving := e.Serving(t.qualifier); serving != nil {
		c.s.Pool.Provision(serving, 0)
	}
	return c.empty(http.StatusNoContent)
}
