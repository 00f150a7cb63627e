// Package launcher is the process that is parent to all sandboxes; package launch says why there is one, and how the server
// speaks to it.
package launcher

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/log"
	"gvisor.dev/gvisor/runsc/config"
	"gvisor.dev/gvisor/runsc/container"
	gflag "gvisor.dev/gvisor/runsc/flag"
	"gvisor.dev/gvisor/runsc/specutils"

	"thaw/cmd/thaw-sandbox/internal/agent/calls"
	"thaw/cmd/thaw-sandbox/internal/rewriter"
	"thaw/sandbox/gvisor/launch"
	"thaw/sandbox/host/cgroup"
)

// A launcher is the parent of all sandboxes. Three kinds of goroutines: the reader (one, this one), the forker (one), and one for each
// other request.
type launcher struct {
	conn      *net.UnixConn
	null      *os.File
	fork      chan func() // for the forker
	rewriters *rewriter.Rewriters

	learned learned
	tidy    *time.Timer // see tidyPause

	mu    sync.Mutex // guards what follows
	boxes map[string]*box
	group []string // folders, one in each hierarchy, below which all sandboxes have their cgroups; empty before the first
	home  []string // this process's own cgroups
}

// box is one sandbox as the launcher knows it.
type box struct {
	c      *container.Container
	conf   *config.Config
	shared string // mounted on itself; empty: not yet
	snap   snapshots

	ctx context.Context // ends with OpDestroy
	end context.CancelCauseFunc
}

// tidyPause is how long after the last end of a sandbox the launcher collects garbage. gVisor starts a sandbox's two
// processes with os/exec and waits for them by their numbers; Go's descriptors of the two (pidfds) are closed only when
// they are collected, which a launcher that has nothing to do puts off for two minutes.
const tidyPause = time.Second

// Main is the whole of the process: it ends when the server does.
func Main() {
	log.SetTarget(log.GoogleEmitter{Writer: &log.Writer{Next: io.Discard}})
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "launcher:", err)
		os.Exit(1)
	}
}

func run() error {
	for _, fd := range []int{launch.SocketFD, launch.RunFD, launch.LockFD} {
		unix.CloseOnExec(fd)
	}
	// What the host mounts later must be seen here (a data folder on a disk mounted late); what is mounted here must not be seen there.
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("mount namespace: %w", err)
	}
	f := os.NewFile(launch.SocketFD, "server")
	c, err := net.FileConn(f)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	f.Close()
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return errors.New("descriptor 3 is no unix socket")
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	l := &launcher{conn: conn, null: null, fork: make(chan func()), boxes: make(map[string]*box)}
	l.rewriters = rewriter.New(l.forked)
	l.tidy = time.AfterFunc(tidyPause, runtime.GC)
	go l.forker()
	return l.serve()
}

// serve reads requests until the server is gone. Ending the process then ends every sandbox: they are attached to it.
func (l *launcher) serve() error {
	buf := make([]byte, launch.MaxPacket)
	oob := make([]byte, unix.CmsgSpace(16*4))
	for {
		n, oobn, _, _, err := l.conn.ReadMsgUnix(buf, oob)
		if n == 0 || err != nil {
			l.clear()
			return nil
		}
		files, err := received(oob[:oobn])
		if err != nil {
			return err
		}
		var req launch.Request
		if err := json.Unmarshal(buf[:n], &req); err != nil {
			return fmt.Errorf("request: %w", err)
		}
		if req.Op == launch.OpCreate {
			go l.forked(func() {
				r, err := l.create(req, files)
				closeAll(files)
				l.reply(req, r, err)
			})
			continue
		}
		go func() {
			r, err := l.do(req, files)
			closeAll(files)
			l.reply(req, r, err)
		}()
	}
}

// clearLimit bounds the wait for killed sandboxes: who starts next waits for the lock that this process holds, and can
// do the rest.
const clearLimit = 2 * time.Second

