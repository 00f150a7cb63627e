package runtimeapi

import "strings"

// The errorType strings that leave the sandbox, by who makes them. The full catalogue with its meanings is appendix A of AWS's
// documents and of its emulator's core (fatalerror); the ones of the clients themselves pass through unlisted.
const (
	// Made by the platform when it ends or refuses something; the invoker sees them.
	RuntimeExitError              = "Runtime.ExitError"
	RuntimeInvalidEntrypoint      = "Runtime.InvalidEntrypoint"
	RuntimeInvalidWorkingDir      = "Runtime.InvalidWorkingDir"
	RuntimeTruncatedResponse      = "Runtime.TruncatedResponse"
	RuntimeInvalidResponseMode    = "Runtime.InvalidResponseModeHeader"
	RuntimeUnknown                = "Runtime.Unknown"
	RuntimeOutOfMemory            = "Runtime.OutOfMemory"
	RuntimeRestoreHookUserTimeout = "Runtime.RestoreHookUserTimeout"
	FunctionSizeTooLarge          = "Function.ResponseSizeTooLarge"
	FunctionUnknown               = "Function.Unknown"
	ExtensionInitError            = "Extension.InitError"
	ExtensionExitError            = "Extension.ExitError"
	ExtensionCrash                = "Extension.Crash"
	ExtensionLaunchError          = "Extension.LaunchError"
	SandboxFailure                = "Sandbox.Failure"
	SandboxTimedout               = "Sandbox.Timedout"

	// Answers of the API to the runtime.
	errInvalidStateTransition = "InvalidStateTransition"
	errInvalidRequestID       = "InvalidRequestID"
	errInvalidResponseMode    = "InvalidFunctionResponseMode"
	errEntityTooLarge         = "RequestEntityTooLarge"
	errTruncated              = "TruncatedHTTPRequest"
	errInvokeTimeout          = "InvokeTimeout"
	errInternal               = "InternalServerError"
	errNotFound               = "NotFound"
	errMethodNotAllowed       = "MethodNotAllowed"
	errBadRequest             = "InvalidRequestFormat"
)

// maxErrorType bounds what is kept of a client's free text.
const maxErrorType = 256

// FilterErrorType makes of a client's error-type header what is recorded: a value that contains Runtime.X or Function.X, X being
// an upper-case letter and at least one more letter, is kept as it is; another that begins with Function. is Function.Unknown;
// all else, and nothing at all, is Runtime.Unknown. Source: aws-lambda-runtime-interface-emulator, internal/lambda/fatalerror.
func FilterErrorType(header string) string {
	if len(header) > maxErrorType {
		header = header[:maxErrorType]
	}
	if hasReason(header, "Runtime.") || hasReason(header, "Function.") {
		return header
	}
	if strings.HasPrefix(header, "Function.") {
		return FunctionUnknown
	}
	return RuntimeUnknown
}

func hasReason(s, category string) bool {
	for {
		i := strings.Index(s, category)
		if i < 0 {
			return false
		}
		s = s[i+len(category):]
		if len(s) >= 2 && s[0] >= 'A' && s[0] <= 'Z' && isLetter(s[1]) {
			return true
		}
	}
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }

// Body is the default error body: what an invoker gets when the platform itself ends an invocation. requestID may be empty.
func Body(errorType, requestID, text string) []byte {
	message := "Error: " + text
	if requestID != "" {
		message = "RequestId: " + requestID + " " + message
	}
	b := append([]byte(`{"errorType":`), quote(errorType)...)
	b = append(b, `,"errorMessage":`...)
	b = append(b, quote(message)...)
	return append(b, '}')
}
