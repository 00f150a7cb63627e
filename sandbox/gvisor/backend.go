// Package gvisor runs each sandbox on gVisor, a kernel in user space: nothing of the host's kernel is offered to a function but what
// that kernel itself needs, and no hardware virtualisation is asked for. It needs root.
//
// # Who does what
//
//	server process                                launcher process (thaw-sandbox, own mount namespace)
//	  Backend: blanks, cgroups, networks,  ---->    gVisor's library: forks, starts, mounts, ends
//	  freeze and thaw, memory                         |
//	     |  one stream each                           +-- runsc-sandbox + runsc-gofer, one pair per sandbox
//	     +----------------------------------------------> guest (PID 1 inside)
//
// The server does not link gVisor: see package launch for why. Freeze, thaw and memory go straight from the server to the cgroup files.
//
// # Blank sandboxes
//
// A sandbox is made, started and waits with its guest up before anybody asks for it. It knows no function: its root is a folder of
// empty mount points inside a shared mount. Create takes a blank one, sets its limits and mounts the function's files in.
//
// # Snapshots
//
// A snapshot is written by the sandbox into files of ours, and read by the sandbox from files of ours: see packages
// agent and launcher in cmd/thaw-sandbox. From the first one on there are blank sandboxes of a second kind (making.Shelf):
// not started, but through all of a restore that is the same for every snapshot. Restore gives one of them its
// snapshot, then its limits and mounts, and lets it run.
//
// # Owners and lock order
//
// Backend owns the launcher, the goroutines that keep its two shelves, the readers of snapshot sources and all
// sandboxes; a Sandbox owns two goroutines (exit watcher, console) and, with a memory limit, one more. Backend.mu is
// taken before Sandbox.mu; neither is held over I/O, except Sandbox.freezeMu over a write to the freezer.
package gvisor

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"thaw/sandbox"
	"thaw/sandbox/gvisor/launch"
	"thaw/sandbox/host"
	"thaw/sandbox/host/cgroup"
	"thaw/sandbox/host/etc"
	"thaw/sandbox/host/making"
	"thaw/sandbox/host/network"
)

// Options say where and how.
type Options struct {
	Dir        string // absolute; the backend's own folder, made if missing; one live backend per folder
	SandboxExe string // absolute path of thaw-sandbox
	GuestExe   string // absolute path of the static thaw-guest
	Blank      int    // blank sandboxes kept ready; 0: DefaultBlank, negative: none
	Network    network.Options
	Log        *slog.Logger
	Debug      bool // keep gVisor's debug logs in Dir/debug

	onlyV2 bool                               // for tests: see cgroup.Open
	spoil  func(step string, done bool) error // for tests: has a step fail, before it is done or after
}

// DefaultBlank is how many blank sandboxes are kept ready unless told otherwise: one to take and one being made.
const DefaultBlank = 2

// Backend implements sandbox.Backend. It is opened with Open.
type Backend struct {
	opt    Options
	log    *slog.Logger
	lock   *os.File
	runDir *os.File // gVisor's own state
	hash   string   // tells it from other backends of the host
	groups *cgroup.Hierarchies
	nets   *network.Networks // nil: loopback only
	skel   *skeleton
	key    string // see snapshotKey
	images bool   // this host mounts images

	launchMu sync.Mutex // one start at a time; guards launch
	launch   *launch.Launcher

	cancel context.CancelFunc // ends what makes sandboxes
	wg     sync.WaitGroup     // who keeps the shelves, and sandboxes being made
	make   *semaphore.Weighted

	mu     sync.Mutex // guards what follows
	blanks *making.Shelf[*Sandbox]
	armed  *making.Shelf[*Sandbox] // from the first restore or checkpoint on: a server without snapshots has none
	live   map[*Sandbox]struct{}   // whole ones, also blank
	ids    map[sandbox.ID]bool     // of those that are not blank, and of those being created
	closed bool
	seq    uint64
}

