// Package sandbox declares the isolation around one execution environment: what a backend must offer, whatever it is made of.
//
// Backends: gvisor (user-space kernel, default for root), process (no isolation, says so). Every backend passes the
// suite in sandboxtest. A sandbox is created running: its guest (PID 1) is up and waits for wire.KindStart on the stream.
//
// Life of a sandbox, as its owner (one execenv driver) may use it:
//
//	Create -> [Freeze -> Thaw]* -> Close
//	            |
//	            +-- Exited is closed at any time when the sandbox ended by itself
//
// Close may be called at any time, more than once, and leaves nothing behind: no process, mount, namespace, cgroup or file.
package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
)

// ID names a sandbox: lower-case letters, digits and hyphens, unique among everything that a data folder has known.
type ID string

// Mount puts a host file or folder, or what is in an image, read-only, at a path inside. A Target lies below one of
// Roots; when targets nest, the outer comes first.
type Mount struct {
	Source string // absolute host path
	Target string // absolute path inside
	// Image: Source is the image of a file system (EROFS, not compressed), whose root comes to Target. It is one of the
	// operator's making: a kernel of the host's may read it. Only where Capabilities.Images.
	Image bool
}

// Roots are the folders under which a Mount may stand; a backend has them ready, empty, in every sandbox.
var Roots = []string{"/var/task", "/var/runtime", "/var/lang", "/opt", "/usr", "/lib", "/lib64", "/bin", "/sbin", "/etc", "/run/thaw"}

// Spec is what one sandbox is for. A backend that keeps blank sandboxes binds one to the Spec at Create.
type Spec struct {
	ID        ID
	MemoryMiB int     // limit for everything the function's processes hold; the backend adds what it needs itself
	TmpMiB    int     // size of /tmp; does not count into MemoryMiB
	CPUs      float64 // 0: no limit
	// Processors is how many the function's programs find, where a backend makes them (microVMs); 0: one.
	Processors int
	Mounts     []Mount
}

// Capabilities say what a backend can do; a caller asks here instead of asserting types.
type Capabilities struct {
	Isolates    bool // processes see nothing of the host
	Mounts      bool // paths inside are real; otherwise translate them with Translate
	Images      bool // a Mount may be an image
	LimitsCPU   bool
	LimitsMem   bool
	Snapshots   bool
	BlankReady  int    // how many blank sandboxes it keeps
	LateMemory  bool   // a restored sandbox runs before its memory is there: sources need no local files
	SnapshotKey string // names all of the backend that a snapshot depends on: only under the same key can it be restored
	UID, GID    int    // whom the runtime runs as; -1: as the server does
	ManyPerHost bool   // several guests share the host's loopback: the guest must choose a free port
}

// Backend makes sandboxes. Open functions of the backends return a Backend that has already swept what an earlier server left.
type Backend interface {
	Name() string // gvisor, process
	Capabilities() Capabilities
	// Create returns a running sandbox whose guest waits for Start; ctx bounds the creation only.
	// *ResourceError when the host has no room for it now.
	Create(ctx context.Context, spec Spec) (Sandbox, error)
	// Restore returns a running sandbox that goes on where the snapshot was taken. Its guest waits for wire.Restored on a new stream.
	// Mounts of the Spec must show what they showed then: nobody checks that here. ctx bounds the restore only. *SnapshotError, or *ResourceError.
	Restore(ctx context.Context, spec Spec, src SnapshotSource) (Sandbox, error)
	// Close ends every sandbox that is left, and whatever the backend keeps for itself.
	Close() error
}

// Sandbox is one running sandbox. Methods may be called from any goroutine; Freeze and Thaw from one at a time.
type Sandbox interface {
	ID() ID
	// Conn is the host end of the one stream. The owner reads and writes it; Close closes it.
	Conn() net.Conn
	// Freeze returns when nothing in the sandbox runs any more; Thaw when it can run again. Both are idempotent, hold
	// for any length of time between them, and return early when Close begins. After an error only Close is left; after
	// one of Thaw, nothing in the sandbox has run since the freeze.
	Freeze() error
	Thaw() error
	// MemoryUsed is what the function's processes hold now, in bytes, without the sandbox's own share and without /tmp.
	MemoryUsed() (int64, error)
	// MemoryExceeded receives once each time the limit is reached and something must be killed; the owner sends
	// wire.KindOutOfMemory. It never receives where Capabilities.LimitsMem is false.
	MemoryExceeded() <-chan struct{}
	// Exited is closed when the sandbox has ended; Exit then says why.
	Exited() <-chan struct{}
	Exit() Exit
	// Checkpoint saves the sandbox into sink. Its guest must have said wire.KindQuiesced: what is in the stream is lost
	// to the copies. It ends with its checkpoint, as if closed, also when that fails, and only Close is left. ctx bounds
	// it. *SnapshotError.
	Checkpoint(ctx context.Context, sink SnapshotSink) error
	// Close ends the sandbox now and removes all that belongs to it. It waits until that is done.
	Close() error
	// HostPath is where the host has a path that a backend without Mounts makes itself (/tmp); isolating backends return
	// their argument.
	HostPath(inside string) string
	// PIDs are host process ids of the sandbox, for ps and tests.
	PIDs() []int
	// Stages are how long the steps of Create took, in order.
	Stages() []Stage
}

// Stage is one named step of making a sandbox.
type Stage struct {
	Name    string
	Seconds float64
}

// Exit says how a sandbox ended.
type Exit struct {
	Asked       bool // by Close
	OutOfMemory bool // killed by the kernel at the memory limit
	Err         error
}

// ErrClosed is returned by calls on a sandbox or backend that was closed.
var ErrClosed = errors.New("sandbox is closed")

// ResourceError says that the host cannot carry one more sandbox now.
type ResourceError struct {
	Resource string // memory, network, processes, disk
	Err      error
}

func (e *ResourceError) Error() string {
	return fmt.Sprintf("no room for a sandbox: %s: %v", e.Resource, e.Err)
}
func (e *ResourceError) Unwrap() error { return e.Err }

// Translate gives the host path of a path inside, for backends whose Mounts capability is false: the longest
// Target that is the path or one of its folders is replaced by its Source. A path under no Target is returned as it is.
func Translate(mounts []Mount, inside string) string {
	best := -1
	for i, m := range mounts {
		if (inside == m.Target || strings.HasPrefix(inside, m.Target+"/")) && (best < 0 || len(m.Target) > len(mounts[best].Target)) {
			best = i
		}
	}
	if best < 0 {
		return inside
	}
	return mounts[best].Source + strings.TrimPrefix(inside, mounts[best].Target)
}
