package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"syscall"

	"thaw/async"
	"thaw/blob"
	"thaw/codepackage"
	"thaw/controlplane"
	"thaw/function"
	"thaw/invoke"
	"thaw/pool"
	"thaw/runtimes"
)

// Error is an answer of the API other than success.
type Error struct {
	Code    string // exception name; the table kinds knows the rest of its form
	Message string
	Null    bool // the message is null, as recorded for foreign accounts
	Reason  string
	// RetryAfter, in seconds, goes into the header of that name when positive.
	RetryAfter int
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// kind is the form in which an exception leaves: its status, the key of its message and its type. Framework errors have no type.
// Source: the service's model, and answers recorded from it.
type kind struct {
	status int
	key    string
	typ    string
}

const (
	user    = "User"
	service = "Service"
)

var kinds = map[string]kind{
	"InvalidParameterValueException":                {400, "message", user},
	"ResourceNotFoundException":                     {404, "Message", user},
	"ResourceConflictException":                     {409, "message", user},
	"ResourceInUseException":                        {400, "Message", user},
	"PreconditionFailedException":                   {412, "message", user},
	"TooManyRequestsException":                      {429, "message", user},
	"ServiceException":                              {500, "Message", service},
	"CodeStorageExceededException":                  {400, "message", user},
	"CodeSigningConfigNotFoundException":            {404, "Message", user},
	"PolicyLengthExceededException":                 {400, "message", user},
	"ProvisionedConcurrencyConfigNotFoundException": {404, "message", user},
	"RequestTooLargeException":                      {413, "message", user},
	"InvalidRequestContentException":                {400, "message", user},
	"RecursiveInvocationException":                  {400, "Message", user},
	"InvalidRuntimeException":                       {502, "Message", service},
	"InvalidZipFileException":                       {502, "Message", service},

	"SnapStartException":                    {400, "Message", user},
	"SnapStartNotReadyException":            {409, "Message", user},
	"SnapStartRegenerationFailureException": {409, "Message", user},
	"SnapStartTimeoutException":             {408, "Message", user},

	"ValidationException":                 {400, "message", ""},
	"SerializationException":              {400, "message", ""},
	"AccessDeniedException":               {403, "message", ""},
	"RequestEntityTooLargeException":      {413, "message", ""},
	"UnknownOperationException":           {404, "message", ""},
	"MissingAuthenticationTokenException": {403, "message", ""},
	"IncompleteSignatureException":        {403, "message", ""},
	"UnrecognizedClientException":         {403, "message", ""},
	"InvalidSignatureException":           {403, "message", ""},
	"ExpiredTokenException":               {403, "message", ""},

	"RequestTimeoutException": {408, "message", user},

	// Ours: the service has no word for what it always can.
	"NotImplementedException": {501, "message", service},
}

func fail(code, format string, v ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, v...)}
}

func invalidParameter(format string, v ...any) *Error {
	return fail("InvalidParameterValueException", format, v...)
}

func notFound(arn function.ARN) *Error {
	return fail("ResourceNotFoundException", "Function not found: %s", arn)
}

func notImplemented(what string) *Error {
	return fail("NotImplementedException", "%s is not implemented by this server yet.", what)
}

// exceptions are the names of what the control plane refuses with.
var exceptions = map[controlplane.Reason]string{
	controlplane.Invalid: "InvalidParameterValueException", controlplane.NotFound: "ResourceNotFoundException",
	controlplane.Conflict: "ResourceConflictException", controlplane.Stale: "PreconditionFailedException",
	controlplane.TooLarge: "RequestEntityTooLargeException", controlplane.NoProvision: "ProvisionedConcurrencyConfigNotFoundException",
	controlplane.PolicyTooLong: "PolicyLengthExceededException", controlplane.Denied: "AccessDeniedException", controlplane.NoSigningConfig: "CodeSigningConfigNotFoundException",
}

const badZip = "Could not unzip uploaded file. Please check your file, then try to upload again."

