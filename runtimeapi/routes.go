package runtimeapi

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"time"

	"thaw/guest/readiness"
	"thaw/guest/wire"
)

const (
	version       = "/2018-06-01"
	invocations   = version + "/runtime/invocation/"
	credentialsAt = "/2021-04-23/credentials"
	snapshotAt    = "/2026-01-01/thaw/snapshot"
)

// route answers one call. An error ends the connection. One listener serves all APIs, because clients build every URL
// from one variable.
func (a *API) route(c *conn, q *request) error {
	method, handle := "", a.missing
	switch {
	case strings.HasPrefix(q.path, extensionsAt):
		method, handle = a.extensionRoute(c, q)
	case q.path == telemetryAt || q.path == logsAt:
		a.noteExtension(c)
	default:
		a.noteAgent(q)
	}
	switch path := q.path; {
	case path == invocations+"next":
		method, handle = "GET", a.next
	case strings.HasPrefix(path, invocations):
		id, call, ok := strings.Cut(path[len(invocations):], "/")
		id = unescape(id)
		switch {
		case ok && call == "response":
			method, handle = "POST", func(c *conn, q *request) error { return a.response(c, q, id) }
		case ok && call == "error":
			method, handle = "POST", func(c *conn, q *request) error { return a.invocationError(c, q, id) }
		}
	case path == version+"/runtime/init/error":
		method, handle = "POST", a.initError
	case path == version+"/runtime/restore/next" && a.snapStart:
		method, handle = "GET", a.restoreNext
	case path == version+"/runtime/restore/error" && a.snapStart:
		method, handle = "POST", a.restoreError
	case path == telemetryAt && !a.noExts:
		method, handle = "PUT", func(c *conn, q *request) error { return a.subscribe(c, q, false) }
	case path == logsAt && !a.noExts:
		method, handle = "PUT", func(c *conn, q *request) error { return a.subscribe(c, q, true) }
	case path == version+"/ping":
		method, handle = "GET", a.ping
	case path == credentialsAt && a.snapStart:
		method, handle = "GET", a.credentials
	case path == snapshotAt && a.snapStart:
		method, handle = "PUT", a.snapshotNote
	}
	if method != "" && q.method != method {
		r := failure(405, errMethodNotAllowed, "Method Not Allowed")
		r.allow = method
		return a.refuse(c, q, r)
	}
	return handle(c, q)
}

func (a *API) missing(c *conn, q *request) error {
	return a.refuse(c, q, failure(404, errNotFound, "404 page not found"))
}

func (a *API) ping(c *conn, q *request) error {
	return a.refuse(c, q, reply{status: 200, contentType: "text/plain; charset=utf-8", body: []byte("pong")})
}

// refuse answers a call without a look at its body. The body is read first, so that the connection stays usable whatever
// the client has sent of it.
func (a *API) refuse(c *conn, q *request, r reply) error {
	if err := a.welcome(c, q); err != nil {
		return err
	}
	if err := c.in.discard(q); err != nil {
		return a.broken(c, err)
	}
	return a.answer(c, q, r)
}

// answer writes the answer of a request whose body was read.
func (a *API) answer(c *conn, q *request, r reply) error {
	r.last = q.close
	return c.write(r.render(q.method == "HEAD"), nil)
}

// broken ends a connection whose body broke off or was no body.
func (a *API) broken(c *conn, err error) error {
	r := failure(400, errTruncated, "HTTP request detected as truncated")
	if errors.Is(err, errMalformed) {
		r = failure(400, errBadRequest, "malformed request body")
	}
	r.last = true
	c.write(r.render(false), nil)
	return err
}

// welcome answers Expect: 100-continue.
func (a *API) welcome(c *conn, q *request) error {
	if !q.expect || q.length == 0 {
		return nil
	}
	return c.write([]byte("HTTP/1.1 100 Continue\r\n\r\n"), nil)
}

func forbidden(from readiness.State, e readiness.Event) reply {
	return failure(403, errInvalidStateTransition, readiness.Refusal("runtime", from, e))
}

