package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
	_ "unsafe" // for go:linkname

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/control/client"
	"gvisor.dev/gvisor/pkg/sentry/control"
	"gvisor.dev/gvisor/pkg/state/statefile"
	"gvisor.dev/gvisor/pkg/unet"
	"gvisor.dev/gvisor/pkg/urpc"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/version"

	"thaw/sandbox"
	"thaw/sandbox/gvisor/launch"
)

// snapshots is a box's part in saving and restoring.
type snapshots struct {
	agent      *urpc.Client
	running    chan error // of containerManager.Restore; nil: not armed
	generation uint32     // restores that lie behind it
	source     identity   // what was given
	known      lessons    // of it
}

// identity tells one snapshot from another: the file that its state comes in. A snapshot that comes in another file next time is learned anew.
type identity struct {
	dev, ino uint64
	size     int64
	mtime    unix.Timespec
}

func identityOf(f *os.File) (identity, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return identity{}, err
	}
	return identity{uint64(st.Dev), st.Ino, st.Size, st.Mtim}, nil
}

const (
	// maxTouched is of how many snapshots the launcher keeps something: some 45 kB each at most.
	maxTouched = 256
	// maxLessons is how often it takes something new of one snapshot. What only the fifth copy touches is better left to its own fault than mapped in all others.
	maxLessons = 4
)

// learned is what the launcher knows of each snapshot, as long as it lives. See touch.go and reserve.go.
type learned struct {
	mu    sync.Mutex // guards what follows
	of    map[identity]lessons
	order []identity // the one that was used last comes last
}

type lessons struct {
	touched []byte
	layout  []byte
	count   int // how often touched was taken
}

// use returns what is known of a snapshot that is about to be restored.
func (l *learned) use(id identity) lessons {
	l.mu.Lock()
	defer l.mu.Unlock()
	if i := slices.Index(l.order, id); i >= 0 {
		l.order = slices.Delete(l.order, i, i+1)
	}
	l.order = append(l.order, id)
	if len(l.order) > maxTouched {
		delete(l.of, l.order[0])
		l.order = slices.Delete(l.order, 0, 1)
	}
	return l.of[id]
}

// likely is the layout of the snapshot that was used last.
func (l *learned) likely() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.order) == 0 {
		return nil
	}
	return l.of[l.order[len(l.order)-1]].layout
}

// learn keeps what a sandbox says: addresses of that snapshot's own programs, and where its pages lie.
func (l *learned) learn(id identity, touched, layout []byte) {
	if len(touched) > maxTouches*touchSize || len(layout) > maxRanges*rangeSize {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.order, id) {
		return // others came since
	}
	k := l.of[id]
	k.layout = layout
	if len(touched) > len(k.touched) && k.count < maxLessons {
		k.touched = touched
		k.count++
	}
	if l.of == nil {
		l.of = make(map[identity]lessons)
	}
	l.of[id] = k
}

// open makes the agent's socket and returns the sandbox's end.
func (s *snapshots) open() (*os.File, error) {
	ours, theirs, err := socketPair("agent")
	if err != nil {
		return nil, err
	}
	s.agent = urpc.NewClient(ours)
	return theirs, nil
}

// close unblocks whoever waits for the agent, which has ended by now.
func (s *snapshots) close() {
	if s.agent != nil {
		s.agent.Socket.Close()
	}
}

func socketPair(name string) (*unet.Socket, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	sock, err := unet.NewSocket(fds[0])
	if err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		return nil, nil, fmt.Errorf("%s: %w", name, err)
	}
	return sock, os.NewFile(uintptr(fds[1]), name), nil
}

// setupNetwork gives a sandbox that is about to be restored the links of its network namespace, or only loopback.
//
//go:linkname setupNetwork gvisor.dev/gvisor/runsc/sandbox.setupNetwork
func setupNetwork(conn *urpc.Client, pid int, conf *config.Config, disableIPv6, isRestore bool) error

