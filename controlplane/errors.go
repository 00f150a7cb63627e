package controlplane

import (
	"fmt"

	"thaw/function"
)

// Reason is the kind of a Refusal.
type Reason uint8

// The reasons.
const (
	Invalid         Reason = iota // what was asked for cannot be
	NotFound                      // something that the request names is not there
	Conflict                      // it is there already, or the function is in a state that does not allow it
	Stale                         // the caller knows an older state of the record: its RevisionId is not the present one
	TooLarge                      // the package is
	NoProvision                   // the version or alias has no provisioned concurrency
	PolicyTooLong                 // the resource policy would be
	Denied                        // S3 does not let us read the package
	NoSigningConfig               // no such code signing configuration
)

// Refusal says why a change was not made: nothing has changed. The message is for the sender, in the words of the service.
type Refusal struct {
	Reason  Reason
	Message string
}

func (r *Refusal) Error() string { return r.Message }

func refuse(why Reason, format string, v ...any) *Refusal {
	return &Refusal{why, fmt.Sprintf(format, v...)}
}

func invalid(format string, v ...any) *Refusal { return refuse(Invalid, format, v...) }

// NotForTenants refuses what functions with tenant isolation cannot have. That they cannot is documented, the words are
// ours. Source: Lambda Developer Guide, Tenant isolation, Supported features and limitations.
func NotForTenants(what string) *Refusal {
	return invalid("%s is not supported for functions that are enabled with tenancy configuration.", what)
}

func updateInProgress(arn function.ARN) *Refusal {
	return refuse(Conflict, "The operation cannot be performed at this time. An update is in progress for resource: %s", arn)
}

// ErrStaleRevision refuses a change whose sender knows an older state.
var ErrStaleRevision = refuse(Stale,
	"The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the latest Revision Id")

// CheckRevision refuses a change when the sender named a revision and it is not the present one.
func CheckRevision(want, present string) error {
	if want != "" && want != present {
		return ErrStaleRevision
	}
	return nil
}