// Open sweeps what an earlier server left in o.Dir and starts the backend. It waits, until ctx ends, for the last processes of an earlier
// server to go; a folder in use by a live one is refused then.
func Open(ctx context.Context, o Options) (*Backend, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("gvisor needs root")
	}
	if !filepath.IsAbs(o.Dir) {
		return nil, fmt.Errorf("gvisor folder %q is not absolute", o.Dir)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Blank == 0 {
		o.Blank = DefaultBlank
	}
	b := &Backend{opt: o, log: o.Log, live: make(map[*Sandbox]struct{}), ids: make(map[sandbox.ID]bool), make: semaphore.NewWeighted(2)}
	life, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.blanks, b.armed = b.shelf(life, blankSteps, 0), b.shelf(life, armedSteps, rearmPause)
	if err := b.open(ctx); err != nil {
		cancel()
		b.wg.Wait()
		return nil, errors.Join(err, b.release())
	}
	b.mu.Lock()
	b.blanks.WantLocked()
	b.mu.Unlock()
	return b, nil
}

// rearmPause is as long as a restore and its first invoke take on a busy machine.
const rearmPause = 200 * time.Millisecond

// shelf keeps sandboxes of one kind ready, which steps lead to. A backend has two: of blank sandboxes, whose guest is up,
// and of armed ones, which wait for a snapshot.
func (b *Backend) shelf(life context.Context, steps []step, pause time.Duration) *making.Shelf[*Sandbox] {
	return &making.Shelf[*Sandbox]{
		What: "blank sandbox", Stage: "blank", Size: max(b.opt.Blank, 0), Pause: pause, Ctx: life, Log: b.log, Turns: b.make, Group: &b.wg,
		Make: func(ctx context.Context, clock *making.Clock, patient bool) (*Sandbox, error) {
			return b.makeSandbox(ctx, clock, patient, steps)
		},
		Name: func(s *Sandbox) string { return s.name },
		Mu:   &b.mu, Closed: &b.closed,
	}
}

func (b *Backend) open(ctx context.Context) (err error) {
	if err := os.MkdirAll(b.opt.Dir, 0o700); err != nil {
		return fmt.Errorf("gvisor folder: %w", err)
	}
	b.hash = host.Hash(b.opt.Dir)
	if b.lock, err = host.Lock(ctx, filepath.Join(b.opt.Dir, "lock")); err != nil {
		return err
	}
	if b.groups, err = cgroup.Open(b.hash, b.opt.onlyV2); err != nil {
		return err
	}
	left, err := b.sweep()
	if err != nil {
		return fmt.Errorf("sweep of %s: %w", b.opt.Dir, err)
	}
	b.wg.Go(func() { // beside the start, which it would double
		if err := left.remove(); err != nil {
			b.log.Warn("something of an earlier server's sandboxes stays until the next start", "error", err)
		}
	})
	for _, d := range []string{"run", "sandboxes"} {
		if err := os.Mkdir(filepath.Join(b.opt.Dir, d), 0o711); err != nil {
			return fmt.Errorf("gvisor folder: %w", err)
		}
	}
	nets, dns, err := network.Open(b.opt.Dir, b.hash, b.opt.Network, b.log)
	if err != nil { // many functions need none
		b.log.Warn("sandboxes have no network but their loopback", "err", err)
	}
	b.nets = nets
	if b.skel, err = makeSkeleton(filepath.Join(b.opt.Dir, "skeleton"), b.opt.GuestExe, dns); err != nil {
		return err
	}
	b.images = mountsImages()
	if b.key, err = b.snapshotKey(); err != nil {
		return err
	}
	if b.runDir, err = os.Open(filepath.Join(b.opt.Dir, "run")); err != nil {
		return fmt.Errorf("gvisor folder: %w", err)
	}
	_, err = b.launcher()
	return err
}

