package api

import (
	"net/http"

	"thaw/function"
)

type functionSigning struct {
	CodeSigningConfigArn *string `json:",omitempty"`
	FunctionName         string  `json:",omitempty"`
}

func (in *functionSigning) check(v *violations) {
	v.notNull("codeSigningConfigArn", in.CodeSigningConfigArn == nil)
	v.text("codeSigningConfigArn", in.CodeSigningConfigArn, 0, 200, signingRE, signingPattern)
}

// GetFunctionCodeSigningConfig: GET /2020-06-30/functions/{FunctionName}/code-signing-config -> 200. Supported: {} for
// a function without one, as recorded. Terraform asks for every zip function.
func (c *call) getFunctionCodeSigningConfig() error {
	t, err := c.readFunction(readNames, nil)
	if err != nil {
		return err
	}
	e, err := c.entry(t)
	if err != nil {
		return err
	}
	if arn := e.Record.CodeSigningARN; arn != "" {
		return c.json(http.StatusOK, functionSigning{&arn, e.Record.Name})
	}
	return c.json(http.StatusOK, functionSigning{})
}

// PutFunctionCodeSigningConfig: PUT /2020-06-30/functions/{FunctionName}/code-signing-config -> 200.
//
// Differs: it is kept, and no code is verified.
func (c *call) putFunctionCodeSigningConfig() error {
	var in functionSigning
	t, err := c.readFunction(readNames, &in)
	if err != nil {
		return err
	}
	if c.s.Signing.Get(*in.CodeSigningConfigArn) == nil {
		return noSigningConfig(*in.CodeSigningConfigArn)
	}
	if err := c.bindSigning(t, *in.CodeSigningConfigArn); err != nil {
		return err
	}
	return c.json(http.StatusOK, functionSigning{in.CodeSigningConfigArn, t.key.Name})
}

// DeleteFunctionCodeSigningConfig: DELETE /2020-06-30/functions/{FunctionName}/code-signing-config -> 204. Supported:
// that there is none is no error.
func (c *call) deleteFunctionCodeSigningConfig() error {
	t, err := c.readFunction(readNames, nil)
	if err != nil {
		return err
	}
	if err := c.bindSigning(t, ""); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) bindSigning(t target, arn string) error {
	_, err := c.s.Plane.Change(c.r.Context(), t.key, func(_ *function.Entry, r *function.Record) error {
		r.CodeSigningARN = arn
		return nil
	})
	return absent(err, t.arn())
}
