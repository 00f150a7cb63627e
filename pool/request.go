package pool

import (
	"fmt"

	"thaw/function"
)

// Limits are what the control plane allows at the moment of a request.
type Limits struct {
	Reserved   int // the function's reserved concurrency; -1: none
	Unreserved int // what all functions without a reservation may use together, provisioned concurrency apart
	// Provisioned concurrency of the version, and of all versions of its function: nobody else may use it.
	Provisioned, ProvisionedAll int
}

// own is the concurrency that a function's requests go by, provisioned concurrency apart.
func (l Limits) own() int {
	if l.Reserved >= 0 {
		return l.Reserved - l.ProvisionedAll
	}
	return l.Unreserved
}

// Request asks for one invocation of a version.
type Request struct {
	function.Invocation
	Version *function.Version
	Limits  Limits
}

// Reason is AWS's word for which limit was reached.
type Reason string

// The reasons of a 429.
const (
	ReservedConcurrency Reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
	AccountConcurrency  Reason = "ConcurrentInvocationLimitExceeded"
	FunctionRate        Reason = "FunctionInvocationRateLimitExceeded"         // of a function without a reservation
	ReservedRate        Reason = "ReservedFunctionInvocationRateLimitExceeded" // of one with
)

// ThrottledError refuses an invocation; nothing was run. HTTP 429 TooManyRequestsException.
type ThrottledError struct {
	Reason  Reason
	Message string // empty: Rate Exceeded.
}

func (e *ThrottledError) Error() string { return fmt.Sprintf("throttled: %s", e.Reason) }

// UnavailableError says that the platform, not the function, could not run the invocation.
type UnavailableError struct {
	Phase string // place, sandbox, init ...
	Env   string
	Err   error
}

func (e *UnavailableError) Error() string {
	if e.Env == "" {
		return fmt.Sprintf("%s: %v", e.Phase, e.Err)
	}
	return fmt.Sprintf("%s of environment %s: %v", e.Phase, e.Env, e.Err)
}
func (e *UnavailableError) Unwrap() error { return e.Err }

// RestoreFailedError says that the environment for an invocation could not be restored by the function's own doing: its after-restore hook failed, or did not come
// to an end. SnapStartException 400, SnapStartTimeoutException 408.
type RestoreFailedError struct {
	Timeout   bool
	ErrorType string
	Message   string
}

func (e *RestoreFailedError) Error() string {
	if e.Timeout {
		return "restore timed out"
	}
	return "restore: " + e.ErrorType + ": " + e.Message
}
