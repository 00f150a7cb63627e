package logsapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"thaw/logpattern"
	"thaw/logstore"
)

// Error is an answer other than success.
type Error struct{ Code, Message string }

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func fail(code, format string, v ...any) *Error { return &Error{code, fmt.Sprintf(format, v...)} }

func invalidParameter(format string, v ...any) *Error {
	return fail("InvalidParameterException", format, v...)
}

// Texts as recorded from the service.
var (
	errNoGroup      = fail("ResourceNotFoundException", "The specified log group does not exist.")
	errNoStream     = fail("ResourceNotFoundException", "The specified log stream does not exist.")
	errGroupExists  = fail("ResourceAlreadyExistsException", "The specified log group already exists")
	errStreamExists = fail("ResourceAlreadyExistsException", "The specified log stream already exists")
	errBadToken     = invalidParameter("The specified nextToken is invalid.")
)

// answerFor is the only place where a Go error becomes an answer. An unknown error is ours: the caller learns a request
// ID, the log learns the rest.
func answerFor(err error) (answer *Error, ours bool) {
	var known *Error
	var pattern *logpattern.Error
	switch {
	case errors.As(err, &known):
		return known, false
	case errors.As(err, &pattern):
		return invalidParameter("%s", pattern.Message), false
	case errors.Is(err, logstore.ErrNoGroup):
		return errNoGroup, false
	case errors.Is(err, logstore.ErrNoStream):
		return errNoStream, false
	case errors.Is(err, logstore.ErrGroupExists):
		return errGroupExists, false
	case errors.Is(err, logstore.ErrStreamExists):
		return errStreamExists, false
	case errors.Is(err, context.Canceled):
		return fail("ServiceUnavailableException", "The request was given up."), false
	}
	return fail("ServiceUnavailableException", "Service encountered an internal error. The server's log has the reason under this request ID."), true
}

// statuses of errors that are not 400. Source: the protocol; all of the service's own errors are 400 but those of the server.
var statuses = map[string]int{
	"ServiceUnavailableException": http.StatusServiceUnavailable,
	"ServiceException":            http.StatusInternalServerError,
	"NotImplementedException":     http.StatusNotImplemented,
	"RequestTimeoutException":     http.StatusRequestTimeout,
}

// Refuse answers with an error, in the form of JSON 1.1.
func (s *Server) Refuse(w http.ResponseWriter, code, message string) {
	status := statuses[code]
	if status == 0 {
		status = http.StatusBadRequest
	}
	s.write(w, status, struct {
		Type    string `json:"__type"`
		Message string `json:"message,omitempty"`
	}{code, message})
}
