package api

import (
	"net/http"

	"thaw/function"
)

type recursionConfig struct{ RecursiveLoop *string }

func (in *recursionConfig) check(v *violations) {
	v.notNull("recursiveLoop", in.RecursiveLoop == nil)
	v.oneOf("recursiveLoop", in.RecursiveLoop, "Terminate", "Allow")
}

// GetFunctionRecursionConfig: GET /2024-08-31/functions/{FunctionName}/recursion-config -> 200. Supported.
func (c *call) getFunctionRecursionConfig() error {
	t, err := c.readFunction(readNames, nil)
	if err != nil {
		return err
	}
	e, err := c.entry(t)
	if err != nil {
		return err
	}
	loop := function.DefaultRecursiveLoop
	if e.Record.RecursiveLoop != "" {
		loop = e.Record.RecursiveLoop
	}
	return c.json(http.StatusOK, recursionConfig{&loop})
}

// PutFunctionRecursionConfig: PUT /2024-08-31/functions/{FunctionName}/recursion-config -> 200. Supported: invoke has
// the guard.
func (c *call) putFunctionRecursionConfig() error {
	var in recursionConfig
	t, err := c.readFunction(writeNames, &in)
	if err != nil {
		return err
	}
	_, err = c.s.Plane.Change(c.r.Context(), t.key, func(_ *function.Entry, r *function.Record) error {
		r.RecursiveLoop = *in.RecursiveLoop
		return nil
	})
	if err != nil {
		return absent(err, t.arn())
	}
	return c.json(http.StatusOK, in)
}