// next answers GET /2018-06-01/runtime/invocation/next: it parks until there is an event. The first call ends Init. It may park for
// days (frozen), so there are no deadlines.
//
// 200: the event, its bytes as given, at most wire.MaxPayload. While an event is outstanding it is answered at once, again.
// 403 out of turn. Source: AWS Lambda Developer Guide, Runtime API, "Next invocation".
func (a *API) next(c *conn, q *request) error {
	if err := c.in.discard(q); err != nil {
		return a.broken(c, err)
	}
	a.mu.Lock()
	from := a.stateLocked()
	verdict, meaning := a.crew.Step(0, readiness.CallNext)
	switch verdict {
	case readiness.Repeat:
		head, body := renderEvent(a.current)
		a.mu.Unlock()
		return c.write(head, body)
	case readiness.Park, readiness.ParkToo:
		ready := wire.Ready{Generation: a.generation, Next: wire.NextInvocation}
		if a.current != nil {
			ready.RequestID = a.current.RequestID
			a.current = nil
		}
		ready.UserAgent = a.agentLocked()
		if verdict == readiness.Park {
			// Output is sent before the event of the next invocation can be: the host waits for Ready.
			a.over, a.doneAt = ready, time.Now()
			a.mu.Unlock()
			if err := a.sendParked(ready, meaning); err != nil {
				return err
			}
			a.mu.Lock()
		}
		if in := a.waiting; in != nil && a.stateLocked() == readiness.Ready {
			a.waiting = nil
			a.crew.Step(0, readiness.Delivered)
			a.current = in
			head, body := renderEvent(in)
			a.mu.Unlock()
			return c.write(head, body)
		}
		if a.closed {
			a.mu.Unlock()
			return io.ErrClosedPipe
		}
		a.parkLocked(c)
		a.mu.Unlock()
		return nil
	}
	a.mu.Unlock()
	return a.answer(c, q, forbidden(from, readiness.CallNext))
}

// parkLocked holds a call. Pollers whose client has closed its sending half make way.
func (a *API) parkLocked(c *conn) {
	kept := a.parked[:0]
	for _, p := range a.parked {
		if p.half {
			p.answered <- struct{}{}
		} else {
			kept = append(kept, p)
		}
	}
	c.parked = true
	a.parked = append(kept, c)
}

// agentLocked is what the first Ready of a generation carries.
func (a *API) agentLocked() string {
	if a.told {
		return ""
	}
	a.told = true
	return a.release
}

// sendParked tells the host that the phase is over; or, where extensions are still at it, that the runtime is done with
// an invocation.
func (a *API) sendParked(r wire.Ready, m readiness.Meaning) error {
	if m&readiness.AllParked == 0 && r.RequestID == "" {
		return nil
	}
	a.mu.Lock()
	closed := a.closed
	a.mu.Unlock()
	switch {
	case closed:
		return io.ErrClosedPipe
	case m&readiness.AllParked != 0:
		return a.host.SendReady(r)
	case a.hub == nil || a.hub.Off(): // Ready will say it
		return nil
	}
	return a.host.SendRuntimeDone(wire.RuntimeDone{Generation: r.Generation, RequestID: r.RequestID})
}

// restoreNext answers GET /2018-06-01/runtime/restore/next: it parks across the snapshot; the restored copy is answered 200 with an
// empty body. Source: AWS Lambda Developer Guide, SnapStart runtime hooks for custom runtimes.
func (a *API) restoreNext(c *conn, q *request) error {
	if err := c.in.discard(q); err != nil {
		return a.broken(c, err)
	}
	a.mu.Lock()
	from := a.stateLocked()
	verdict, meaning := a.crew.Step(0, readiness.CallRestoreNext)
	if verdict != readiness.Park {
		a.mu.Unlock()
		return a.answer(c, q, forbidden(from, readiness.CallRestoreNext))
	}
	a.restorer, c.parked, a.current = c, true, nil
	ready := wire.Ready{Generation: a.generation, Next: wire.NextRestore, UserAgent: a.agentLocked()}
	a.over = ready
	a.mu.Unlock()
	return a.sendParked(ready, meaning)
}

