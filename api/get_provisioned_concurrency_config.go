package api

import (
	"net/http"

	"thaw/function"
)

// GetProvisionedConcurrencyConfig: GET /2019-09-30/functions/{FunctionName}/provisioned-concurrency?Qualifier= -> 200. Supported for published versions.
func (c *call) getProvisionedConcurrencyConfig() error {
	var v violations
	t, e, _, err := c.provisionTarget(&v, notPublished)
	if err != nil {
		return err
	}
	p, ok := e.Record.Provisioned[t.qualifier]
	serving := e.Serving(function.VersionNumber(t.qualifier))
	if !ok || serving == nil {
		return errNoProvision
	}
	return c.json(http.StatusOK, allocation(p, c.s.Pool.Provisioned(serving)))
}