// launcher returns the launcher, a new one when the last has died: its sandboxes died with it, those to come need not.
func (b *Backend) launcher() (*launch.Launcher, error) {
	b.launchMu.Lock()
	defer b.launchMu.Unlock()
	if b.launch != nil {
		select {
		case <-b.launch.Gone():
		default:
			return b.launch, nil
		}
		said, _ := os.ReadFile(b.launcherLog())
		b.log.Error("launcher died, and its sandboxes with it", "said", string(said[:min(len(said), 2000)]))
		b.launch.Close()
		b.launch = nil
	}
	stderr, err := os.OpenFile(b.launcherLog(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("launcher log: %w", err)
	}
	defer stderr.Close()
	b.launch, err = launch.Open(b.opt.SandboxExe, b.runDir, b.lock, stderr)
	return b.launch, err
}

func (b *Backend) launcherLog() string { return filepath.Join(b.opt.Dir, "launcher.log") }

// release gives back all that open took, in reverse.
func (b *Backend) release() error {
	var errs []error
	if b.launch != nil {
		errs = append(errs, b.launch.Close())
	}
	if b.runDir != nil {
		b.runDir.Close()
	}
	if b.nets != nil {
		errs = append(errs, b.nets.Close())
	}
	if b.groups != nil {
		left, err := b.sweep()
		errs = append(errs, err, left.remove())
		b.groups.RemoveParents()
	}
	if b.lock != nil {
		os.Remove(b.launcherLog())
		os.Remove(b.lock.Name())
		b.lock.Close()
	}
	return errors.Join(errs...)
}

// Name implements sandbox.Backend.
func (b *Backend) Name() string { return "gvisor" }

// Capabilities implements sandbox.Backend.
func (b *Backend) Capabilities() sandbox.Capabilities {
	return sandbox.Capabilities{
		Isolates: true, Mounts: true, Images: b.images,
		LimitsCPU: b.groups.HasCPU(), LimitsMem: b.groups.HasMemory(),
		BlankReady: max(b.opt.Blank, 0), UID: etc.UserID, GID: etc.GroupID,
		Snapshots: true, SnapshotKey: b.key,
	}
}

// Create implements sandbox.Backend.
func (b *Backend) Create(ctx context.Context, spec sandbox.Spec) (_ sandbox.Sandbox, err error) {
	if err := b.reserve(spec); err != nil {
		return nil, err
	}
	clock := making.NewClock()
	s, err := b.blanks.Take(ctx, clock)
	if err != nil {
		b.unreserve(spec)
		return nil, err
	}
	s.become(spec)
	if _, err := s.run(ctx, clock, createSteps); err != nil {
		return nil, errors.Join(fmt.Errorf("sandbox %s: %w", spec.ID, err), s.Close())
	}
	s.stages = clock.Stages
	return s, nil
}

// reserve checks a spec and takes its name. Close of the sandbox gives that back; unreserve does where none came to be.
func (b *Backend) reserve(spec sandbox.Spec) error {
	if err := spec.Check(); err != nil {
		return err
	}
	for _, m := range spec.Mounts {
		if m.Image && !b.images {
			return fmt.Errorf("mount %s at %s: this host mounts no images", m.Source, m.Target)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ids[spec.ID] {
		return fmt.Errorf("sandbox %s is there already", spec.ID)
	}
	b.ids[spec.ID] = true
	return nil
}

func (b *Backend) unreserve(spec sandbox.Spec) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.ids, spec.ID)
}

// newName returns a name for a sandbox that no other ever had: blanks are made before they are anybody's.
func (b *Backend) newName() string {
	var r [4]byte
	rand.Read(r[:])
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seq++
	return fmt.Sprintf("s%d-%s", b.seq, hex.EncodeToString(r[:]))
}

// Close implements sandbox.Backend.
func (b *Backend) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	var all []*Sandbox
	for s := range b.live {
		all = append(all, s)
	}
	b.mu.Unlock()
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
