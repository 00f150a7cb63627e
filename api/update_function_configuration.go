package api

import (
	"net/http"

	"thaw/function"
)

// UpdateFunctionConfiguration: PUT /2015-03-31/functions/{FunctionName}/configuration -> 200.
//
// Supported: a member that was sent replaces what was there, LoggingConfig member by member; RevisionId. Otherwise as CreateFunction.
func (c *call) updateFunctionConfiguration() error {
	var in struct {
		configInput
		RevisionId *string
	}
	if err := c.decode(&in); err != nil {
		return err
	}
	var v violations
	ref, _ := c.checkTarget(&v, writeNames, c.label)
	in.configInput.check(&v)
	if err := v.err(); err != nil {
		return err
	}
	t, err := c.resolveFunction(ref)
	if err != nil {
		return err
	}
	e, _, err := c.s.update(c.r.Context(), t, in.RevisionId, false, func(config *function.Config) error { return c.s.apply(&in.configInput, config) })
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, described(e.Record, &e.Record.Latest, e.Record.ARN()))
}
