package api

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
)

// Invoke: POST /2015-03-31/functions/{FunctionName}/invocations?Qualifier= -> 200.
//
// Supported: RequestResponse, Event, DryRun, Tail, ClientContext, qualifiers, trace ids, tenants.
// Differs: an invocation of a function that is Pending waits for it; JSON is checked without AWS's limit of depth.
// Missing (501): durable executions.
func (c *call) invoke() error {
	q, err := c.invocation(false)
	if err != nil || q == nil {
		return err
	}
	result, err := c.s.Plane.Invoker().Invoke(c.r.Context(), q)
	if err != nil {
		return c.invokeFailed(err)
	}
	h := c.w.Header()
	h["X-Amz-Executed-Version"] = []string{string(result.Version.Number)}
	if result.FunctionError != "" {
		h["X-Amz-Function-Error"] = []string{result.FunctionError}
	}
	if q.Tail {
		h["X-Amz-Log-Result"] = []string{base64.StdEncoding.EncodeToString(result.LogTail)}
	}
	h["Content-Type"] = jsonType // whatever the runtime said: recorded
	h["Content-Length"] = []string{strconv.Itoa(len(result.Payload))}
	c.w.WriteHeader(http.StatusOK)
	c.w.Write(result.Payload) //nolint:errcheck // nobody to tell
	return nil
}

// invokeFailed leaves a caller who went away without an answer.
func (c *call) invokeFailed(err error) error {
	if c.r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		panic(http.ErrAbortHandler)
	}
	return err
}
