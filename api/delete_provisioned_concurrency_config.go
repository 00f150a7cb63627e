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
	var e *function.Entry
	err = c.s.exclusive(t.key, func() error {
		e, err = c.s.change(c.r.Context(), t.key, func(_ *function.Entry, r *function.Record) error {
			if _, ok := r.Provisioned[t.qualifier]; !ok {
				return errNoProvision
			}
			delete(r.Provisioned, t.qualifier)
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
	if serving := e.Serving(function.VersionNumber(t.qualifier)); serving != nil {
		c.s.Pool.Provision(serving, 0)
	}
	return c.empty(http.StatusNoContent)
}
