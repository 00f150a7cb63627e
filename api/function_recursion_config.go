package api

import (
	"errors"
	"net/http"

	"thaw/function"
)

type recursionConfig struct{ RecursiveLoop *string }

// GetFunctionRecursionConfig: GET /2024-08-31/functions/{FunctionName}/recursion-config -> 200. Supported.
func (c *call) getFunctionRecursionConfig() error {
	t, err := c.functionTarget()
	if err != nil {
		return err
	}
	e := c.s.view.Get(t.key)
	if e == nil {
		return notFound(t.arn())
	}
	loop := function.DefaultRecursiveLoop
	if e.Record.RecursiveLoop != "" {
		loop = e.Record.RecursiveLoop
	}
	return c.json(http.StatusOK, recursionConfig{&loop})
}

// PutFunctionRecursionConfig: PUT /2024-08-31/functions/{FunctionName}/recursion-config -> 200.
//
// Differs: it is kept and has no effect, loops are not detected.
func (c *call) putFunctionRecursionConfig() error {
	var in recursionConfig
	if err := c.decode(&in); err != nil {
		return err
	}
	var v violations
	ref, _ := c.checkTarget(&v, writeNames, c.label)
	v.notNull("recursiveLoop", in.RecursiveLoop == nil)
	v.oneOf("recursiveLoop", in.RecursiveLoop, "Terminate", "Allow")
	if err := v.err(); err != nil {
		return err
	}
	t, err := c.resolveFunction(ref)
	if err != nil {
		return err
	}
	err = c.s.exclusive(t.key, func() error {
		_, err := c.s.change(c.r.Context(), t.key, func(_ *function.Entry, r *function.Record) error {
			r.RecursiveLoop = *in.RecursiveLoop
			return nil
		})
		return err
	})
	if errors.Is(err, function.ErrNotFound) {
		return notFound(t.arn())
	}
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, in)
}
