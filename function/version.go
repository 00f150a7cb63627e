// Package function holds what a function is: names, ARNs, qualifiers, versions and their limits. It does no I/O.
package function

import (
	"errors"
	"time"
)

// ErrNotFound is the fact that no such function, version or alias exists.
var ErrNotFound = errors.New("function not found")

// Version is one version of a function as environments see it: never changed in place, a new value for every change.
type Version struct {
	Partition   string // aws
	Region      string
	Account     string
	Name        string
	Number      VersionNumber
	Incarnation uint64 // of the function: Record.Incarnation
	// Epoch grows with every change of code or configuration that environments must follow; two values of one (Name, Number) with
	// the same Epoch are the same to an environment.
	Epoch uint64

	Role             string // ARN of what its credentials are of
	Runtime          string // nodejs22.x
	Handler          string
	Architecture     string // x86_64, arm64
	Timeout          time.Duration
	MemoryMiB        int
	EphemeralMiB     int
	Vars             map[string]string // the customer's environment variables
	LogFormat        string            // Text, JSON
	AppLogLevel      string            // JSON only
	SysLogLevel      string            // JSON only
	LogGroup         string            // /aws/lambda/NAME unless configured
	SnapStart        bool              // ApplyOn=PublishedVersions
	PerTenant        bool              // an environment serves one tenant: that of its first invocation
	Tags             map[string]string // of the function
	InitWithoutLimit bool              // SnapStart and provisioned Init get max(130 s, Timeout)
	Tracing          string            // Active, PassThrough; invocations go by it, environments do not

	Package // what its environments find on their disk: the same value as in the record
}

// TagSnapStartLatest, "on", asks for snapshots of $LATEST, which the service has none of. They are made in the background.
const TagSnapStartLatest = "thaw:snapshot-latest"

// SnapStartLatest says whether this is $LATEST of a function that asks for snapshots of it.
func (v *Version) SnapStartLatest() bool {
	return v.Number == Latest && v.Tags[TagSnapStartLatest] == "on"
}

// UnqualifiedARN is the ARN of the function.
func (v *Version) UnqualifiedARN() ARN {
	return Key{Account: v.Account, Region: v.Region, Name: v.Name}.ARN(v.Partition)
}

// ARN is the unqualified ARN and the version's number.
func (v *Version) ARN() ARN { return v.UnqualifiedARN().Version(v.Number) }