// arm brings a created sandbox to where it waits for a snapshot.
func (b *box) arm(reserve []byte) error {
	conn, err := client.ConnectTo(b.c.Sandbox.GetControlSocketPath())
	if err != nil {
		return fmt.Errorf("control socket: %w", err)
	}
	if err := setupNetwork(conn, b.c.SandboxPid(), b.conf, true, true); err != nil {
		conn.Close()
		return fmt.Errorf("network: %w", err)
	}
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		conn.Close()
		return fmt.Errorf("file server: %w", err)
	}
	gofer, server := os.NewFile(uintptr(fds[0]), "gofer"), os.NewFile(uintptr(fds[1]), "file server")
	defer server.Close()
	args := ArmArgs{FilePayload: urpc.FilePayload{Files: []*os.File{server}}, Reserve: reserve}
	args.Header, err = marshalHeader(map[string]string{
		"compression":          string(statefile.CompressionLevelNone),
		boot.VersionKey:        version.Version(),
		boot.ContainerCountKey: "1",
		// All our sandboxes have the same spec; Made.Key says so of those that were saved.
		boot.ContainerSpecsKey: "{}",
		"network":              b.conf.Network.String(),
	})
	if err == nil {
		err = b.snap.agent.Call("Agent.Arm", &args, nil)
	}
	if err != nil {
		conn.Close()
		gofer.Close()
		return fmt.Errorf("agent: %w", err)
	}
	b.snap.running = make(chan error, 1)
	go func() {
		opts := boot.RestoreOpts{UseCheckpointGofer: true, FilePayload: urpc.FilePayload{Files: []*os.File{gofer}}}
		err := conn.Call(boot.ContMgrRestore, &opts, nil)
		conn.Close()
		gofer.Close()
		b.snap.running <- err
	}()
	parked := make(chan error, 1)
	go func() { parked <- b.snap.agent.Call("Agent.Parked", nil, nil) }()
	select {
	case err := <-parked:
		return err
	case err := <-b.snap.running:
		return fmt.Errorf("restore ended early: %w", err)
	}
}

// failed names the stage that a restore did not survive.
func failed(stage string, err error) (launch.Reply, error) {
	return launch.Reply{Stage: stage}, err
}

func (b *box) give(req launch.Request, files []*os.File, l *learned) (launch.Reply, error) {
	if b.snap.running == nil {
		return failed(sandbox.StageLoad, errors.New("not armed"))
	}
	if len(files) == 0 {
		return failed(sandbox.StageHeader, errors.New("no files"))
	}
	var err error
	if b.snap.source, err = identityOf(files[0]); err != nil {
		return failed(sandbox.StageHeader, err)
	}
	b.snap.known = l.use(b.snap.source)
	args := GiveArgs{FilePayload: urpc.FilePayload{Files: files}, Progress: req.Progress, Key: req.Key, Layout: b.snap.known.layout}
	var m Made
	if err := b.snap.agent.Call("Agent.Give", &args, &m); err != nil {
		return failed(sandbox.StageHeader, err)
	}
	b.snap.generation = m.Generation + 1
	return launch.Reply{Baseline: m.Baseline}, nil
}

