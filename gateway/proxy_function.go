package gateway

import (
	"net/http"
	"strings"

	"github.com/google/uuid"

	"thaw/invoke"
	"thaw/trigger"
)

// invocationID is the request ID of the function: the request's own where its form allows that.
func (c *call) invocationID() string {
	if c.isREST() {
		return c.id
	}
	return uuid.NewString()
}

// proxyFunction passes the request to a function as it is, and its answer back.
func (c *call) proxyFunction(i *Integration) error {
	event, err := c.event(i)
	if err != nil {
		return err
	}
	if c.isREST() && i.Streams {
		return c.stream(i, event)
	}
	result, err := c.invoke(i, event, nil)
	if err != nil {
		return err
	}
	answer, err := c.readAnswer(i, result)
	if err != nil {
		return err
	}
	if !c.isREST() {
		c.reshape(i, answer)
	} else {
		c.w.Header()["X-Amzn-Trace-Id"] = []string{c.traceID}
	}
	c.answer(answer.Status, answer.Header, answer.Body)
	return nil
}

// event is the request in the integration's payload format.
func (c *call) event(i *Integration) ([]byte, error) {
	r := c.request()
	if c.isREST() {
		r.Route.Authorizer = c.who.proxyAuthorizer()
		return r.ProxyEvent()
	}
	if len(i.Parameters) > 0 {
		if err := c.changeEvent(i, r); err != nil {
			return nil, err
		}
	}
	if i.PayloadVersion == "1.0" {
		r.Route.Authorizer = c.who.proxyAuthorizer()
		return r.ProxyEvent()
	}
	r.Route.Authorizer = c.who.authorizer()
	return r.Event()
}

// readAnswer reads what a function answered. Its error is a *Refusal that says what was wrong.
func (c *call) readAnswer(i *Integration, result *invoke.Result) (*trigger.Response, error) {
	arn, _ := functionOf(i.URI, c.place.Stage.Variables) //nolint:errcheck // it ran
	switch {
	case result.FunctionError != "":
		kind := FunctionFailed
		if c.isREST() {
			kind = BadAnswer
		}
		return nil, &Refusal{Kind: kind, Why: string(arn) + " failed; its log says why, under request ID " + c.integrationID}
	case result.StreamErrorType != "":
		return nil, &Refusal{Kind: BadAnswer, Why: string(arn) + " broke off its stream: " + result.StreamErrorType}
	}
	var answer *trigger.Response
	var err error
	switch {
	case isStreamType(result.ContentType): // it streams, behind an API that does not
		answer, err = trigger.ParseStreamed(result.Payload)
	case c.isREST():
		answer, err = trigger.ParseProxy(result.Payload, trigger.Form{OnlyKnown: true, Text: !c.wantsBinary()})
	case i.PayloadVersion == "1.0":
		answer, err = trigger.ParseProxy(result.Payload, trigger.Form{NeedsStatus: true})
	default:
		answer, err = trigger.Parse(result.Payload)
	}
	if err != nil {
		c.integrationError = err.Error()
		return nil, &Refusal{Kind: BadAnswer, Why: string(arn) + ": " + err.Error()}
	}
	return answer, nil
}

// wantsBinary says whether a REST API decodes base64: where it takes all types for binary, or the one that the sender
// names first in Accept.
func (c *call) wantsBinary() bool {
	if c.stage.binary.all {
		return true
	}
	return c.stage.binary.has(accepted(c.r.Header.Get("Accept")))
}

func isStreamType(contentType string) bool {
	kind, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(kind), trigger.StreamType)
}

// stream has a function called whose answer goes out as it comes. Its stream begins with a prelude; anything else is
// refused, as at AWS.
func (c *call) stream(i *Integration, event []byte) error {
	out := &answerStream{c: c}
	result, err := c.invoke(i, event, out)
	begun, refused := out.state()
	switch {
	case begun && (err != nil || result.FunctionError != "" || result.StreamErrorType != "" || result.StreamErrorDetails != ""):
		c.warn("the stream broke off")
		panic(http.ErrAbortHandler) // a stream that broke off must not look whole
	case begun:
		return nil
	case refused != nil:
		return &Refusal{Kind: BadAnswer, Why: refused.Error()}
	case err != nil:
		return err
	case result.Streamed:
		return &Refusal{Kind: BadAnswer, Why: "the stream ended before its prelude did"}
	}
	answer, err := c.readAnswer(i, result) // a function that does not stream
	if err != nil {
		return err
	}
	c.answer(answer.Status, answer.Header, answer.Body)
	return nil
}
