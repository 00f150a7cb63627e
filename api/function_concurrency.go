package api

import "net/http"

type reservedConcurrency struct {
	ReservedConcurrentExecutions *int `json:",omitempty"`
}

func (in *reservedConcurrency) check(v *violations) {
	v.notNull("reservedConcurrentExecutions", in.ReservedConcurrentExecutions == nil)
	v.number("reservedConcurrentExecutions", in.ReservedConcurrentExecutions, 0, 0)
}

// PutFunctionConcurrency: PUT /2017-10-31/functions/{FunctionName}/concurrency -> 200. Supported.
//
// Differs: the account's limit is one for all regions of the server.
func (c *call) putFunctionConcurrency() error {
	var in reservedConcurrency
	t, err := c.readFunction(writeNames, &in)
	if err != nil {
		return err
	}
	if err := c.s.Plane.Reserve(c.r.Context(), t.key, *in.ReservedConcurrentExecutions); err != nil {
		return absent(err, t.qualified())
	}
	return c.json(http.StatusOK, in)
}

// DeleteFunctionConcurrency: DELETE /2017-10-31/functions/{FunctionName}/concurrency -> 204. Supported.
func (c *call) deleteFunctionConcurrency() error {
	t, err := c.readFunction(readNames, nil)
	if err != nil {
		return err
	}
	if err := c.s.Plane.Unreserve(c.r.Context(), t.key); err != nil {
		return absent(err, t.arn())
	}
	return c.empty(http.StatusNoContent)
}

// GetFunctionConcurrency: GET /2019-09-30/functions/{FunctionName}/concurrency -> 200. Supported.
func (c *call) getFunctionConcurrency() error {
	t, err := c.readFunction(readNames, nil)
	if err != nil {
		return err
	}
	e, err := c.entry(t)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, reservedConcurrency{e.Record.Reserved})
}
