package launcher

import (
	"errors"
	"fmt"
	"os"
	"time"
	_ "unsafe" // for go:linkname

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/control/client"
	"gvisor.dev/gvisor/pkg/sentry/control"
	gvisorfile "gvisor.dev/gvisor/pkg/state/statefile"
	"gvisor.dev/gvisor/pkg/urpc"
	"gvisor.dev/gvisor/runsc/boot"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/version"

	"thaw/cmd/thaw-sandbox/internal/agent/calls"
	"thaw/cmd/thaw-sandbox/internal/statefile"
	"thaw/sandbox"
	"thaw/sandbox/gvisor/launch"
)

// snapshots is a box's part in saving and restoring.
type snapshots struct {
	agent      *calls.Client
	running    chan error // of containerManager.Restore; nil: not armed
	generation uint32     // restores that lie behind it
	source     fileID     // what was given
	known      lessons    // of it
}

// setupNetwork gives a sandbox that is about to be restored the links of its network namespace, or only loopback.
//
//go:linkname setupNetwork gvisor.dev/gvisor/runsc/sandbox.setupNetwork
func setupNetwork(conn *urpc.Client, pid int, conf *config.Config, disableIPv6, isRestore bool) error

// arm brings a created sandbox to where it waits for a snapshot.
func (b *box) arm(layout []byte) error {
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
	args := calls.ArmArgs{FilePayload: urpc.FilePayload{Files: []*os.File{server}}, Layout: layout}
	args.Header, err = calls.Head(map[string]string{
		"compression":          string(gvisorfile.CompressionLevelNone),
		boot.VersionKey:        version.Version(),
		boot.ContainerCountKey: "1",
		// All our sandboxes have the same spec; Made.Key says so of those that were saved.
		boot.ContainerSpecsKey: "{}",
		"network":              b.conf.Network.String(),
	})
	if err == nil {
		err = b.snap.agent.Arm(&args)
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
	go func() { parked <- b.snap.agent.Parked() }()
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
	if b.snap.source, err = fileIDOf(files[0]); err != nil {
		return failed(sandbox.StageHeader, err)
	}
	b.snap.known = l.use(b.snap.source)
	args := calls.GiveArgs{FilePayload: urpc.FilePayload{Files: files}, Progress: req.Progress, Key: req.Key, Layout: b.snap.known.layout}
	m, err := b.snap.agent.Give(&args)
	if err != nil {
		return failed(sandbox.StageHeader, err)
	}
	b.snap.generation = m.Generation + 1
	return launch.Reply{Baseline: m.Baseline}, nil
}

func (b *box) run(req launch.Request) (launch.Reply, error) {
	if b.snap.running == nil {
		return failed(sandbox.StageLoad, errors.New("not armed"))
	}
	if err := b.snap.agent.Go(b.snap.known.touched); err != nil {
		return failed(sandbox.StageLoad, err)
	}
	if err := bindAll(req.Root, req.Mounts); err != nil {
		err = errors.Join(err, b.snap.agent.Abandon())
		<-b.snap.running // it has nothing more to come
		return failed(sandbox.StageBind, err)
	}
	if err := b.snap.agent.Bound(); err != nil {
		return failed(sandbox.StageLoad, err)
	}
	if err := <-b.snap.running; err != nil {
		// What the agent noticed is nearer to the cause than what gVisor made of it.
		if cause := b.snap.agent.Parked(); cause != nil {
			err = fmt.Errorf("%w (%w)", cause, err)
		}
		return failed(sandbox.StageLoad, err)
	}
	marks, err := b.snap.agent.Marks()
	if err != nil {
		return failed(sandbox.StageLoad, err)
	}
	return launch.Reply{Marks: marks}, nil
}

// trim has a restored sandbox give back what its restore needed, and asks what it has learned. It is called when the
// sandbox is about to be frozen.
func (b *box) trim(l *learned, last bool) error {
	if err := b.snap.agent.Trim(); err != nil {
		return err
	}
	k, err := b.snap.agent.Learned(last)
	if err != nil {
		return err
	}
	l.learn(b.snap.source, k)
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
	m := statefile.Made{
		Key: req.Key, GVisor: version.Version(), Generation: b.snap.generation, Baseline: req.Baseline,
		Network: b.conf.Network == config.NetworkSandbox,
	}
	if m.Programs, err = programs.find(conn, req.Root); err != nil {
		return failed(sandbox.StageSave, err)
	}
	parts, scratch := files[:3], files[3]
	begin := time.Now()
	opts := control.SaveOpts{
		Metadata: gvisorfile.CompressionLevelNone.ToMetadata(), HavePagesFile: true,
		AppMFExcludeCommittedZeroPages: true,
		FilePayload:                    urpc.FilePayload{Files: parts},
	}
	if err := conn.Call(boot.ContMgrCheckpoint, &opts, nil); err != nil {
		return failed(sandbox.StageSave, err)
	}
	kernel, err := statefile.Open(parts[0])
	if err != nil {
		return failed(sandbox.StageSave, fmt.Errorf("state: %w", err))
	}
	asSaved, err := l.rewriters.Rewrite(b.ctx, kernel, scratch, begin, time.Now())
	if err != nil {
		return failed(sandbox.StageClock, err)
	}
	if err := m.Complete(kernel, parts, scratch); err != nil {
		return failed(sandbox.StageSave, err)
	}
	return launch.Reply{AsSaved: asSaved}, nil
}
