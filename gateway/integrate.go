package gateway

import (
	"context"
	"errors"
	"strings"
	"time"

	"thaw/function"
	"thaw/invoke"
	"thaw/pool"
	"thaw/push"
)

// principal is who APIs are to a function's policy.
const principal = "apigateway.amazonaws.com"

// Times of integrations. Sources: Amazon API Gateway quotas, HTTP APIs and REST APIs, "Integration timeout".
const (
	httpTimeout = 30 * time.Second
	restTimeout = 29 * time.Second
	// streamTimeout is that of a REST API that streams.
	streamTimeout = 15 * time.Minute
)

// integrate has the backend answer. An error is a *Refusal, or ours; nothing was written then.
func (c *call) integrate() error {
	i := c.found.integration
	if i == nil {
		if c.found.Integration == "" && !c.isREST() {
			return &Refusal{Kind: ResourceNotFound, Why: "the route has no integration"}
		}
		return &Refusal{Kind: APIConfiguration, Why: "the route has no integration"}
	}
	c.integrationBegan = true
	switch i.Type {
	case "AWS_PROXY":
		if i.Subtype != "" {
			return &Refusal{Kind: APIConfiguration, Why: "integrations of AWS services (" + i.Subtype + ") are not served here; take a function"}
		}
		return c.proxyFunction(i)
	case "HTTP_PROXY":
		return c.proxyURL(i)
	case "MOCK":
		return c.mock(i)
	case "AWS":
		return c.mapFunction(i)
	case "HTTP":
		return c.mapURL(i)
	}
	return &Refusal{Kind: APIConfiguration, Why: "integrations of type " + i.Type + " are not served here"}
}

// timeout is how long the backend may take. An HTTP API's integration cannot ask for more than AWS's 30 s: with those it
// has as long as the server allows.
func (c *call) timeout(i *Integration) time.Duration {
	usual := httpTimeout
	if c.isREST() {
		usual = restTimeout
	}
	most := c.s.MaxTimeout
	if most == 0 {
		most = usual
	}
	d := time.Duration(i.Timeout) * time.Millisecond
	switch {
	case c.isREST() && i.Streams:
		if most = max(most, streamTimeout); d == 0 {
			d = streamTimeout
		}
	case !c.isREST() && (d == 0 || d == httpTimeout):
		d = most
	case d == 0:
		d = usual
	}
	return min(d, most)
}

// functionOf reads the function of a URI, in which stage variables stand as ${stageVariables.NAME}: its ARN, or
// arn:aws:apigateway:REGION:lambda:path/2015-03-31/functions/ARN/invocations.
func functionOf(uri string, variables map[string]string) (function.ARN, error) {
	uri = withVariables(uri, variables)
	if _, rest, ok := strings.Cut(uri, ":lambda:path/"); ok {
		_, arn, ok := strings.Cut(rest, "/functions/")
		if !ok {
			return "", errors.New("its URI names no function")
		}
		uri = strings.TrimSuffix(arn, "/invocations")
		uri = strings.TrimSuffix(uri, "/response-streaming-invocations")
	}
	if _, err := function.ParseRead(uri); err != nil || !strings.HasPrefix(uri, "arn:") {
		return "", errors.New("its URI is not the ARN of a function")
	}
	return function.ARN(uri), nil
}

// withVariables fills in stage variables.
func withVariables(s string, variables map[string]string) string {
	const begin = "${stageVariables."
	if !strings.Contains(s, begin) {
		return s
	}
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, begin)
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			b.WriteString(begin + rest)
			return b.String()
		}
		b.WriteString(variables[name])
		s = after
	}
}

// permission is the ARN that a function's policy is asked for: of the request's method, and of the path of its route with
// * for parameters. Source: API Gateway Developer Guide, "Lambda function permissions".
func (c *call) permission() string {
	f := c.found
	if f.method == "" {
		return c.place.ExecuteARN("/" + DefaultStage)
	}
	return c.place.ExecuteARN("/" + c.r.Method + starred(f.path))
}

// starred is a path with * for each parameter.
func starred(path string) string {
	if !strings.Contains(path, "{") {
		return path
	}
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if strings.HasPrefix(p, "{") {
			parts[i] = "*"
		}
	}
	return strings.Join(parts, "/")
}

// invoke has a function run for the request, within the integration's time.
func (c *call) invoke(i *Integration, event []byte, sink function.StreamSink) (*invoke.Result, error) {
	arn, err := functionOf(i.URI, c.place.Stage.Variables)
	if err != nil {
		return nil, &Refusal{Kind: APIConfiguration, Why: "integration: " + err.Error()}
	}
	if len(event) > function.MaxSyncPayload { // base64 makes a third more of a body
		return nil, &Refusal{Kind: TooLarge, Why: "the event would have more than 6 MB"}
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), c.timeout(i))
	defer cancel()
	d := &push.Delivery{Function: arn, Service: principal, Source: c.permission(), Account: c.place.API.Account, Payload: event,
		TraceID: c.traceID, TraceState: c.traceState, RequestID: c.invocationID()}
	c.integrationID = d.RequestID
	began := time.Now()
	c.counted = countKey{c.place.API.ID, c.place.Stage.Name, string(arn)}
	c.s.counts.asked(c.counted, c.began)
	result, err := c.s.Functions.Stream(ctx, d, sink)
	c.integrationTime = time.Since(began)
	if err != nil {
		return nil, c.notRun(ctx, arn, err)
	}
	c.integrationStatus = 200
	if result.FunctionError != "" {
		c.integrationError = "the function failed: " + result.FunctionError
	}
	return result, nil
}

// notRun says why an invocation did not come back.
func (c *call) notRun(ctx context.Context, arn function.ARN, err error) error {
	c.integrationError = err.Error()
	var throttled *pool.ThrottledError
	var absent *invoke.NotFoundError
	var denied *push.NotAllowedError
	switch {
	case c.r.Context().Err() != nil:
		return &Refusal{Kind: IntegrationFailure, Why: "the sender went away"}
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		c.integrationStatus = 504
		return &Refusal{Kind: IntegrationTimeout, Why: string(arn) + " took longer than the integration's time"}
	case errors.As(err, &throttled):
		c.integrationStatus = 429
		if c.isREST() {
			return &Refusal{Kind: FunctionFailed, Why: string(arn) + " was throttled"}
		}
		return &Refusal{Kind: IntegrationFailure, Why: string(arn) + " was throttled"}
	case errors.As(err, &absent):
		c.integrationStatus = 404
		return &Refusal{Kind: FunctionFailed, Why: string(arn) + " is not there"}
	case errors.As(err, &denied):
		c.integrationStatus = 403
		return &Refusal{Kind: FunctionFailed, Why: err.Error()}
	case errors.Is(err, invoke.ErrStopping), errors.Is(err, pool.ErrClosed):
		return &Refusal{Kind: IntegrationFailure, Why: "the server is stopping"}
	}
	c.integrationStatus = 500
	return &Refusal{Kind: FunctionFailed, Why: "invoke " + string(arn) + ": " + err.Error()}
}
