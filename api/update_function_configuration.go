package api

import (
	"net/http"

	"thaw/controlplane"
)

type updateFunctionConfigurationInput struct {
	configInput
	RevisionId string
}

// UpdateFunctionConfiguration: PUT /2015-03-31/functions/{FunctionName}/configuration -> 200.
//
// Supported: a member that was sent replaces what was there, LoggingConfig member by member; RevisionId. Otherwise as CreateFunction.
func (c *call) updateFunctionConfiguration() error {
	var in updateFunctionConfigurationInput
	t, err := c.readFunction(writeNames, &in)
	if err != nil {
		return err
	}
	if _, err := c.entry(t); err != nil {
		return err
	}
	if err := in.unsupported(); err != nil {
		return err
	}
	e, shown, err := c.s.Plane.UpdateSettings(c.r.Context(), t.key, controlplane.Update{RevisionID: in.RevisionId}, in.settings())
	if err != nil {
		return absent(err, t.arn())
	}
	return c.json(http.StatusOK, described(e.Record, shown, e.Record.ARN()))
}
