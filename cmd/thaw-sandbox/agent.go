package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/sentry/state/stateipc"
	"gvisor.dev/gvisor/pkg/unet"
	"gvisor.dev/gvisor/pkg/urpc"

	"thaw/sandbox/gvisor/launch"
)

// # How a sandbox is restored
//
// gVisor's restore asks a server for three files, over a protocol for checkpoints kept elsewhere (package stateipc). That server is in the
// sandbox's own process, so that the pages of a function are charged to the function's cgroup, and nothing but the sandbox has to be scheduled:
//
//	launcher                    runsc-sandbox
//	  Agent.Arm(socket)  ---->    Agent: serves the socket's end, knows no snapshot yet; gets memory ready for a likely one (reserve.go)
//	  containerManager.Restore -> gVisor: reads the header (ours, the same for all), starts the platform, installs seccomp, asks for more
//	  Agent.Parked       ---->    returns now: everything that is the same for all restores is done
//	  Agent.Give(files)  ---->    checks them; pages begin to load
//	  Agent.Go           ---->    the kernel's state begins to load, while the launcher mounts the function's files
//	  Agent.Bound        ---->    the end of the state may be read: what follows it opens those files
//	  <- containerManager.Restore returns: the guest runs
//	  Agent.Learned      ---->    later, before a freeze: what the next restore of this snapshot is told (touch.go, reserve.go)
//
// The agent works under gVisor's own seccomp filter: nothing here may open, create or look up anything after Arm.

// Agent answers the launcher (urpc allows no other exported methods on it).
type Agent struct{ agent }

type agent struct {
	src source
}

// streamFD is the number that the guest's stream has in every sandbox's process: gVisor saves the number of a socket that the host gave, and at the
// restore looks there for the socket's kind. Source: HostSender.afterLoad, pkg/sentry/socket/unix/transport/save_restore.go.
const streamFD = 900

// takeSockets removes our own sockets from the descriptors that gVisor would give to the guest, and returns them by
// their numbers. gVisor runs its program a second time when it has set up the sandbox's root, with the flags that it
// was given; the sockets are for that run.
func takeSockets() map[string]*os.File {
	if slices.Contains(os.Args, "--setup-root") && !slices.Contains(os.Args, "--apply-caps=true") {
		return nil
	}
	taken := map[string]*os.File{}
	var args []string
	for _, a := range os.Args {
		v, ok := strings.CutPrefix(a, "--pass-fd=")
		if !ok {
			args = append(args, a)
			continue
		}
		for pair := range strings.SplitSeq(v, ",") {
			host, guest, _ := strings.Cut(pair, ":")
			fd, err := strconv.Atoi(host)
			switch {
			case err == nil && (guest == strconv.Itoa(launch.AgentFD) || guest == strconv.Itoa(launch.ControlFD)):
				unix.CloseOnExec(fd)
				taken[guest] = os.NewFile(uintptr(fd), "socket "+guest)
				continue
			case err == nil && guest == strconv.Itoa(launch.StreamFD) && unix.Dup3(fd, streamFD, unix.O_CLOEXEC) == nil:
				unix.Close(fd)
				pair = fmt.Sprintf("%d:%s", streamFD, guest)
			}
			args = append(args, "--pass-fd="+pair)
		}
	}
	os.Args = args
	return taken
}

// serveSockets answers launcher and server.
func serveSockets(taken map[string]*os.File) error {
	if f := taken[strconv.Itoa(launch.AgentFD)]; f != nil {
		if err := startAgent(f); err != nil {
			return fmt.Errorf("agent: %w", err)
		}
	}
	if f := taken[strconv.Itoa(launch.ControlFD)]; f != nil {
		if err := serveSocket(f, new(Control)); err != nil {
			return fmt.Errorf("control: %w", err)
		}
	}
	return nil
}

// startAgent serves the launcher.
func startAgent(f *os.File) error {
	a := new(Agent)
	a.src.init()
	return serveSocket(f, a)
}

// serveSocket has an object answer one socket. Its goroutines live as long as the process.
func serveSocket(f *os.File, methods any) error {
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		return err
	}
	unix.CloseOnExec(fd)
	f.Close()
	sock, err := unet.NewSocket(fd)
	if err != nil {
		return err
	}
	srv := urpc.NewServer()
	srv.Register(methods)
	srv.StartHandling(sock)
	return nil
}