// answerFor is the only place where a Go error becomes an answer. An unknown error is ours: the caller learns a request ID, the log
// learns the rest. ours says that the error should be logged.
func answerFor(err error) (answer *Error, ours bool) {
	var (
		known       *Error
		refused     *controlplane.Refusal
		throttled   *pool.ThrottledError
		restore     *pool.RestoreFailedError
		unavailable *pool.UnavailableError
		invalid     *codepackage.InvalidError
		unknown     *runtimes.UnknownError
		missing     *runtimes.NotInstalledError
		absent      *invoke.NotFoundError
		state       *invoke.StateError
		notReady    *invoke.NotReadyError
		tenant      *invoke.TenantError
	)
	switch {
	case errors.As(err, &known):
		return known, false
	case errors.As(err, &refused):
		return fail(exceptions[refused.Reason], "%s", refused.Message), false
	case errors.As(err, &absent):
		return notFound(absent.ARN), false
	case errors.As(err, new(*invoke.RecursionError)):
		return fail("RecursiveInvocationException", invoke.LoopMessage), false
	case errors.As(err, &tenant) && tenant.Missing:
		return invalidParameter("The invoked function is enabled with tenancy configuration. Add a valid tenant ID in your request and try again."), false
	case errors.As(err, &tenant):
		return invalidParameter("The invoked function is not enabled with tenancy configuration. Remove the tenant ID from your request and try again."), false
	case errors.As(err, &state):
		return wrongState(state), false
	case errors.As(err, &notReady) && notReady.Failed:
		return fail("SnapStartRegenerationFailureException", "Lambda failed to regenerate snapshot of your function: %s", notReady.Reason), false
	case errors.As(err, &notReady):
		return fail("SnapStartNotReadyException", "Lambda is initializing your function. It will be ready to invoke once your function state becomes Active."), false
	case errors.Is(err, async.ErrFull): // a client waits, and tries again
		return &Error{Code: "TooManyRequestsException", Message: "The event was not accepted: " + err.Error() + ".", RetryAfter: 5}, false
	case errors.Is(err, invoke.ErrStopping), errors.Is(err, async.ErrStopping):
		return fail("ServiceException", "The server is stopping."), false
	case errors.As(err, &throttled):
		message := throttled.Message
		if message == "" {
			message = "Rate Exceeded."
		}
		return &Error{Code: "TooManyRequestsException", Message: message, Reason: string(throttled.Reason), RetryAfter: 1}, false
	case errors.As(err, &restore) && restore.Timeout:
		return fail("SnapStartTimeoutException", "Lambda couldn't restore the snapshot within the timeout limit."), false
	case errors.As(err, &restore):
		return fail("SnapStartException", "The afterRestore() runtime hook encountered an error: %s: %s. For more information, check the function's log.", restore.ErrorType, restore.Message), false
	case errors.As(err, &missing):
		return fail("InvalidRuntimeException", "%v", missing), false
	case errors.As(err, &unavailable):
		return fail("ServiceException", "The function could not be run: %v", unavailable), true
	case errors.Is(err, codepackage.ErrTooLarge):
		return invalidParameter("Unzipped size must be smaller than %d bytes", function.MaxUnzippedBytes), false
	case errors.Is(err, codepackage.ErrEmpty):
		return invalidParameter("Uploaded file must be a non-empty zip"), false
	case errors.As(err, &invalid):
		if invalid.Entry == "" {
			return invalidParameter("%s", badZip), false
		}
		return invalidParameter("%s (%v)", badZip, invalid), false
	case errors.As(err, &unknown):
		return answerFor(controlplane.UnknownRuntime(unknown.Identifier))
	case errors.Is(err, blob.ErrNotFound):
		return fail("ServiceException", "The code of the function is not there any more."), true
	case errors.Is(err, syscall.ENOSPC): // the write is made when there is room, or never
		return fail("ServiceException", "The disk of this server is full. It is not known whether the change will be made."), true
	case errors.Is(err, context.Canceled):
		return fail("ServiceException", "The request was given up."), false
	}
	return fail("ServiceException", "Service encountered an internal error. The server's log has the reason under this request ID."), true
}

// wrongState is for a version that cannot serve. As for every such state, that is a conflict: clients send an
// invocation again that was answered 502 (InvalidRuntimeException), and this one would fail again.
func wrongState(e *invoke.StateError) *Error {
	because := ""
	if e.Because != "" {
		because = " (" + e.Because + ")"
	}
	return fail("ResourceConflictException", "The operation cannot be performed at this time. The function is currently in the following state: %s%s", e.State, because)
}

// writeError answers err. Nothing may have been written yet.
func (c *call) writeError(err error) {
	e, ours := answerFor(err)
	if ours {
		c.s.Plane.Log.Error("request failed", "request_id", c.id, "operation", c.operation(), "error", err)
	}
	if c.service != nil {
		c.service.Refuse(c.w, e.Code, e.Message)
		return
	}
	k, ok := kinds[e.Code]
	if !ok {
		k = kind{http.StatusInternalServerError, "message", service}
	}
	if c.asXML {
		c.writeQueryError(k.status, e.Code, e.Message)
		return
	}
	body := map[string]any{k.key: e.Message}
	if e.Null {
		body[k.key] = nil
	}
	if k.typ != "" {
		body["Type"] = k.typ
	}
	if e.Reason != "" {
		body["Reason"] = e.Reason
	}
	b, err := json.Marshal(body)
	if err != nil {
		b = []byte("{}")
	}
	h := c.w.Header()
	h["Content-Type"] = jsonType
	h["X-Amzn-Errortype"] = []string{e.Code}
	if e.RetryAfter > 0 {
		h["Retry-After"] = []string{strconv.Itoa(e.RetryAfter)}
	}
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	c.w.WriteHeader(k.status)
	c.w.Write(b) //nolint:errcheck // nobody to tell
}

// TooManyConnections is the body of the answer to a connection that is one too many.
var TooManyConnections = []byte(`{"message":"Too many connections.","Type":"Service"}`)
