// Package firecracker runs each sandbox in a virtual machine of its own: a microVM, with a kernel that nobody else has.
// It works with any monitor of package vmm: Firecracker in its jailer where the host has KVM, QEMU without hardware
// virtualisation for tests and machines of developers. The backend's name is its monitor's.
//
// # Who does what
//
//	server process                                 monitor's process (one for each slot)
//	  Backend: slots, images, cgroups,   ------->    machine: kernel, initramfs
//	  networks, freeze and thaw                        thaw-guest (PID 1)
//	     |  control (guest/control) ------------------>   mounts, memory, clock, randomness
//	     +- stream (guest/wire) ---------------------->   runtime
//
// # Slots
//
// A slot is all of a sandbox that is the same for every function: folder, group, network, and a monitor's process that
// waits, jailed, as a user of its own. Some are kept ready (making.Shelf). Create boots a machine in one, with the function's
// files as drives (disks.go); Restore lets a saved machine go on in one.
//
// # Snapshots
//
// The parts are the machine's state and memory as its monitor wrote them, the disk of /tmp, and a manifest that names
// all that must be the same to restore them (manifest.go). A memory that is a plain local file is shared by all machines
// that were restored from it. Whether a part is whole is looked at once for each file: see verified.
//
// # Owners and lock order
//
// Backend owns the goroutine that keeps its shelf, the readers of snapshot sources and all sandboxes; a Sandbox owns one
// goroutine that waits for its end and the one that reads its control connection. Backend.mu is taken before Sandbox.mu;
// neither is held over I/O, except Sandbox.freezeMu over a change of the freezer.
package firecracker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"thaw/guest/control"
	"thaw/sandbox"
	"thaw/sandbox/firecracker/images"
	"thaw/sandbox/firecracker/pages"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/host"
	"thaw/sandbox/host/cgroup"
	"thaw/sandbox/host/etc"
	"thaw/sandbox/host/making"
	"thaw/sandbox/host/network"
)

// Options say where and how.
type Options struct {
	Dir       string // absolute; the backend's own folder, made if missing; one live backend per folder
	Monitor   vmm.Monitor
	Kernel    string        // absolute path of an ELF vmlinux
	Initramfs string        // absolute path of an initramfs whose PID 1 is thaw-guest
	Args      string        // of the kernel's command line, beside the guest's and the monitor's own
	Images    *images.Store // the caller's, who closes it after the backend
	Slots     int           // kept ready; 0: DefaultSlots, negative: none
	Network   network.Options
	// FirstUID begins the range of users that monitors run as, one for each slot; 0: a range that no host's own users
	// have. Negative: as the server does, for monitors that hold no jail.
	FirstUID int
	// WorkingSets is a folder for what machines ask for after a restore, so that the next one has it before. Empty: Monitor
	// does not serve Saved.Pages while its machine runs, and a snapshot's memory is made a file first.
	WorkingSets string
	// OverheadMiB is what a monitor's process needs beside its machine's memory; 0: what Firecracker does.
	OverheadMiB int
	Log         *slog.Logger

	spoil func(step string, done bool) error // for tests: has a step fail, before it is done or after
}

// DefaultSlots is how many slots are kept ready unless told otherwise: one to take and one being made.
const DefaultSlots = 2

// Backend implements sandbox.Backend. It is opened with Open.
type Backend struct {
	opt    Options
	log    *slog.Logger
	lock   *os.File
	groups *cgroup.Hierarchies
	nets   *network.Networks // nil: loopback only
	files  map[string][]byte // of every root
	made   madeOf            // what snapshots depend on
	key    string            // see snapshotKey
	uids   *uids             // nil: monitors run as the server does
	sets   *pages.Sets       // nil: memory is not served

	inMemory bool // what lies in the folder takes memory

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup      // who keeps the shelf, readers of sources, and sandboxes being made
	make   *semaphore.Weighted // slots being made
	boots  *semaphore.Weighted // machines that boot: each takes a whole processor

	verified *verified
	work     work
}

// work is what a backend has under way.
type work struct {
	mu     sync.Mutex // guards what follows
	slots  *making.Shelf[*Sandbox]
	live   map[*Sandbox]struct{} // whole slots, also those that are nobody's
	ids    map[sandbox.ID]bool   // of those that are somebody's, and of those being created
	closed bool
	seq    uint64
}

