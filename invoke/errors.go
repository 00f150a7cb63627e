package invoke

import (
	"errors"
	"fmt"

	"thaw/function"
)

// ErrStopping refuses an invocation that waited for its function while the server began to stop.
var ErrStopping = errors.New("the server is stopping")

// NotFoundError says that there is no such function, or no such version of it.
type NotFoundError struct {
	ARN function.ARN // with a qualifier, $LATEST where the sender wrote none
}

func (e *NotFoundError) Error() string { return "function not found: " + string(e.ARN) }

func notFound(qualifier function.Qualifier, invokedARN function.ARN) error {
	if qualifier == "" {
		invokedARN = invokedARN.Version(function.Latest)
	}
	return &NotFoundError{invokedARN}
}

// StateError says that a version cannot serve in the state in which it is: Failed, or Pending for longer than an
// invocation waits.
type StateError struct {
	State   string
	Because string // for people; may be empty
}

func (e *StateError) Error() string {
	if e.Because == "" {
		return "the version is " + e.State
	}
	return fmt.Sprintf("the version is %s (%s)", e.State, e.Because)
}

// TenantError says that an invocation names no tenant and its function wants one, or that it names one for nothing.
type TenantError struct{ Missing bool }

func (e *TenantError) Error() string {
	if e.Missing {
		return "the invocation names no tenant"
	}
	return "the function does not tell tenants apart"
}

// CheckTenant refuses an invocation of a configuration with the wrong idea of tenants. *TenantError.
func CheckTenant(c *function.Config, tenant string) error {
	if isolated := c.TenantIsolation != ""; isolated == (tenant != "") {
		return nil
	}
	return &TenantError{Missing: tenant == ""}
}

// NotReadyError says that a version was Inactive, and that its snapshot is being made again because of this invocation.
// Source: E-133; spec 5.2.
type NotReadyError struct {
	Failed bool   // the last time that was tried it failed
	Reason string // why
}

func (e *NotReadyError) Error() string {
	if e.Failed {
		return "the version's snapshot could not be made again: " + e.Reason
	}
	return "the version was idle and is being made ready"
}
