package api

import (
	"encoding/base64"
	"net/http"

	"thaw/function"
	"thaw/invoke"
	"thaw/trace"
)

// invocation reads what Invoke and InvokeWithResponseStream have in common. A nil request without an error was answered
// already.
func (c *call) invocation(stream bool) (*invoke.Request, error) {
	h := c.r.Header
	var v violations
	ref, qualifier := c.checkTarget(&v, readNames, c.label)
	invocationType, logType := first(h["X-Amz-Invocation-Type"]), first(h["X-Amz-Log-Type"])
	switch invocationType {
	case "", "RequestResponse", "DryRun":
	case "Event":
		if !stream {
			break
		}
		fallthrough
	default:
		if stream {
			v.oneOf("invocationType", &invocationType, "RequestResponse", "DryRun")
		} else {
			v.oneOf("invocationType", &invocationType, "Event", "RequestResponse", "DryRun")
		}
	}
	if logType != "" {
		v.oneOf("logType", &logType, "None", "Tail")
	}
	tenant := first(h["X-Amz-Tenant-Id"])
	if h["X-Amz-Tenant-Id"] != nil {
		v.text("tenantId", &tenant, 1, function.MaxTenantID, function.TenantID, function.TenantPattern)
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	t, err := c.resolve(ref, qualifier)
	if err != nil {
		return nil, err
	}
	_, found, err := c.s.Plane.Invoker().Find(t.key, t.qualifier, t.asNamed(), 1)
	if err != nil {
		return nil, err
	}
	if err := invoke.CheckTenant(&found.Config, tenant); err != nil {
		return nil, err
	}
	if h["X-Amz-Durable-Execution-Name"] != nil {
		return nil, notImplemented("Durable execution")
	}
	if err := checkEvent(c.body); err != nil {
		return nil, err
	}
	clientContext, err := readClientContext(first(h["X-Amz-Client-Context"]))
	if err != nil {
		return nil, err
	}
	switch invocationType {
	case "DryRun":
		return nil, c.empty(http.StatusNoContent)
	case "Event":
		return nil, c.accept(t, tenant, function.MaxAsyncPayload)
	}
	header, state := traceOf(h)
	return &invoke.Request{
		Function:  t.key,
		Qualifier: t.qualifier,
		Invocation: function.Invocation{
			RequestID:  c.id,
			InvokedARN: t.asNamed(),
			// The runtime is told that the event is JSON, as has just been found. Clients call it application/octet-stream
			// (SDKs) or nothing at all, and AWS's Python client would hand anything but application/json to the handler as
			// bytes.
			Event:         c.body,
			ClientContext: clientContext,
			TraceID:       header,
			TraceState:    state,
			TenantID:      tenant,
			Tail:          logType == "Tail",
		},
	}, nil
}

// traceOf is the trace that a request belongs to, by X-Ray's header or by W3C's.
func traceOf(h http.Header) (header, state string) {
	return trace.FromHTTP(first(h["X-Amzn-Trace-Id"]), first(h["Traceparent"]), h["Tracestate"])
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// checkEvent refuses an event that is no JSON. None at all is allowed and means {}.
func checkEvent(body []byte) error {
	if len(body) == 0 {
		return nil
	}
	if at, what := invalidJSON(body); what != "" {
		return fail("InvalidRequestContentException", "Could not parse request body into json: Could not parse payload into json: %s at byte %d", what, at)
	}
	return nil
}

// readClientContext decodes the header. It must be base64 of JSON.
func readClientContext(s string) (string, error) {
	if s == "" {
		return "", nil
	}
	if len(s) > function.MaxClientContext {
		return "", fail("InvalidRequestContentException", "Client context must be no more than %d bytes.", function.MaxClientContext)
	}
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", fail("InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object.")
	}
	if _, what := invalidJSON(b); what != "" || len(b) == 0 {
		return "", fail("InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON object.")
	}
	return string(b), nil
}