// ArmArgs begin a restore. The file is the server's end of the socket that gVisor's restore reads from.
type ArmArgs struct {
	urpc.FilePayload
	Header  []byte
	Reserve []byte // where pages are likely to lie: appendRange, again and again
}

// Arm is called before containerManager.Restore.
func (a *Agent) Arm(args *ArmArgs, _ *struct{}) error {
	fd, err := args.ReleaseFD(0)
	if err != nil {
		return err
	}
	widen()
	mapProgram()
	warmHeap()
	pauseCollector()
	a.src.head = args.Header
	a.src.reserve.want = readRanges(args.Reserve)
	srv, err := stateipc.NewAsyncFileServer(&files{src: &a.src})
	if err != nil {
		fd.Close()
		return err
	}
	sock, err := unet.NewSocket(fd.Release())
	if err != nil {
		return err
	}
	s := urpc.NewServer()
	s.Register(srv)
	s.StartHandling(sock)
	return nil
}

// Parked returns when gVisor waits for what Give brings, or has failed.
func (a *Agent) Parked(_, _ *struct{}) error {
	a.src.mu.Lock()
	defer a.src.mu.Unlock()
	for !a.src.parked && a.src.err == nil {
		a.src.news.Wait()
	}
	return a.src.err
}

// Abandon ends every wait of the agent's callers: the restore has ended.
func (a *Agent) Abandon(_, _ *struct{}) error {
	a.src.fail(fmt.Errorf("abandoned"))
	return nil
}

// GiveArgs bring a snapshot: files state, pages_meta, pages, and with Progress a pipe on which arrives, in 8 bytes each, how much of the pages is there.
type GiveArgs struct {
	urpc.FilePayload
	Progress bool
	Key      string
	Layout   []byte // where its pages lie, if that is known: appendRange, again and again
}

// Give checks a snapshot and lets its pages load.
func (a *Agent) Give(args *GiveArgs, out *Made) error {
	m, err := a.src.give(args)
	if err != nil {
		a.src.fail(err)
		return err
	}
	*out = *m
	return nil
}

// GoArgs bring what earlier restores of the snapshot touched first: appendTouch, again and again.
type GoArgs struct{ Touched []byte }

// Go lets the kernel's state load.
func (a *Agent) Go(args *GoArgs, _ *struct{}) error {
	a.src.mu.Lock()
	defer a.src.mu.Unlock()
	if a.src.made == nil {
		return fmt.Errorf("nothing was given")
	}
	a.src.mark(markGo)
	touched.learn(readTouches(args.Touched))
	forkID.enter(a.src.made.Generation+1, a.src.made.Programs)
	a.src.going = true
	a.src.news.Broadcast()
	return nil
}

// Bound lets the end of the kernel's state load: the function's files are in their places.
func (a *Agent) Bound(_, _ *struct{}) error {
	a.src.mu.Lock()
	defer a.src.mu.Unlock()
	a.src.bound = true
	a.src.mark(markBound)
	a.src.news.Broadcast()
	return nil
}

// Marks are what a restore has passed, each with the time since Give and the processor time that the sandbox had used by then.
func (a *Agent) Marks(_ *struct{}, out *[]launch.Mark) error {
	a.src.mu.Lock()
	defer a.src.mu.Unlock()
	a.src.mark(markDone)
	*out = a.src.marks
	time.AfterFunc(trimAfter, a.src.trim)
	return nil
}

// Learned is what the next restore of the same snapshot is told.
type Learned struct {
	Touched []byte // appendTouch, again and again
	Layout  []byte // appendRange, again and again
}

// LearnedArgs ask what was learned; Last says that nobody will ask again.
type LearnedArgs struct{ Last bool }

// Learned may be called once the kernel runs.
func (a *Agent) Learned(args *LearnedArgs, out *Learned) error {
	*out = Learned{touched.all(), a.src.reserve.layout()}
	if args.Last {
		touched.stop()
	}
	return nil
}

// Trim gives back what the restore needed once. It returns when that is done.
func (a *Agent) Trim(_, _ *struct{}) error {
	a.src.trim()
	return nil
}

