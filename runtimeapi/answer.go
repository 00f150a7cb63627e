package runtimeapi

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"time"

	"thaw/guest/readiness"
	"thaw/guest/wire"
)

const (
	tooLargeForRuntime = "Exceeded maximum allowed payload size (%d bytes)."
	// tooLargeForInvoker has no size of the response: recordings of the real service have none.
	tooLargeForInvoker = `{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (%d bytes)."}`
	truncatedText      = "HTTP request detected as truncated"
)

func tooLarge() reply {
	return failure(413, errEntityTooLarge, fmt.Sprintf(tooLargeForRuntime, wire.MaxPayload))
}

// begin checks whether a response or error may be received now, and enters the state of receiving it. The request id comes before the state:
// a call that names the wrong invocation must not move anything. So does the attempt, for a late answer of a timed-out attempt must not become
// the answer of a retry that carries the same request id.
func (a *API) begin(q *request, id string, e readiness.Event) (*invocation, reply, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	in := a.current
	if in == nil || in.RequestID != id {
		return nil, failure(400, errInvalidRequestID, "Invalid request ID"), false
	}
	if echo := q.header("lambda-runtime-invocation-id"); echo != "" && in.InvocationID != "" && echo != in.InvocationID {
		return nil, failure(410, errInvokeTimeout, "Invoke timeout"), false
	}
	if verdict, _ := a.crew.Step(0, e); verdict == readiness.Refuse {
		return nil, forbidden(a.stateLocked(), e), false
	}
	a.credit = wire.StreamWindow
	return in, reply{}, true
}

// end leaves the state of receiving; the event is needed no more.
func (a *API) end(in *invocation) {
	a.mu.Lock()
	defer a.mu.Unlock()
	ended := readiness.BodyEnded
	if in.Priming {
		ended = readiness.PrimingEnded
	}
	a.crew.Step(0, ended)
	in.event = nil
}

// response answers POST /2018-06-01/runtime/invocation/{id}/response.
//
// 202 accepted; 400 wrong id, truncated, or unknown mode; 403 out of turn; 410 another attempt; 413 over wire.MaxPayload. Everything but a refusal
// by id or state answers the invocation. Source: AWS Lambda Developer Guide, Runtime API, "Invocation response".
func (a *API) response(c *conn, q *request, id string) error {
	in, r, ok := a.begin(q, id, readiness.CallResponse)
	if !ok {
		return a.refuse(c, q, r)
	}
	switch mode := q.header("lambda-runtime-function-response-mode"); mode {
	case "":
		return a.buffered(c, q, in)
	case "streaming":
		return a.stream(c, q, in)
	}
	a.refused(in, RuntimeInvalidResponseMode, nil)
	a.end(in)
	return a.refuse(c, q, failure(400, errInvalidResponseMode, "Invalid function response mode"))
}

// refused tells the host that the guest made an error of what the runtime sent.
func (a *API) refused(in *invocation, errorType string, body []byte) error {
	return a.send(wire.KindError, wire.ErrorHead{
		Generation: a.generation, RequestID: in.RequestID, ErrorType: errorType, ContentType: "application/json", Refused: true,
	}, body)
}

// receive reads the body of a response or error, and says so to the host when that goes wrong; done: the runtime was answered.
func (a *API) receive(c *conn, q *request, in *invocation) (body []byte, done bool, err error) {
	if err = a.welcome(c, q); err == nil {
		body, err = c.in.whole(q, wire.MaxPayload)
	}
	switch {
	case err == nil:
		return body, false, nil
	case errors.Is(err, errTooLarge):
		a.refused(in, FunctionSizeTooLarge, fmt.Appendf(nil, tooLargeForInvoker, wire.MaxPayload))
		a.end(in)
		return nil, true, a.answer(c, q, tooLarge())
	}
	a.refused(in, RuntimeTruncatedResponse, Body(RuntimeTruncatedResponse, in.RequestID, truncatedText))
	a.end(in)
	return nil, true, a.broken(c, err)
}

func (a *API) buffered(c *conn, q *request, in *invocation) error {
	body, done, err := a.receive(c, q, in)
	if done {
		return err
	}
	if errorType := q.trailer("lambda-runtime-function-error-type"); errorType != "" {
		// A handler that failed while its result was being read; Go's client reports that in trailers of any response.
		err = a.send(wire.KindError, wire.ErrorHead{
			Generation: a.generation, RequestID: in.RequestID, ErrorType: FilterErrorType(errorType), ContentType: "application/json",
		}, trailerBody(q))
	} else {
		err = a.sendWithNext(c, wire.KindResponse, wire.ResponseHead{
			Generation: a.generation, RequestID: in.RequestID, ContentType: q.header("content-type"),
		}, body)
	}
	return a.finish(c, q, in, err)
}

