// Package vmm declares what the microVM backend asks of a virtual machine monitor, and nothing that only one of them has.
//
// Monitors: jail (Firecracker in its jailer, for hosts with KVM) and qemu (QEMU's microvm machine without hardware
// virtualisation, for tests and for machines of developers that have no KVM). Both boot the same kernel and initramfs
// (see package guest/machine), and both pass the suite in vmmtest.
//
// Life of a machine:
//
//	Open -> Boot    -> [Pause -> Resume]* -> Close
//	     -> Restore ->   |
//	                     +-- Snapshot -> Close
package vmm

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"

	"thaw/sandbox/firecracker/pages"
	"thaw/sandbox/host/cgroup"
)

// Monitor makes machines. It holds nothing that would have to be closed.
type Monitor interface {
	Name() string // firecracker, qemu
	// Key names all of the monitor and of this host that a snapshot depends on (version, processor).
	Key() string
	// Open starts a monitor's process that waits for Boot or Restore: a slot, made before anybody asks for it.
	Open(ctx context.Context, s Slot) (Machine, error)
}

// Slot is where a machine runs. All of it belongs to the caller, who removes it when the machine is closed.
type Slot struct {
	Name  string        // unique on this host: letters, digits and hyphens, at most 48
	Dir   string        // absolute; exists, is empty
	UID   int           // whom the monitor's process runs as, with GID; 0: the caller
	GID   int           //
	Group *cgroup.Group // where its processes begin; nil: where the caller is
	// Network is the network namespace with the device Tap in it; nil: the machine has no network device.
	Network *os.File
	Tap     string
	Console io.Writer // takes what the monitor's process says, and the machine's console where it has one
}

// Config is what a machine is made of. To restore, it must be what it was when the snapshot was taken, but for the
// content of drives that are writable, which the caller has saved with it.
type Config struct {
	Processors int // 0: one
	MemoryMiB  int
	Kernel     string // absolute path of an ELF vmlinux
	Initramfs  string // absolute path
	Args       string // of the kernel's command line, beside what the monitor needs itself
	Drives     []Drive
}

// Drive is a disk of the machine: the first is /dev/vda, the second /dev/vdb.
type Drive struct {
	Path     string // absolute; a read-only one is shared by many machines
	Writable bool
}

// Saved is a snapshot of a machine.
type Saved struct {
	State *os.File // from Snapshot
	// Memory is a plain local file that nobody writes as long as a machine that was restored from it runs: machines
	// share its pages. nil: Pages has it.
	Memory *os.File
	Pages  Pages
	// WorkingSet is of Pages: these go into the machine before it asks for them. Trace, unless nil, takes what it asks for.
	WorkingSet pages.WorkingSet
	Trace      *pages.Trace
}

// Pages serves memory to a machine that is already running. It is read at any offset, by several at once.
type Pages interface {
	io.ReaderAt
	Size() int64
}

// Machine is one process of the monitor, and the machine in it. Boot or Restore is called once. Methods may be called
// from any goroutine, but for Pause, Resume and Snapshot, which are called one at a time.
type Machine interface {
	// Boot starts the machine; it returns before the kernel has.
	Boot(ctx context.Context, c Config) error
	// Restore lets a machine go on where it was saved. What was connected to its ports is not any more.
	Restore(ctx context.Context, c Config, s Saved) error
	// Dial connects to a port of the guest that it listens on; it waits until it does, or ctx ends. One connection at a
	// time to each port.
	Dial(ctx context.Context, port uint32) (net.Conn, error)
	// Pause stops the processors; Resume lets them go on. Both are idempotent. The freezer of the group stops more, and
	// costs less: Pause is for Snapshot.
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
	// Snapshot writes a paused machine into two empty files. The machine stays paused, and only Close is left.
	Snapshot(ctx context.Context, state, memory *os.File) error
	// PIDs are processes of the host; the first is the one that the machine ends with.
	PIDs() []int
	// Exited is closed when the monitor's process has ended; Err says why then. nil: the machine has ended itself, or was
	// closed.
	Exited() <-chan struct{}
	Err() error
	// Close ends the process and returns when it is gone. It may be called at any time, more than once.
	Close() error
}

// MissingError says that a monitor cannot run here, and what would help.
type MissingError struct {
	What string // which is missing: a program, a device
	Hint string // what to type
}

func (e *MissingError) Error() string {
	if e.Hint == "" {
		return e.What
	}
	return fmt.Sprintf("%s; type: %s", e.What, e.Hint)
}