// clear ends what a server leaves that was killed, and removes the cgroups: nobody else does before the next start.
// After an orderly end nothing is left.
func (l *launcher) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	deadline := time.Now().Add(clearLimit)
	enter(l.home) //nolint:errcheck // it may be in a sandbox's groups, about to fork; where it stays there, the group stays
	names := map[string]bool{}
	for _, dir := range l.group {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			names[e.Name()] = names[e.Name()] || e.IsDir()
		}
	}
	var groups [][]string
	for name, isDir := range names {
		if !isDir {
			continue
		}
		var dirs []string
		for _, dir := range l.group {
			dirs = append(dirs, filepath.Join(dir, name))
		}
		cgroup.Kill(dirs)
		groups = append(groups, dirs)
	}
	for _, dirs := range groups {
		cgroup.Remove(dirs, deadline) //nolint:errcheck // the next start sweeps
	}
	for _, dir := range l.group {
		unix.Rmdir(dir)
		unix.Rmdir(filepath.Dir(dir)) // fails while another server is there
	}
}

func received(oob []byte) ([]*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("descriptors: %w", err)
	}
	var files []*os.File
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			return nil, fmt.Errorf("descriptors: %w", err)
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "received"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

func (l *launcher) reply(req launch.Request, r launch.Reply, err error) {
	r.Seq = req.Seq
	if err != nil {
		r.Err = err.Error()
	}
	b, _ := json.Marshal(r)
	if len(b) > launch.MaxPacket {
		b, _ = json.Marshal(launch.Reply{Seq: req.Seq, Err: r.Err[:1024]})
	}
	l.conn.Write(b) // the reader notices a server that is gone
}

// forked has the forker call f, and returns when it has.
func (l *launcher) forked(f func()) {
	done := make(chan struct{})
	l.fork <- func() {
		defer close(done)
		f()
	}
	<-done
}

// forker runs everything that forks, one after another: the library takes the child's standard streams from os.Stdin,
// os.Stdout and os.Stderr, and the child its cgroups from this process. (The kernel ends an attached sandbox with the
// *thread* that forked it. Go ends a thread only when a goroutine ends that is locked to it, and none here does.)
func (l *launcher) forker() {
	for f := range l.fork {
		f()
	}
}

// gvisorConfig has a flag set of its own: gVisor's flags and flag.CommandLine do not mix.
func gvisorConfig(c *launch.Create) (*config.Config, error) {
	fs := gflag.NewFlagSet("runsc", gflag.ContinueOnError)
	config.RegisterFlags(fs)
	set := map[string]string{
		"root":     fmt.Sprintf("/proc/self/fd/%d", launch.RunFD),
		"platform": "systrap",
		// The fast path spins while it waits for the other side, and finds out by itself when that pays; but it counts the cores of the host as its own, and every
		// sandbox does. Off, eight busy sandboxes on two cores serve twice as much, and one alone needs a sixth less processor time at the same latency.
		"systrap-disable-fast-path": "true",
		"overlay2":                  "none",   // the root is read-only
		"host-settings":             "ignore", // the host's settings are the host's
		"network":                   "none",
		"ignore-cgroups":            "true",  // the server makes the groups, and the forker is in them when it forks
		"directfs":                  "false", // the sandbox process can open no file itself; costs a Python start-up nothing that could be measured
		"watchdog-action":           "log",
		// All sandboxes have the same spec but for paths of the host: sandbox.Capabilities.SnapshotKey stands for it.
		"restore-spec-validation": "ignore",
	}
	if c.Network {
		set["network"] = "sandbox"
	}
	if c.Debug != "" {
		set["debug"], set["debug-log"] = "true", c.Debug+"/"
	}
	for k, v := range set {
		if err := fs.Set(k, v); err != nil {
			return nil, fmt.Errorf("gVisor option %s: %w", k, err)
		}
	}
	return config.NewFromFlags(fs)
}