// finish answers the runtime after its answer went to the host.
func (a *API) finish(c *conn, q *request, in *invocation, err error) error {
	a.end(in)
	if err != nil {
		return a.answer(c, q, failure(500, errInternal, "Internal Server Error"))
	}
	if !q.close && q.header("thaw-answer") == "later" {
		// Our own client does not wait for it, and is about to call next: one write and one wake-up of the runtime less.
		c.hold(accepted.render(false))
		return nil
	}
	return a.answer(c, q, accepted)
}

// trailerBody is the error that a client put into a trailer; base64 because it is JSON, and JSON may hold anything.
func trailerBody(q *request) []byte {
	text := q.trailer("lambda-runtime-function-error-body")
	if b, err := base64.StdEncoding.DecodeString(text); err == nil {
		return b
	}
	return []byte(text)
}

// stream passes a response on while it comes, as fast as the host gives credit.
// Source: AWS Lambda Developer Guide, "Response streaming" for custom runtimes.
func (a *API) stream(c *conn, q *request, in *invocation) error {
	head := wire.ResponseHead{Generation: a.generation, RequestID: in.RequestID, ContentType: q.header("content-type")}
	err := a.send(wire.KindStreamHead, head, nil)
	if err == nil {
		err = a.welcome(c, q)
	}
	if err == nil {
		err = c.in.body(q, func(b []byte) error {
			for len(b) > 0 {
				n := a.takeCredit(min(len(b), wire.MaxChunk))
				if n == 0 {
					return io.ErrClosedPipe
				}
				if err := a.send(wire.KindStreamChunk, wire.StreamChunk{RequestID: in.RequestID}, b[:n]); err != nil {
					return err
				}
				b = b[n:]
			}
			return nil
		})
	}
	end := wire.StreamEnd{Generation: a.generation, RequestID: in.RequestID}
	if err != nil && !errors.Is(err, errMalformed) && a.exits(exitNotice) {
		// The host hears of the exit next, which says more than that the response broke off.
		a.end(in)
		return a.broken(c, err)
	}
	if err != nil {
		end.ErrorType = RuntimeTruncatedResponse
		end.ErrorBody = Body(RuntimeTruncatedResponse, in.RequestID, truncatedText)
	} else if errorType := q.trailer("lambda-runtime-function-error-type"); errorType != "" {
		end.ErrorType, end.ErrorBody = FilterErrorType(errorType), trailerBody(q)
	}
	sent := a.send(wire.KindStreamEnd, end, nil)
	if err != nil {
		a.end(in)
		return a.broken(c, err)
	}
	return a.finish(c, q, in, sent)
}

// exitNotice is how long a response that breaks off waits for the word that the runtime exited: the connection closes a
// moment before the process can be waited for. A tenth of a second was too short on a busy machine; who breaks off and
// lives, and so waits for all of it, is rare.
const exitNotice = time.Second

// exits waits, at most so long, for Exiting or the end of the generation, and says whether there was either.
func (a *API) exits(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-a.exiting:
	case <-a.done:
	case <-timer.C:
		return false
	}
	return true
}

// takeCredit waits for credit and takes at most want of it; 0: the generation has ended.
func (a *API) takeCredit(want int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.credit <= 0 && !a.closed {
		a.changed.Wait()
	}
	if a.closed {
		return 0
	}
	n := int(min(int64(want), a.credit))
	a.credit -= int64(n)
	return n
}

// invocationError answers POST /2018-06-01/runtime/invocation/{id}/error: the handler failed, the environment is kept.
// The body reaches the invoker byte for byte. Source: AWS Lambda Developer Guide, Runtime API, "Invocation error".
func (a *API) invocationError(c *conn, q *request, id string) error {
	in, r, ok := a.begin(q, id, readiness.CallError)
	if !ok {
		return a.refuse(c, q, r)
	}
	body, done, err := a.receive(c, q, in)
	if done {
		return err
	}
	head := wire.ErrorHead{
		Generation: a.generation, RequestID: in.RequestID,
		ErrorType:   FilterErrorType(q.header("lambda-runtime-function-error-type")),
		ContentType: q.header("content-type"),
		XRayCause:   cropCause([]byte(q.header("lambda-runtime-function-xray-error-cause"))),
	}
	if isCauseType(head.ContentType) {
		var cause string
		if body, head.ContentType, cause = stripCause(body); cause != "" {
			head.XRayCause = cause
		}
	}
	return a.finish(c, q, in, a.send(wire.KindError, head, body))
}
