package snapstart

import (
	"context"
	"log/slog"
	"time"

	"thaw/execenv"
	"thaw/function"
	"thaw/snapshot"
)

// Environments makes environments that serve no invokes of the pool's; the node's starter is one.
type Environments interface {
	// Identity is what of a snapshot's key is not the version's own: the runtime that would run it now, and the sandbox.
	Identity(v *function.Version) (runtime, sandbox string, err error)
	// Save runs Init of a version and saves what it leaves behind into m.Sink; m.Done is its own. secret is what makes this
	// snapshot like the function's others. It returns when nothing is left of the environment; the error is the context's
	// cause when that ended first.
	Save(ctx context.Context, v *function.Version, m execenv.Make, secret []byte) (execenv.Made, error)
	// Copy restores a version and returns when an invoke can be assigned to it. release is called once, when nothing reads
	// the snapshot any more, also after an error.
	Copy(ctx context.Context, v *function.Version, r *execenv.Restore, release func()) (Copy, error)
	// Code is the version's unpacked code, kept until release.
	Code(ctx context.Context, v *function.Version) (dir string, release func(), err error)
}

// Copy is an environment that was restored and is nobody's yet.
type Copy interface {
	ID() string
	LogStream() string
	// Expires is when no invoke may start in it any more; zero: never.
	Expires() time.Time
	// Invoke gives it an event and waits for the answer.
	Invoke(ctx context.Context, i *function.Invocation) (function.Outcome, error)
	// Adopt gives it to the pool as a spare and says whether the pool took it.
	Adopt() bool
	// End ends one that was not adopted, and returns when nothing is left of it.
	End(reason string)
}

// Pool is what the environments that serve are told and asked. The pool may not be there yet: then there are none.
type Pool interface {
	// Outdate lets the environments of a version finish and go, but for those that were restored from the snapshot keep.
	Outdate(unqualified function.ARN, number function.VersionNumber, keep string)
	// Restored counts the environments by the snapshot that they were restored from.
	Restored() map[string]int
	// Provisioned says whether somebody pays for a version's being ready.
	Provisioned(v *function.Version) bool
}

// Options are what Open needs. All but the times, sizes and settings must be given.
type Options struct {
	Dir string // of the store, the key, and, unless InMemory, the plain files
	// DiskBytes bounds the store, CacheBytes the plain files beside it. DiskBytes 0: nothing does.
	DiskBytes, CacheBytes int64
	Records               snapshot.Records
	// Complete answers an error while records may be missing, of functions or of snapshots (function.Store): nothing is
	// swept then.
	Complete     func() error
	Environments Environments
	Pool         Pool
	// Lines are the lines of a log stream, for the doctor.
	Lines    func(ctx context.Context, group, stream string) ([]string, error)
	FellBack func() // counts restores that became an Init; may be nil
	Log      *slog.Logger
	// Now is the clock that lives of snapshots, idle time and durations are counted by; nil: time.Now.
	Now         func() time.Time
	All, Strict bool // All: versions and $LATEST of functions that do not ask for it, too
	InMemory    bool // the plain files of snapshots are never on a disk
	LateMemory  bool // as sandbox.Capabilities has it
}
