package main

import (
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
}

// identity tells one snapshot from another.
type identity struct {
	state, meta uint32
	pages       int64
}

const (
	// maxTouched is of how many snapshots the launcher keeps what they touched first: some 13 kB each at most.
	maxTouched = 256
	// maxLessons is how often it takes something new of one snapshot. What only the fifth copy touches is better left to its own fault than mapped in all others.
	maxLessons = 4
)

// touchedOf are what the restores of each snapshot touched first, as far as the launcher has lived: see touch.go.
type touchedOf struct {
	mu    sync.Mutex // guards what follows
	of    map[identity]lessons
	order []identity // the one that was learned last comes last
}

type lessons struct {
	list  []byte
	count int
}

func (t *touchedOf) get(id identity) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.of[id].list
}

// learn keeps what a sandbox says. It is no more than a list of addresses of that snapshot's own programs.
func (t *touchedOf) learn(id identity, list []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.of[id]
	if len(list) <= len(old.list) || len(list) > maxTouches*touchSize || old.count == maxLessons {
		return
	}
	if t.of == nil {
		t.of = make(map[identity]lessons)
	}
	t.of[id] = lessons{list, old.count + 1}
	if i := slices.Index(t.order, id); i >= 0 {
		t.order = slices.Delete(t.order, i, i+1)
	}
	t.order = append(t.order, id)
	if len(t.order) > maxTouched {
		delete(t.of, t.order[0])
		t.order = slices.Delete(t.order, 0, 1)
	}
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
func (b *box) arm() error {
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
	args := ArmArgs{FilePayload: urpc.FilePayload{Files: []*os.File{server}}}
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

func (b *box) give(req launch.Request, files []*os.File) (launch.Reply, error) {
	if b.snap.running == nil {
		return failed(sandbox.StageLoad, errors.New("not armed"))
	}
	args := GiveArgs{FilePayload: urpc.FilePayload{Files: files}, Progress: req.Progress, Key: req.Key}
	var m Made
	if err := b.snap.agent.Call("Agent.Give", &args, &m); err != nil {
		return failed(sandbox.StageHeader, err)
	}
	b.snap.generation = m.Generation + 1
	b.snap.source = identity{m.StateSum, m.MetaSum, m.PagesSize}
	return launch.Reply{Baseline: m.Baseline}, nil
}

func (b *box) run(req launch.Request, known []byte) (launch.Reply, error) {
	if b.snap.running == nil {
		return failed(sandbox.StageLoad, errors.New("not armed"))
	}
	if err := b.snap.agent.Call("Agent.Go", &GoArgs{known}, nil); err != nil {
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

// trim has a restored sandbox give back what its restore needed, and asks what it touched first. It is called when the sandbox is about to be frozen.
func (b *box) trim(touched *touchedOf, last bool) error {
	if err := b.snap.agent.Call("Agent.Trim", nil, nil); err != nil {
		return err
	}
	var list []byte
	if err := b.snap.agent.Call("Agent.Touched", &struct{}{}, &list); err != nil {
		return err
	}
	touched.learn(b.snap.source, list)
	if last {
		return b.snap.agent.Call("Agent.TouchedEnough", nil, nil)
	}
	return nil
}

// save writes a snapshot and completes its header.
func (b *box) save(req launch.Request, files []*os.File) (launch.Reply, error) {
	if len(files) != 3 {
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
	begin := time.Now()
	opts := control.SaveOpts{
		Metadata: statefile.CompressionLevelNone.ToMetadata(), HavePagesFile: true, Resume: req.Resume,
		AppMFExcludeCommittedZeroPages: true,
		FilePayload:                    urpc.FilePayload{Files: files},
	}
	if err := conn.Call(boot.ContMgrCheckpoint, &opts, nil); err != nil {
		return failed(sandbox.StageSave, err)
	}
	return m.complete(files, begin, time.Now())
}

// complete stops the saved clock, sums up what was written, and rewrites the state's header with it.
func (m *Made) complete(files []*os.File, from, to time.Time) (launch.Reply, error) {
	state, err := readAll(files[0])
	if err != nil {
		return failed(sandbox.StageSave, fmt.Errorf("state: %w", err))
	}
	metadata, body, err := splitHeader(state)
	if err != nil {
		return failed(sandbox.StageSave, err)
	}
	if err := stopClock(body, from, to); err != nil {
		return failed(sandbox.StageClock, err)
	}
	meta, err := readAll(files[1])
	if err != nil {
		return failed(sandbox.StageSave, fmt.Errorf("pages_meta: %w", err))
	}
	m.StateSum, m.MetaSum, m.MetaSize = sum(body), sum(meta), int64(len(meta))
	if err := m.sumPages(files[2]); err != nil {
		return failed(sandbox.StageSave, fmt.Errorf("pages: %w", err))
	}
	made, err := json.Marshal(m)
	if err != nil {
		return failed(sandbox.StageSave, err)
	}
	// The specs hold paths of this host, and nothing that a restore asks for.
	metadata[boot.ContainerSpecsKey] = "{}"
	metadata[madeKey] = string(made)
	head, err := json.Marshal(metadata)
	if err != nil {
		return failed(sandbox.StageSave, err)
	}
	whole := append(appendHeader(nil, head, 0), body...)
	if err := files[0].Truncate(int64(len(whole))); err != nil {
		return failed(sandbox.StageSave, fmt.Errorf("state: %w", err))
	}
	if _, err := files[0].WriteAt(whole, 0); err != nil {
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