// initError answers POST /2018-06-01/runtime/init/error. While restoring it is restore/error, for old clients.
// The body goes to the invoker as it is, as JSON when it is JSON.
func (a *API) initError(c *conn, q *request) error { return a.fatal(c, q, readiness.CallInitError) }

// restoreError answers POST /2018-06-01/runtime/restore/error.
func (a *API) restoreError(c *conn, q *request) error {
	return a.fatal(c, q, readiness.CallRestoreError)
}

func (a *API) fatal(c *conn, q *request, e readiness.Event) error {
	a.mu.Lock()
	from := a.stateLocked()
	a.mu.Unlock()
	if _, verdict := readiness.Next(readiness.Runtime, from, e); verdict == readiness.Refuse {
		return a.refuse(c, q, forbidden(from, e))
	}
	if err := a.welcome(c, q); err != nil {
		return err
	}
	body, err := c.in.whole(q, wire.MaxPayload)
	if errors.Is(err, errTooLarge) {
		return a.answer(c, q, tooLarge())
	} else if err != nil {
		return a.broken(c, err)
	}
	a.mu.Lock()
	from = a.stateLocked()
	verdict, _ := a.crew.Step(0, e)
	to := a.stateLocked()
	a.mu.Unlock()
	if verdict == readiness.Refuse { // another connection was faster
		return a.answer(c, q, forbidden(from, e))
	}
	head := wire.ErrorHead{Generation: a.generation, ErrorType: FilterErrorType(q.header("lambda-runtime-function-error-type")), ContentType: "application/octet-stream"}
	if json.Valid(body) {
		head.ContentType = "application/json"
	}
	kind := wire.KindInitError
	if to == readiness.RestoreError {
		kind = wire.KindRestoreError
	}
	if err := a.send(kind, head, body); err != nil {
		return a.answer(c, q, failure(500, errInternal, "Internal Server Error"))
	}
	return a.answer(c, q, accepted)
}

// credentials answers GET /2021-04-23/credentials to whoever knows the token. It waits while credentials are being swapped.
// Source: AWS's container credentials provider; aws-lambda-runtime-interface-emulator, rapi/handler/credentials.go.
func (a *API) credentials(c *conn, q *request) error {
	if err := c.in.discard(q); err != nil {
		return a.broken(c, err)
	}
	a.mu.Lock()
	for a.blocked && !a.closed {
		a.changed.Wait()
	}
	have, closed := a.creds, a.closed
	a.mu.Unlock()
	if closed {
		return io.ErrClosedPipe
	}
	if a.token == "" || q.header("authorization") != a.token || have.AccessKeyID == "" {
		return a.answer(c, q, failure(404, errNotFound, "cannot get credentials for the provided token"))
	}
	body, err := json.Marshal(struct {
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		Token           string
		Expiration      string
	}{have.AccessKeyID, have.SecretAccessKey, have.SessionToken, time.Unix(have.ExpirationUnix, 0).UTC().Format(time.RFC3339)})
	if err != nil {
		return a.answer(c, q, failure(500, errInternal, "Internal Server Error"))
	}
	return a.answer(c, q, reply{status: 200, contentType: "application/json", body: body})
}

// noteAgent keeps the runtime's name from its first request.
// Source: aws-lambda-runtime-interface-emulator, internal/lambda/appctx, rapi/middleware.
func (a *API) noteAgent(q *request) {
	const limit = 128
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gotAgent {
		return
	}
	agent, _, _ := strings.Cut(q.header("user-agent"), " ")
	if agent == "" {
		return
	}
	a.gotAgent = true
	if features := q.header("lambda-runtime-features"); features != "" {
		agent += " (" + features + ")"
	}
	a.release = agent[:min(len(agent), limit)]
}