func (l *launcher) create(req launch.Request, files []*os.File) (launch.Reply, error) {
	c := req.Create
	want := 5
	if c != nil && c.Network {
		want++
	}
	if c == nil || len(files) != want {
		return launch.Reply{}, fmt.Errorf("create with %d descriptors", len(files))
	}
	conf, err := gvisorConfig(c)
	if err != nil {
		return launch.Reply{}, err
	}
	l.mu.Lock()
	l.group, l.home = l.group[:0], c.Home
	for _, procs := range c.Groups { // .../HASH/NAME/cgroup.procs
		l.group = append(l.group, filepath.Dir(filepath.Dir(procs)))
	}
	l.mu.Unlock()
	spec, err := specutils.ReadSpec(c.Bundle, conf)
	if err != nil {
		return launch.Reply{}, err
	}
	if c.Network {
		spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{
			Type: specs.NetworkNamespace, Path: fmt.Sprintf("/proc/self/fd/%d", files[5].Fd()),
		})
	}
	// What the two processes have to say when they cannot go on would go nowhere otherwise.
	conf.LogFilename = fmt.Sprintf("/proc/self/fd/%d", files[2].Fd())
	b := &box{conf: conf}
	b.ctx, b.end = context.WithCancelCause(context.Background())
	if err := shareMount(c.Shared); err != nil {
		return launch.Reply{}, err
	}
	b.shared = c.Shared
	var agent *os.File
	b.snap.agent, agent, err = calls.Open()
	if err == nil {
		b.c, err = l.newContainer(conf, spec, req.ID, c, files, agent)
		agent.Close()
	}
	if err != nil {
		if b.snap.agent != nil {
			b.snap.agent.Close()
		}
		unix.Unmount(b.shared, unix.MNT_DETACH)
		return launch.Reply{}, err
	}
	l.mu.Lock()
	l.boxes[req.ID] = b
	l.mu.Unlock()
	return launch.Reply{Sandbox: b.c.SandboxPid(), Gofer: b.c.GoferPid.Load()}, nil
}

// newContainer forks gofer and sandbox. Only the forker calls it.
func (l *launcher) newContainer(conf *config.Config, spec *specs.Spec, id string, c *launch.Create, files []*os.File, agent *os.File) (*container.Container, error) {
	in, out, errOut := os.Stdin, os.Stdout, os.Stderr
	os.Stdin, os.Stdout, os.Stderr = files[0], files[1], files[2]
	defer func() { os.Stdin, os.Stdout, os.Stderr = in, out, errOut }()
	if err := enter(c.Groups); err != nil {
		return nil, errors.Join(err, enter(c.Home))
	}
	ct, err := container.New(conf, container.Args{
		ID: id, Spec: spec, BundleDir: c.Bundle, Attached: true,
		PassFiles: map[int]*os.File{launch.StreamFD: files[3], launch.AgentFD: agent, launch.ControlFD: files[4]},
	})
	if homeErr := enter(c.Home); homeErr != nil {
		err = errors.Join(err, homeErr)
	}
	if err != nil && ct != nil {
		ct.Destroy()
		ct = nil
	}
	return ct, err
}

func (l *launcher) do(req launch.Request, files []*os.File) (r launch.Reply, err error) {
	l.mu.Lock()
	b := l.boxes[req.ID]
	if req.Op == launch.OpDestroy {
		delete(l.boxes, req.ID)
	}
	l.mu.Unlock()
	if b == nil {
		if req.Op == launch.OpDestroy {
			return r, nil // it never came to be, or is gone already
		}
		return r, fmt.Errorf("no sandbox %s", req.ID)
	}
	switch req.Op {
	case launch.OpStart:
		return r, b.c.Start(b.conf)
	case launch.OpBind:
		return r, bindAll(req.Root, req.Mounts)
	case launch.OpArm:
		return r, b.arm(l.learned.likely())
	case launch.OpGive:
		return b.give(req, files, &l.learned)
	case launch.OpRun:
		return b.run(req)
	case launch.OpSave:
		return l.save(b, req, files)
	case launch.OpTrim:
		return r, b.trim(&l.learned, req.Last)
	case launch.OpDestroy:
		b.end(errors.New("the sandbox was given up"))
		err := b.c.Destroy()
		b.snap.agent.Close()
		if uerr := unmountTree(b.shared); uerr != nil {
			err = errors.Join(err, uerr)
		}
		l.tidy.Reset(tidyPause)
		return r, err
	}
	return r, fmt.Errorf("unknown request %q", req.Op)
}
