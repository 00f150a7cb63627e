package async

import (
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"thaw/function"
	"thaw/internal/plainjson"
	"thaw/invoke"
)

// Message is what somebody outside is told.
type Message struct {
	Target Target
	Body   []byte // the envelope; for a dead-letter queue the event as it came
	// Error is what a dead-letter queue gets as attributes.
	RequestID    string
	ErrorCode    int
	ErrorMessage string // at most 1 KiB

	TraceID      string
	FunctionARN  function.ARN // qualified
	FunctionName string
	Success      bool
	At           time.Time // when the event ended
	Object       string    // the name of an object that a bucket gets; empty: one for asynchronous events
}

// envelope is what destinations get; members in the order that was recorded. Source: C-092.
type envelope struct {
	Version         string           `json:"version"`
	Timestamp       string           `json:"timestamp"`
	RequestContext  requestContext   `json:"requestContext"`
	RequestPayload  json.RawMessage  `json:"requestPayload,omitempty"`
	ResponseContext *responseContext `json:"responseContext,omitempty"`
	ResponsePayload json.RawMessage  `json:"responsePayload,omitempty"`
}

type requestContext struct {
	RequestID   string       `json:"requestId"`
	FunctionARN function.ARN `json:"functionArn"`
	Condition   Condition    `json:"condition"`
	Invokes     int          `json:"approximateInvokeCount"`
}

type responseContext struct {
	Status  int                    `json:"statusCode"`
	Version function.VersionNumber `json:"executedVersion"`
	Error   string                 `json:"functionError,omitempty"`
}

// Most that a message may hold, by service. What is longer loses its payloads. Source: API references of SendMessage,
// Publish and PutEvents; of asynchronous invocations.
const (
	maxMessage       = 256 << 10
	maxEventMessage  = 1 << 20
	maxErrorMessage  = 1 << 10
	timestampFormat  = "2006-01-02T15:04:05.000Z"
	envelopeVersion  = "1.0"
	functionErrorWas = 200 // ErrorCode of a dead-letter message for an error of the function
)

// message makes what one target of an event gets.
func message(e *Event, p *Progress, t Target, functionARN function.ARN) (*Message, error) {
	trace := e.TraceID
	if trace != "" { // the chain goes on: whoever gets the message may be a queue that the function reads
		trace, _ = invoke.Continue(trace, functionARN)
	}
	m := &Message{Target: t, RequestID: e.RequestID, TraceID: trace, FunctionARN: functionARN, FunctionName: e.Lane.Name,
		Success: p.Ended.Condition == Success, At: p.Ended.At}
	if t.DeadLetter {
		m.Body = e.Payload
		m.ErrorCode, m.ErrorMessage = p.Answer.Code, p.Answer.Refused
		if p.Answer.Error != "" {
			m.ErrorCode, m.ErrorMessage = functionErrorWas, errorMessage(p.Response)
		}
		return m, nil
	}
	env := envelope{Version: envelopeVersion, Timestamp: p.Ended.At.UTC().Format(timestampFormat),
		RequestContext: requestContext{e.RequestID, functionARN, p.Ended.Condition, p.Attempts}, RequestPayload: asJSON(e.Payload)}
	if p.Attempts > 0 {
		env.ResponseContext = &responseContext{Status: p.Answer.Code, Version: p.Answer.Version, Error: p.Answer.Error}
		env.ResponsePayload = asJSON(p.Response)
	}
	var err error
	if m.Body, err = plainjson.Marshal(env); err != nil {
		return nil, err
	}
	if limit := limitOf(t.ARN); limit > 0 && len(m.Body) > limit {
		env.RequestPayload, env.ResponsePayload = nil, nil
		m.Body, err = plainjson.Marshal(env)
	}
	return m, err
}

func limitOf(arn string) int {
	switch service(arn) {
	case "s3":
		return 0
	case "lambda":
		return maxEventMessage
	}
	return maxMessage
}

// service is the third part of an ARN.
func service(arn string) string {
	parts := strings.SplitN(arn, ":", 4)
	if len(parts) < 4 {
		return ""
	}
	return parts[2]
}

// asJSON is a payload as a member of the envelope: a function may have answered with something that is no JSON.
func asJSON(b []byte) json.RawMessage {
	if len(b) == 0 {
		return json.RawMessage("null")
	}
	if json.Valid(b) {
		return b
	}
	text, err := plainjson.Marshal(string(b))
	if err != nil {
		return json.RawMessage("null")
	}
	return text
}

// errorMessage is what a function's error says of itself, as much as an attribute holds.
func errorMessage(response []byte) string {
	var of struct {
		Message string `json:"errorMessage"`
	}
	text := string(response)
	if json.Unmarshal(response, &of) == nil && of.Message != "" {
		text = of.Message
	}
	for len(text) > maxErrorMessage {
		_, n := utf8.DecodeLastRuneInString(text)
		text = text[:min(len(text)-n, maxErrorMessage)]
	}
	return strings.ToValidUTF8(text, "")
}