// trimAfter is for a sandbox that is not frozen soon after its restore; the server asks for Trim before it freezes one.
const trimAfter = 2 * time.Second

func (s *source) trim() {
	s.trimOnce.Do(func() {
		narrow()
		s.mu.Lock()
		s.state, s.meta, s.head, s.blocks = nil, nil, nil, nil // all has been read
		s.mu.Unlock()
		resumeCollector()
	})
}

// restoreProcs is how many goroutines may run at once while a kernel loads. gVisor gives its runtime as many places as there are cores, and a goroutine
// that waits in a system call keeps its place until the runtime's monitor, which sleeps for up to 10 ms in an idle process, takes it away: two that connected to the
// file server kept everybody else waiting for 15 ms of each restore on two cores. Each place has memory of its own for every size of object: eight are no faster, and take 0.8 MB more.
const restoreProcs = 4

// mapProgram maps what of our own program is in the host's cache, as far as it is: the kernel's state decodes with code and types that a sandbox has never
// run before, and each first touch was a fault on the way of a restore. It changes no memory that is counted as ours. Best effort.
func mapProgram() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	exe := ""
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line) // range permissions offset device inode path
		if len(f) < 6 {
			continue
		}
		if exe == "" {
			exe = f[5] // the program comes first
		}
		from, to, _ := strings.Cut(f[0], "-")
		lo, err1 := strconv.ParseUint(from, 16, 64)
		hi, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil && f[5] == exe && strings.HasPrefix(f[1], "r") && f[1][1] == '-' {
			unix.Syscall(unix.SYS_MADVISE, uintptr(lo), uintptr(hi-lo), unix.MADV_POPULATE_READ)
		}
	}
}

// warmBytes is how much of its own heap a sandbox has ready for the kernel that it is going to load.
const warmBytes = 12 << 20

// warmHeap touches memory that the load is going to need: each page that the heap grows by is a fault, and one that the host clears first. It stays where it is
// as long as the collector pauses, and resumeCollector gives back what was not used.
func warmHeap() {
	b := make([]byte, warmBytes)
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 1
	}
	runtime.KeepAlive(b)
	b = nil
	runtime.GC()
}

// usualProcs is what it was before widen.
var usualProcs int

func widen() { usualProcs = runtime.GOMAXPROCS(restoreProcs) }

func narrow() { runtime.GOMAXPROCS(usualProcs) }

// gcPercent is how far the sandbox's own heap may grow between collections. gVisor clears the sandbox's environment, so GOGC would not reach it. A sandbox
// allocates little and lives long: at the default its own heap doubles before it is collected, in every sandbox.
const gcPercent = 20

// restoreHeap is where the collector comes back during a restore, in bytes. The kernels of small functions need 10 to 20 MB to load, most of it garbage.
const restoreHeap = 96 << 20

// pauseCollector is for the time in which a kernel loads: a heap that grows from nothing is collected again and again, which took a third of a restore's
// processor time. It begins while the sandbox waits: each change stops the whole program, and the runtime would return what warmHeap touched within seconds.
func pauseCollector() {
	debug.SetMemoryLimit(restoreHeap)
	debug.SetGCPercent(-1)
}

// largeState is a kernel's state whose objects may need more than restoreHeap, in bytes: they take some ten times as
// much as their encoding.
const largeState = restoreHeap / 16

// paceCollector is for the load of a large state. What lives would soon be more than restoreHeap, and a collector that
// cannot get below its limit runs all the time. So it runs as the heap grows, and the function's memory is taken for
// what lives and half as much.
func paceCollector() {
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(math.MaxInt64)
}

func resumeCollector() {
	debug.SetMemoryLimit(math.MaxInt64)
	debug.SetGCPercent(gcPercent)
	runtime.GC() // what pools keep goes with the second collection
	debug.FreeOSMemory()
}

const (
	markGive  = "given"
	markGo    = "go"
	markBound = "files bound"
	markState = "state read"
	markPages = "pages loaded"
	markDone  = "running"
)