// Open sweeps what an earlier server left in o.Dir and starts the backend. It waits, until ctx ends, for the last
// processes of an earlier server to go; a folder in use by a live one is refused then.
func Open(ctx context.Context, o Options) (*Backend, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("microVMs need root")
	}
	for _, p := range []string{o.Dir, o.Kernel, o.Initramfs} {
		if !filepath.IsAbs(p) {
			return nil, fmt.Errorf("path %q of the microVM backend is not absolute", p)
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	o.Args = strings.TrimSpace(control.KernelArgs + " " + o.Args)
	if o.Slots == 0 {
		o.Slots = DefaultSlots
	}
	if o.OverheadMiB == 0 {
		o.OverheadMiB = firecrackerMiB
	}
	b := &Backend{
		opt: o, log: o.Log, make: semaphore.NewWeighted(2), boots: semaphore.NewWeighted(int64(max(2, runtime.NumCPU()))),
		verified: newVerified(), work: work{live: make(map[*Sandbox]struct{}), ids: make(map[sandbox.ID]bool)},
	}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.work.slots = &making.Shelf[*Sandbox]{
		What: "slot", Stage: "slot", Size: max(o.Slots, 0), Ctx: b.ctx, Log: b.log, Turns: b.make, Group: &b.wg,
		Make: b.makeSlot, Name: func(s *Sandbox) string { return s.name },
		Mu: &b.work.mu, Closed: &b.work.closed,
	}
	if err := b.open(ctx); err != nil {
		b.cancel()
		b.wg.Wait()
		return nil, errors.Join(err, b.release())
	}
	b.work.mu.Lock()
	b.work.slots.WantLocked()
	b.work.mu.Unlock()
	return b, nil
}

func (b *Backend) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(b.opt.Dir, 0o711); err != nil {
		return fmt.Errorf("folder of microVMs: %w", err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(b.opt.Dir, &fs); err != nil {
		return fmt.Errorf("folder of microVMs: %w", err)
	}
	b.inMemory = fs.Type == unix.TMPFS_MAGIC || fs.Type == unix.RAMFS_MAGIC
	hash := host.Hash(b.opt.Dir)
	if b.lock, err = host.Lock(ctx, filepath.Join(b.opt.Dir, "lock")); err != nil {
		return err
	}
	if b.groups, err = cgroup.Open(hash, false); err != nil {
		return err
	}
	left, err := b.sweep()
	if err != nil {
		return fmt.Errorf("sweep of %s: %w", b.opt.Dir, err)
	}
	b.wg.Go(func() { // beside the start, which it would double
		if err := left.remove(); err != nil {
			b.log.Warn("something of an earlier server's microVMs stays until the next start", "error", err)
		}
	})
	for _, d := range []string{sandboxesDir, scratchDir} {
		if err := os.Mkdir(filepath.Join(b.opt.Dir, d), 0o711); err != nil {
			return fmt.Errorf("folder of microVMs: %w", err)
		}
	}
	var dns []netip.Addr
	if b.nets, dns, err = network.Open(b.opt.Dir, hash, b.opt.Network, b.log); err != nil { // many functions need none
		b.log.Warn("sandboxes have no network but their loopback", "err", err)
	}
	if b.files, err = etc.Files(dns); err != nil {
		return err
	}
	if text, ok := b.files[etc.Certificates]; ok {
		b.files[etc.CertificatesToo] = text
	}
	if b.opt.FirstUID >= 0 {
		b.uids = newUIDs(b.opt.FirstUID, hash)
	}
	if b.opt.WorkingSets != "" {
		if b.sets, err = pages.OpenSets(b.opt.WorkingSets); err != nil {
			return err
		}
	}
	if b.made, err = b.madeOf(); err != nil {
		return err
	}
	b.key = b.made.key()
	return nil
}

// release gives back all that open took, in reverse.
func (b *Backend) release() error {
	var errs []error
	if b.nets != nil {
		errs = append(errs, b.nets.Close())
	}
	if b.groups != nil {
		left, err := b.sweep()
		errs = append(errs, err, left.remove())
		b.groups.RemoveParents()
	}
	if b.lock != nil {
		os.Remove(b.lock.Name())
		b.lock.Close()
	}
	return errors.Join(errs...)
}

// Name implements sandbox.Backend: it is the monitor's, firecracker or qemu.
func (b *Backend) Name() string { return b.opt.Monitor.Name() }

// Capabilities implements sandbox.Backend.
func (b *Backend) Capabilities() sandbox.Capabilities {
	return sandbox.Capabilities{
		Isolates: true, Mounts: true, Images: true,
		LimitsCPU: b.groups.HasCPU(), LimitsMem: true, // the machine's own kernel limits memory
		BlankReady: max(b.opt.Slots, 0), UID: etc.UserID, GID: etc.GroupID,
		Snapshots: true, SnapshotKey: b.key, LateMemory: b.sets != nil,
	}
}

// Close implements sandbox.Backend.
func (b *Backend) Close() error {
	b.work.mu.Lock()
	if b.work.closed {
		b.work.mu.Unlock()
		return nil
	}
	b.work.closed = true
	var all []*Sandbox
	for s := range b.work.live {
		all = append(all, s)
	}
	b.work.mu.Unlock()
	b.cancel() // those being made see closed and undo themselves
	var wg sync.WaitGroup
	errs := make([]error, len(all))
	for i, s := range all {
		wg.Go(func() { errs[i] = s.Close() })
	}
	wg.Wait()
	b.wg.Wait()
	return errors.Join(append(errs, b.release())...)
}

// Folders in the backend's own.
const (
	sandboxesDir = "sandboxes" // one for each slot
	scratchDir   = "scratch"   // files without a name
)
