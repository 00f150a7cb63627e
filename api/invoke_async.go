package api

import (
	"net/http"

	"thaw/async"
	"thaw/function"
	"thaw/invoke"
)

// InvokeAsync: POST /2014-11-13/functions/{FunctionName}/invoke-async -> 202.
//
// Supported: as Invoke with Event, with less room for the event, and for $LATEST only. The service has deprecated it.
func (c *call) invokeAsync() error {
	var v violations
	ref, _ := c.checkTarget(&v, readNames, c.label)
	if err := v.err(); err != nil {
		return err
	}
	t, err := c.resolveFunction(ref)
	if err != nil {
		return err
	}
	_, found, err := c.s.Plane.Invoker().Find(t.key, t.qualifier, t.asNamed(), 1)
	if err != nil {
		return err
	}
	if err := invoke.CheckTenant(&found.Config, ""); err != nil { // the operation has no word for a tenant
		return err
	}
	if err := checkEvent(c.body); err != nil {
		return err
	}
	return c.accept(t, "", function.MaxInvokeAsyncPayload)
}

// accept answers 202 when the event is on disk.
func (c *call) accept(t target, tenant string, limit int) error {
	if c.s.Events == nil {
		return notImplemented("Asynchronous invocation (InvocationType Event)")
	}
	if n := len(c.body); n > limit {
		return fail("RequestTooLargeException", "%d byte payload is too large for the Event invocation type (limit %d bytes)", n, limit)
	}
	header, state := traceOf(c.r.Header)
	err := c.s.Events.Accept(c.r.Context(), &async.Event{Lane: async.Lane{Key: t.key, Qualifier: t.qualifier}, RequestID: c.id, InvokedARN: t.asNamed(),
		TraceID: header, TraceState: state, TenantID: tenant, Payload: c.body})
	if err != nil {
		return err
	}
	return c.empty(http.StatusAccepted)
}