// mark records a point of a restore. The lock is held.
func (s *source) mark(name string) {
	var ts unix.Timespec
	unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &ts)
	now := time.Now()
	if name == markGive {
		s.begin, s.cpu0 = now, ts.Nano()
	}
	s.marks = append(s.marks, launch.Mark{Name: name, Wall: now.Sub(s.begin).Seconds(), CPU: float64(ts.Nano()-s.cpu0) / 1e9})
}

// source is a snapshot as it is served to gVisor.
type source struct {
	trimOnce sync.Once
	mu       sync.Mutex // guards what follows
	news     sync.Cond
	head     []byte // set by Arm
	parked   bool
	given    bool
	going    bool
	bound    bool // the function's files are there
	drained  bool // the state was read to its end
	err      error

	reserve reserve

	made   *Made
	state  []byte // without its header
	meta   []byte
	pages  []byte // mapped
	ready  int64  // bytes of pages that are there
	copied int64
	blocks []byte // 0, blockTaken or blockChecked

	begin time.Time
	cpu0  int64
	marks []launch.Mark
}

func (s *source) init() { s.news.L = &s.mu }

func (s *source) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failLocked(err)
}

func (s *source) failLocked(err error) {
	if s.err == nil {
		s.err = err
	}
	s.news.Broadcast()
}

func (s *source) give(args *GiveArgs) (*Made, error) {
	want := 3
	if args.Progress {
		want++
	}
	if len(args.Files) != want {
		return nil, fmt.Errorf("%d descriptors", len(args.Files))
	}
	s.mu.Lock()
	twice := s.given
	s.given = true
	if !twice {
		s.mark(markGive)
	}
	s.mu.Unlock()
	if twice {
		return nil, fmt.Errorf("a snapshot was given before")
	}
	state, err := readAll(args.Files[0])
	if err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	made, body, err := splitState(state)
	if err != nil {
		return nil, err
	}
	if err := made.fits(args.Key); err != nil {
		return nil, err
	}
	meta, err := readAll(args.Files[1])
	if err != nil {
		return nil, fmt.Errorf("pages_meta: %w", err)
	}
	if err := made.check(body, meta); err != nil {
		return nil, err
	}
	var pages []byte
	if made.PagesSize > 0 {
		var st unix.Stat_t
		if err := unix.Fstat(int(args.Files[2].Fd()), &st); err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
		if st.Size != made.PagesSize {
			return nil, fmt.Errorf("%w: pages of %d bytes where %d were saved", errDamaged, st.Size, made.PagesSize)
		}
		if pages, err = unix.Mmap(int(args.Files[2].Fd()), 0, int(made.PagesSize), unix.PROT_READ, unix.MAP_SHARED); err != nil {
			return nil, fmt.Errorf("pages: %w", err)
		}
	}
	if len(body) > largeState {
		paceCollector()
	}
	s.reserve.fit(readRanges(args.Layout)) // before anything is written to it
	s.mu.Lock()
	defer s.mu.Unlock()
	s.made, s.state, s.meta, s.pages = made, body, meta, pages
	s.blocks = make([]byte, len(made.PagesSums))
	s.ready = made.PagesSize
	if args.Progress {
		s.ready = 0
		fd, err := args.ReleaseFD(3)
		if err != nil {
			return nil, err
		}
		go s.follow(fd)
	}
	s.news.Broadcast()
	return made, nil
}

func readAll(f *os.File) ([]byte, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Size > maxPart {
		return nil, fmt.Errorf("%w: %d bytes", errDamaged, st.Size)
	}
	b := make([]byte, st.Size)
	for n := 0; n < len(b); {
		m, err := unix.Pread(int(f.Fd()), b[n:], int64(n))
		if err != nil && err != unix.EINTR {
			return nil, err
		}
		if m == 0 && err == nil {
			return nil, fmt.Errorf("%w: it ended early", errDamaged)
		}
		n += max(m, 0)
	}
	return b, nil
}

// marshalHeader makes the head of every restore: what gVisor has to know before it asks for the kernel. Spaces pad it to the size of a read.
func marshalHeader(metadata map[string]string) ([]byte, error) {
	b, err := json.Marshal(metadata)
	if err != nil {
		return nil, err
	}
	if len(b) > headSize-16 {
		return nil, fmt.Errorf("header of %d bytes", len(b))
	}
	return appendHeader(nil, b, headSize), nil
}