func (b *box) run(req launch.Request) (launch.Reply, error) {
	if b.snap.running == nil {
		return failed(sandbox.StageLoad, errors.New("not armed"))
	}
	if err := b.snap.agent.Call("Agent.Go", &GoArgs{b.snap.known.touched}, nil); err != nil {
		return failed(sandbox.StageLoad, err)
	}
	if err := bindAll(req.Root, req.Mounts); err != nil {
		err = errors.Join(err, b.snap.agent.Call("Agent.Abandon", nil, nil))
		<-b.snap.running // it has nothing more to come
		return failed(sandbox.StageBind, err)
	}
	if err := b.snap.agent.Call("Agent.Bound", nil, nil); err != nil {
		return failed(sandbox.StageLoad, err)
	}
	if err := <-b.snap.running; err != nil {
		// What the agent noticed is nearer to the cause than what gVisor made of it.
		if cause := b.snap.agent.Call("Agent.Parked", nil, nil); cause != nil {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		return failed(sandbox.StageLoad, err)
	}
	var r launch.Reply
	if err := b.snap.agent.Call("Agent.Marks", nil, &r.Marks); err != nil {
		return failed(sandbox.StageLoad, err)
	}
	return r, nil
}

// trim has a restored sandbox give back what its restore needed, and asks what it has learned. It is called when the sandbox is about to be frozen.
func (b *box) trim(l *learned, last bool) error {
	if err := b.snap.agent.Call("Agent.Trim", nil, nil); err != nil {
		return err
	}
	var k Learned
	if err := b.snap.agent.Call("Agent.Learned", &LearnedArgs{last}, &k); err != nil {
		return err
	}
	l.learn(b.snap.source, k.Touched, k.Layout)
	return nil
}

// save writes a snapshot and completes its header. Its files are those of the snapshot's parts, and a scratch file.
func (l *launcher) save(b *box, req launch.Request, files []*os.File) (launch.Reply, error) {
	if len(files) != 4 {
		return failed(sandbox.StageSave, fmt.Errorf("%d descriptors", len(files)))
	}
	conn, err := client.ConnectTo(b.c.Sandbox.GetControlSocketPath())
	if err != nil {
		return failed(sandbox.StageSave, fmt.Errorf("control socket: %w", err))
	}
	defer conn.Close()
	m := Made{
		Key: req.Key, GVisor: version.Version(), Generation: b.snap.generation, Baseline: req.Baseline,
		Network: b.conf.Network == config.NetworkSandbox,
	}
	if m.Programs, err = programs.find(conn, req.Root); err != nil {
		return failed(sandbox.StageSave, err)
	}
	parts, scratch := files[:3], files[3]
	begin := time.Now()
	opts := control.SaveOpts{
		Metadata: statefile.CompressionLevelNone.ToMetadata(), HavePagesFile: true, Resume: req.Resume,
		AppMFExcludeCommittedZeroPages: true,
		FilePayload:                    urpc.FilePayload{Files: parts},
	}
	if err := conn.Call(boot.ContMgrCheckpoint, &opts, nil); err != nil {
		return failed(sandbox.StageSave, err)
	}
	kernel, err := openKernel(parts[0])
	if err != nil {
		return failed(sandbox.StageSave, fmt.Errorf("state: %w", err))
	}
	asSaved, err := l.rewrite(b.ctx, kernel, scratch, begin, time.Now())
	if err != nil {
		return failed(sandbox.StageClock, err)
	}
	r, err := m.complete(kernel, parts, scratch)
	r.AsSaved = asSaved
	return r, err
}

// rewrite stops the clock of a saved kernel and leaves the kernel in the scratch file: written anew, or as it was saved
// and why.
func (l *launcher) rewrite(ctx context.Context, k *kernelFile, scratch *os.File, from, to time.Time) (asSaved string, err error) {
	select {
	case l.rewriters <- struct{}{}:
		defer func() { <-l.rewriters }()
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	var rw *rewriter
	l.forked(func() { rw, err = startRewriter(k.f, scratch, k.offset, from, to) })
	if err != nil {
		return "", fmt.Errorf("rewriter: %w", err)
	}
	why := rw.wait(ctx)
	if why == nil {
		return "", nil
	}
	if errors.As(why, new(clockError)) {
		return "", why
	}
	return fmt.Sprintf("%d bytes: %v", k.size, why), k.setAside(scratch)
}

// complete sums up what was written, and gives the state a header that says so.
func (m *Made) complete(k *kernelFile, parts []*os.File, scratch *os.File) (launch.Reply, error) {
	var size int64
	var err error
	if m.StateSum, size, err = sumFile(scratch, maxPart); err != nil {
		return failed(sandbox.StageSave, fmt.Errorf("state: %w", err))
	}
	if m.MetaSum, m.MetaSize, err = sumFile(parts[1], maxPart); err != nil {
		return failed(sandbox.StageSave, fmt.Errorf("pages_meta: %w", err))
	}
	if err := m.sumPages(parts[2]); err != nil {
		return failed(sandbox.StageSave, fmt.Errorf("pages: %w", err))
	}
	made, err := json.Marshal(m)
	if err != nil {
		return failed(sandbox.StageSave, err)
	}
	// The specs hold paths of this host, and nothing that a restore asks for.
	k.metadata[boot.ContainerSpecsKey] = "{}"
	k.metadata[madeKey] = string(made)
	head, err := json.Marshal(k.metadata)
	if err != nil {
		return failed(sandbox.StageSave, err)
	}
	if err := k.replace(appendHeader(nil, head, 0), scratch, size); err != nil {
		return failed(sandbox.StageSave, fmt.Errorf("state: %w", err))
	}
	return launch.Reply{}, nil
}

func (m *Made) sumPages(f *os.File) error {
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	m.PagesSize = fi.Size()
	buf := make([]byte, sumBlock)
	for off := int64(0); off < m.PagesSize; off += sumBlock {
		n := min(sumBlock, m.PagesSize-off)
		if _, err := f.ReadAt(buf[:n], off); err != nil {
			return err
		}
		m.PagesSums = append(m.PagesSums, sum(buf[:n]))
	}
	return nil
}
