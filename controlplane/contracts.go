package controlplane

import (
	"context"
	"io"
	"os"

	"thaw/function"
	"thaw/invoke"
	"thaw/pool"
)

// Pool runs invocations; *pool.Pool is one.
type Pool interface {
	invoke.Pool
	// Retire says that environments of a function with an epoch below beforeEpoch must take no more invocations. number
	// is $LATEST, a version's, or empty for all. It does not wait.
	Retire(unqualifiedARN function.ARN, number function.VersionNumber, beforeEpoch uint64)
	// Provision says how many environments of a version are kept initialised, 0: none. It does not wait. Provisioned
	// says how far that is.
	Provision(v *function.Version, n int)
	Provisioned(v *function.Version) pool.Allocation
}

// Networks knows which subnets and security groups there are; *vpc.Lookup does.
type Networks interface {
	// Find returns the VPC of the subnets; empty: nobody can say. Errors: *NetworkError.
	Find(ctx context.Context, region string, subnets, groups []string) (vpcID string, err error)
}

// NetworkError is what EC2 says of subnets or security groups that a function cannot have.
type NetworkError struct {
	Operation     string // DescribeSubnets
	Code, Message string
}

func (e *NetworkError) Error() string { return e.Operation + ": " + e.Code + ": " + e.Message }

// Runtimes knows which runtime identifiers there are, and makes them ready; *runtimes.Registry does.
type Runtimes interface {
	// Check says whether functions can run now: nil, *runtimes.UnknownError or *runtimes.NotInstalledError.
	Check(identifier, architecture string) error
	// Provide fetches what is lacking, which can take minutes. Errors: those of Check, *runtimes.FetchError, the context's.
	Provide(ctx context.Context, identifier, architecture string) error
	// Recoverable says whether Provide is worth calling again for a runtime that failed.
	Recoverable(identifier, architecture string) bool
	// Fetching says in words what is being fetched for a runtime now; empty: nothing.
	Fetching(identifier string) string
}

// Snapshots make published versions with SnapStart start from a snapshot.
type Snapshots interface {
	// Begin is called once, before all others, when it is known which functions there are. incarnation returns that of
	// the function that has a version, now and at every later time; 0 when there is no such version.
	Begin(incarnation func(function.ARN, function.VersionNumber) uint64)
	// Sweep removes what is kept of versions that are not there. It is called before the first Make, and only when
	// function.Store.Complete.
	Sweep(ctx context.Context) error
	// Make makes and verifies the first snapshot of a version. A code says that it failed for good, for the function's
	// own reason; an error that the platform could not, and should try again. The error is function.ErrNotFound when
	// the version was deleted.
	Make(ctx context.Context, v *function.Version, tags map[string]string) (reason, code string, err error)
	// Optimized says whether the next environment of a version begins from a snapshot.
	Optimized(v *function.Version) bool
	// Retag says what a function's tags are from now on. They can be read as a policy: SetTags has seen to that. It
	// does not wait.
	Retag(unqualifiedARN function.ARN, tags map[string]string)
	// Forget removes what is kept for a version of an incarnation, or for all of its versions when number is empty: it
	// cancels what is being made, waits for it, and nothing is made or written afterwards. Call it when the function,
	// or its list of versions, no longer has it. When ctx ends it goes on alone.
	Forget(ctx context.Context, unqualifiedARN function.ARN, incarnation uint64, number function.VersionNumber)
}

// Blobs keeps code packages; *blob.Store is one.
type Blobs interface {
	Put(ctx context.Context, r io.Reader) (sha256 string, size int64, err error)
	Open(ctx context.Context, sha256 string) (io.ReadCloser, error)
	Delete(ctx context.Context, sha256 string) error
	List(ctx context.Context, f func(sha256 string, size int64) bool) error
}

// Codes unpacks code packages; *codepackage.Store is one.
type Codes interface {
	Unpack(ctx context.Context, zip *io.SectionReader) (sha256 string, release func(), err error)
	Scratch() (*os.File, error) // a file without a name beside the packages
	Dir(ctx context.Context, v *function.Version) (dir string, release func(), err error)
	// Opt has the version's layers laid over each other.
	Opt(ctx context.Context, v *function.Version) (dir string, release func(), err error)
	// Unzipped is the bytes of the files of a package.
	Unzipped(ctx context.Context, sha256 string) (int64, error)
	Drop(sha256 string)
	DropExcept(wanted func(sha256 string) bool)
}
