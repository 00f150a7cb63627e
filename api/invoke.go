package api

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strconv"
	"time"

	"thaw/function"
	"thaw/pool"
	"thaw/runtimes"
)

// Invoke: POST /2015-03-31/functions/{FunctionName}/invocations?Qualifier= -> 200.
//
// Supported: RequestResponse, DryRun, Tail, ClientContext, version numbers, trace ids.
// Differs: an invocation of a function that is Pending waits for it; JSON is checked without AWS's limit of depth.
// Missing (501): Event, tenants, durable executions; aliases.
func (c *call) invoke() error {
	q, err := c.invocation(false)
	if err != nil || q == nil {
		return err
	}
	result, err := c.run(q)
	if err != nil {
		return c.invokeFailed(err)
	}
	h := c.w.Header()
	h["X-Amz-Executed-Version"] = []string{q.Version.Number}
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

// invocation reads what Invoke and InvokeWithResponseStream have in common, and waits until the function can serve. A nil request
// without an error was answered already.
func (c *call) invocation(stream bool) (*pool.Request, error) {
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
	if err := v.err(); err != nil {
		return nil, err
	}
	t, err := c.resolve(ref, qualifier)
	if err != nil {
		return nil, err
	}
	e := c.s.view.Get(t.key)
	if e == nil || versionOf(e, t.qualifier) == nil {
		return nil, notFound(t.qualified())
	}
	switch {
	case invocationType == "Event":
		return nil, notImplemented("Asynchronous invocation (InvocationType Event)")
	case h["X-Amz-Tenant-Id"] != nil:
		return nil, notImplemented("Tenant isolation")
	case h["X-Amz-Durable-Execution-Name"] != nil:
		return nil, notImplemented("Durable execution")
	}
	if err := checkEvent(c.body); err != nil {
		return nil, err
	}
	clientContext, err := readClientContext(first(h["X-Amz-Client-Context"]))
	if err != nil {
		return nil, err
	}
	if invocationType == "DryRun" {
		return nil, c.empty(http.StatusNoContent)
	}
	serving, limits, err := c.serving(t, e)
	if err != nil {
		return nil, err
	}
	q := &pool.Request{
		Version:    serving,
		Limits:     limits,
		RequestID:  c.id,
		InvokedARN: t.asNamed(),
		Event:      c.body,
		// No ContentType: the event has just been found to be JSON, and the runtime is told so. Clients call it application/octet-stream (SDKs) or
		// nothing at all, and AWS's Python client would hand anything but application/json to the handler as bytes.
		ClientContext: clientContext,
		TraceID:       first(h["X-Amzn-Trace-Id"]),
		Tail:          logType == "Tail",
	}
	if len(q.Event) == 0 {
		q.Event = []byte("{}")
	}
	c.again = func() error {
		e := c.s.view.Get(t.key)
		if e == nil {
			return notFound(t.qualified())
		}
		serving, limits, err := c.serving(t, e)
		if err != nil {
			return err
		}
		if serving.Epoch == q.Version.Epoch { // the pool knows of the change a moment before the view
			select {
			case <-e.Replaced():
			case <-time.After(10 * time.Millisecond):
			case <-c.r.Context().Done():
				return c.invokeFailed(c.r.Context().Err())
			}
		}
		q.Version, q.Limits = serving, limits
		return nil
	}
	return q, nil
}

// run gives an invocation to the pool. One whose version was replaced before it could run, nothing of it having run, is resolved again: what is
// live now is what it gets. One whose runtime is gone (an upgrade of the host took it, say) waits for another, if one can be had.
func (c *call) run(q *pool.Request) (*pool.Result, error) {
	for provided := false; ; {
		result, err := c.s.Pool.Invoke(c.r.Context(), q)
		if v := q.Version; !provided && errors.As(err, new(*runtimes.NotInstalledError)) && c.s.Runtimes.Recoverable(v.Runtime, v.Architecture) {
			provided = true
			if c.provide(v) == nil {
				continue
			}
		}
		if !errors.Is(err, pool.ErrSuperseded) {
			return result, err
		}
		if err := c.again(); err != nil {
			return nil, err
		}
	}
}

func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// serving returns what an invocation runs. One of a function that is Pending waits for it, in bounds.
func (c *call) serving(t target, e *function.Entry) (v *function.Version, limits pool.Limits, err error) {
	number := t.qualifier
	if number == "" {
		number = function.Latest
	}
	var timer *time.Timer
	var timeout <-chan time.Time
	began := time.Now()
	for {
		if v := e.Serving(number); v != nil {
			return v, c.s.limits(e, number), nil
		}
		r := versionOf(e, t.qualifier)
		if r == nil {
			return nil, limits, notFound(t.qualified())
		}
		switch r.Life {
		case function.Failed:
			return nil, limits, failedToServe(r)
		case function.Inactive:
			return nil, limits, c.wake(t, e, r)
		}
		if timeout == nil {
			timer = time.NewTimer(c.s.PendingInvoke)
			defer timer.Stop()
			timeout = timer.C
		}
		select {
		case <-e.Replaced():
		case <-timeout:
			because := ""
			if fetching := c.s.Runtimes.Fetching(r.Config.Runtime); fetching != "" {
				if time.Since(began) < c.s.FetchInvoke {
					timer.Reset(fetchLook)
					continue
				}
				because = " (" + fetching + ")"
			}
			return nil, limits, fail("ResourceConflictException", "The operation cannot be performed at this time. The function is currently in the following state: Pending%s", because)
		case <-c.s.ctx.Done():
			return nil, limits, fail("ServiceException", "The server is stopping.")
		case <-c.r.Context().Done():
			return nil, limits, c.invokeFailed(c.r.Context().Err())
		}
		if e = c.s.view.Get(t.key); e == nil {
			return nil, limits, notFound(t.qualified())
		}
	}
}

// fetchLook is the interval at which an invocation that waits for a fetch looks whether it goes on.
const fetchLook = 200 * time.Millisecond

// provide waits for the runtime of a version, which is fetched for all who want it, and also when this caller no longer waits.
func (c *call) provide(v *function.Version) error {
	done := make(chan error, 1)
	c.s.work.Go(func() { done <- c.s.Runtimes.Provide(c.s.ctx, v.Runtime, v.Architecture) })
	timer := time.NewTimer(c.s.FetchInvoke)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		return context.DeadlineExceeded
	case <-c.r.Context().Done():
		return c.r.Context().Err()
	}
}

// limits are what an invocation of a version may use at this moment.
func (s *Server) limits(e *function.Entry, number string) pool.Limits {
	l := pool.Limits{Reserved: -1, Unreserved: s.Concurrency - s.view.Reserved() - s.view.Provisioned()}
	if n := e.Record.Reserved; n != nil {
		l.Reserved = *n
	}
	if len(e.Record.Provisioned) > 0 {
		l.Provisioned, l.ProvisionedAll = e.Record.Provisioned[function.Number(number)].Requested, e.Record.ProvisionedTotal()
	}
	return l
}

// failedToServe says why a Failed version cannot be invoked. As for every state that does not serve, that is a conflict: clients send an invocation
// again that was answered 502 (InvalidRuntimeException), and this one would fail again.
func failedToServe(r *function.VersionRecord) error {
	return fail("ResourceConflictException", "The operation cannot be performed at this time. The function is currently in the following state: Failed (%s)", r.Reason)
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
