package runtimeapi

import (
	"encoding/json"
	"strings"
)

// maxCause bounds what is kept of an X-Ray error cause.
// Source: aws-lambda-runtime-interface-emulator, internal/lambda/rapi/model/error_cause.go.
const maxCause = 64 << 10

// isCauseType says whether a content type announces an error body that carries its cause.
func isCauseType(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "application/vnd.aws.lambda.error.cause+json")
}

// stripCause takes the cause out of an error body: what remains goes to the invoker.
func stripCause(body []byte) (rest []byte, contentType, cause string) {
	var e struct {
		ErrorMessage json.RawMessage `json:"errorMessage,omitempty"`
		ErrorType    json.RawMessage `json:"errorType,omitempty"`
		StackTrace   json.RawMessage `json:"stackTrace,omitempty"`
		ErrorCause   json.RawMessage `json:"errorCause,omitempty"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return []byte("Invalid error body"), "application/octet-stream", ""
	}
	cause = cropCause(e.ErrorCause)
	e.ErrorCause = nil
	rest, err := json.Marshal(e)
	if err != nil {
		return []byte("Invalid error body"), "application/octet-stream", ""
	}
	return rest, "application/json", cause
}

type errorCause struct {
	Exceptions       []exception `json:"exceptions,omitempty"`
	WorkingDirectory string      `json:"working_directory,omitempty"`
	Paths            []string    `json:"paths,omitempty"`
	Message          string      `json:"message,omitempty"`
}

type exception struct {
	Message string            `json:"message,omitempty"`
	Type    string            `json:"type,omitempty"`
	Stack   []json.RawMessage `json:"stack,omitempty"`
}

// cropCause returns the cause as it is when it is one and fits; otherwise it is cropped by 0.8, 0.6, 0.4, 0.2, and in the end its exceptions
// and paths go. A cause with none of the four members that X-Ray knows is dropped.
func cropCause(b []byte) string {
	var e errorCause
	if len(b) == 0 || json.Unmarshal(b, &e) != nil {
		return ""
	}
	if len(e.Exceptions) == 0 && e.WorkingDirectory == "" && len(e.Paths) == 0 && e.Message == "" {
		return ""
	}
	if len(b) <= maxCause {
		return string(b)
	}
	for _, tenths := range []int{8, 6, 4, 2} {
		c := e
		c.Paths = e.Paths[:len(e.Paths)*tenths/10]
		c.Exceptions = make([]exception, len(e.Exceptions)*tenths/10)
		for i := range c.Exceptions {
			x := e.Exceptions[i]
			x.Stack = x.Stack[:len(x.Stack)*tenths/10]
			c.Exceptions[i] = x
		}
		if out, err := json.Marshal(c); err == nil && len(out) <= maxCause {
			return string(out)
		}
	}
	e.Exceptions, e.Paths = nil, nil
	for limit := maxCause / 2; ; limit /= 2 {
		e.Message, e.WorkingDirectory = cropText(e.Message, limit), cropText(e.WorkingDirectory, limit)
		if out, err := json.Marshal(e); err != nil {
			return ""
		} else if len(out) <= maxCause {
			return string(out)
		}
	}
}

func cropText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "")
}
