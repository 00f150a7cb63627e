package gatewayapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"thaw/push"
)

// Error is an answer other than success.
type Error struct {
	Status        int
	Code, Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

func fail(status int, code, format string, v ...any) *Error {
	return &Error{status, code, fmt.Sprintf(format, v...)}
}

func badRequest(format string, v ...any) *Error {
	return fail(http.StatusBadRequest, "BadRequestException", format, v...)
}

func notFound(format string, v ...any) *Error {
	return fail(http.StatusNotFound, "NotFoundException", format, v...)
}

func conflict(format string, v ...any) *Error {
	return fail(http.StatusConflict, "ConflictException", format, v...)
}

// Texts as the service has them.
var (
	errNoDomain  = notFound("The domain name resource specified in the request was not found.")
	errNoMapping = notFound("The api mapping resource specified in the request was not found.")
	errNoStage   = notFound("Invalid stage identifier specified")
)

// noSuch is the service's refusal of an ID.
func noSuch(what, id string) *Error { return notFound("Invalid %s identifier specified %s", what, id) }

// answerFor is the only place where a Go error becomes an answer. An unknown error is ours: the caller learns a request
// ID, the log learns the rest.
func answerFor(err error) (answer *Error, ours bool) {
	var known *Error
	switch {
	case errors.As(err, &known):
		return known, false
	case errors.Is(err, push.ErrStale):
		return conflict("Unable to complete operation due to concurrent modification. Please try again later."), false
	case errors.Is(err, context.Canceled):
		return fail(http.StatusServiceUnavailable, "ServiceUnavailableException", "The request was given up."), false
	case strings.Contains(err.Error(), "maximum payload exceeded"):
		return fail(http.StatusBadRequest, "LimitExceededException",
			"The API with all its deployments is larger than this server keeps in one record: delete deployments that no stage serves."), false
	}
	return fail(http.StatusInternalServerError, "InternalServerErrorException",
		"Internal server error. The server's log has the reason under this request ID."), true
}

// Refuse answers a request that does not come so far.
func (s *Server) Refuse(w http.ResponseWriter, code, message string) {
	status := map[string]int{
		"RequestEntityTooLargeException": http.StatusRequestEntityTooLarge,
		"ServiceUnavailableException":    http.StatusServiceUnavailable,
		"ServiceException":               http.StatusInternalServerError,
		"IncompleteSignatureException":   http.StatusBadRequest,
		"TooManyRequestsException":       http.StatusTooManyRequests,
	}[code]
	if status == 0 {
		status = http.StatusForbidden
	}
	s.refuse(w, &Error{status, code, message})
}

func (s *Server) refuse(w http.ResponseWriter, e *Error) {
	w.Header().Set("X-Amzn-Errortype", e.Code)
	s.write(w, e.Status, struct {
		Message string `json:"message"`
	}{e.Message})
}
