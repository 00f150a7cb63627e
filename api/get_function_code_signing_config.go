package api

import "net/http"

// GetFunctionCodeSigningConfig: GET /2020-06-30/functions/{FunctionName}/code-signing-config -> 200.
//
// Supported: the answer of a function without one, which is {} as recorded. Terraform asks for every zip function. No function has one here.
func (c *call) getFunctionCodeSigningConfig() error {
	t, err := c.functionTarget()
	if err != nil {
		return err
	}
	if c.s.view.Get(t.key) == nil {
		return notFound(t.arn())
	}
	return c.json(http.StatusOK, struct{}{})
}
