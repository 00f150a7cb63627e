package jail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"thaw/sandbox/firecracker/fcapi"
	"thaw/sandbox/firecracker/vmm"
)

// Names in the jail.
const (
	apiSocket   = "api.sock"
	vsockSocket = "v.sock"
	kernelName  = "vmlinux"
	initramfs   = "initramfs"
	stateName   = "state"
	memoryName  = "memory"
	pagesSocket = "pages.sock"
)

// Limits of a machine's process. A file may have the size of the largest memory or disk of a machine, with room; the
// descriptors are drives, the tap and one for each connection to a port.
const (
	maxFile        = 64 << 30 // bytes
	maxDescriptors = 1024
)

// machineCID is every machine's own address on its vsock; the host is 2. Each has a device of its own.
const machineCID = 3

// machineMAC is the address of every machine's eth0, and the same in all copies of a snapshot: each is in a network
// namespace of its own.
const machineMAC = "02:74:68:61:77:02"

// Machine is one process of Firecracker.
type Machine struct {
	m      *Monitor
	slot   vmm.Slot
	root   *os.File // the jail's root, opened as a path: what is below is reached however long its name is
	cmd    *exec.Cmd
	pidfd  int // the process, and no other that has its number later
	api    *fcapi.Client
	log    *tail
	exited chan struct{}
	tidy   sync.WaitGroup // goroutines that end with the process, or before

	mu     sync.Mutex // guards what follows
	begun  bool       // Boot or Restore was called
	closed bool
	err    error // set before exited is closed
}

var _ vmm.Machine = (*Machine)(nil)

// Open implements vmm.Monitor: the process waits, and holds some megabytes.
func (m *Monitor) Open(ctx context.Context, s vmm.Slot) (vmm.Machine, error) {
	x := &Machine{m: m, slot: s, pidfd: -1, log: &tail{to: s.Console}, exited: make(chan struct{})}
	root, err := m.makeRoot(s)
	if err != nil {
		return nil, fmt.Errorf("jail: %w", err)
	}
	x.root = root
	x.cmd = m.command(s)
	x.cmd.SysProcAttr.PidFD = &x.pidfd
	x.cmd.Stdout, x.cmd.Stderr = x.log, x.log
	if err := s.Group.Start(x.cmd, enterNetwork(s.Network)); err != nil {
		x.letGo()
		return nil, fmt.Errorf("%s: %w", filepath.Base(x.cmd.Path), err)
	}
	go x.wait()
	x.api = fcapi.Over(func(ctx context.Context) (net.Conn, error) { return x.dialSocket(ctx, apiSocket) }, m.version)
	if err := x.awaitAPI(ctx); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// makeRoot makes and opens what the process will have as its root, or as its folder where there is no jailer.
func (m *Monitor) makeRoot(s vmm.Slot) (*os.File, error) {
	dir := s.Dir
	if !m.opt.Unjailed {
		dir = filepath.Join(s.Dir, filepath.Base(m.opt.Firecracker), s.Name, "root")
		if err := os.MkdirAll(dir, 0o755); err != nil { // the jailer closes the last to all but the slot's user
			return nil, err
		}
	}
	return os.OpenFile(dir, syscall.O_DIRECTORY|oPath, 0)
}

// command is what is started. The process is the first of a process namespace: it is the jailer, which becomes
// Firecracker, and so a child of this process that is waited for. (The jailer's --new-pid-ns makes another process, which
// nobody here is parent to.)
func (m *Monitor) command(s vmm.Slot) *exec.Cmd {
	args := []string{"--id", s.Name}
	own := []string{"--api-sock", apiSocket, "--level", "Warn"}
	attr := &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Setpgid: true}
	var cmd *exec.Cmd
	if m.opt.Unjailed {
		cmd = exec.Command(m.opt.Firecracker, append(args, own...)...)
		cmd.Dir = s.Dir
		if s.UID != 0 {
			attr.Credential = &syscall.Credential{Uid: uint32(s.UID), Gid: uint32(s.GID)}
		}
	} else {
		args = append(args, "--exec-file", m.opt.Firecracker, "--uid", strconv.Itoa(s.UID), "--gid", strconv.Itoa(s.GID),
			"--chroot-base-dir", s.Dir, "--resource-limit", fmt.Sprint("fsize=", int64(maxFile)), "--resource-limit", fmt.Sprint("no-file=", maxDescriptors), "--")
		cmd = exec.Command(m.opt.Jailer, append(args, own...)...)
	}
	cmd.SysProcAttr, cmd.Env = attr, []string{}
	return cmd
}

// wait waits for the process's end and says why it ended.
func (x *Machine) wait() {
	err := x.cmd.Wait()
	x.mu.Lock()
	if err != nil && !x.closed && x.err == nil {
		x.err = fmt.Errorf("firecracker: %w; it last said: %s", err, x.log)
	}
	x.mu.Unlock()
	close(x.exited)
}

// awaitAPI waits until the process takes calls.
func (x *Machine) awaitAPI(ctx context.Context) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		c, err := x.dialSocket(ctx, apiSocket)
		if err == nil {
			return c.Close()
		}
		select {
		case <-x.exited:
			return x.ended()
		case <-ctx.Done():
			return fmt.Errorf("firecracker does not take calls: %w; it last said: %s", context.Cause(ctx), x.log)
		case <-time.After(pause):
		}
	}
}

// ended is the error of whoever needs the process after its end.
func (x *Machine) ended() error {
	if err := x.Err(); err != nil {
		return err
	}
	return fmt.Errorf("firecracker has ended; it last said: %s", x.log)
}

// PIDs implements vmm.Machine.
func (x *Machine) PIDs() []int {
	select {
	case <-x.exited:
		return nil
	default:
		return []int{x.cmd.Process.Pid}
	}
}

// Exited implements vmm.Machine.
func (x *Machine) Exited() <-chan struct{} { return x.exited }

// Err implements vmm.Machine. A machine that has switched itself off has none, nor one that was closed.
func (x *Machine) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.err
}

// Close implements vmm.Machine. The namespaces go with the process, and all that was mounted for it.
func (x *Machine) Close() error {
	x.mu.Lock()
	first := !x.closed
	x.closed = true
	x.mu.Unlock()
	x.kill()
	<-x.exited
	x.tidy.Wait()
	if first {
		x.api.Close()
		x.letGo()
	}
	return nil
}

func (x *Machine) kill() {
	if x.slot.Group != nil {
		x.slot.Group.Kill() // also what the freezer holds
	}
	x.cmd.Process.Kill() //nolint:errcheck // it is gone already, else
}

// letGo closes what the machine has open.
func (x *Machine) letGo() {
	x.root.Close()
	if x.pidfd >= 0 {
		syscall.Close(x.pidfd) //nolint:errcheck // nothing was written
	}
}

// begin is called by Boot and Restore, of which there is one.
func (x *Machine) begin() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.closed:
		return errors.New("the machine is closed")
	case x.begun:
		return errors.New("the machine was started already")
	}
	x.begun = true
	return nil
}

// live is the error of whoever needs a machine when there is none.
func (x *Machine) live() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.closed:
		return errors.New("the machine is closed")
	case !x.begun:
		return errors.New("the machine was not started")
	}
	return nil
}

// started is called when there is a machine in the process.
func (x *Machine) started() {
	if x.slot.Group == nil {
		return
	}
	// Nobody waits for it, since it takes a while to move something between groups (synchronize_rcu); a freeze does not need
	// to: it is done when the thread is gone.
	x.tidy.Go(func() {
		if err := x.slot.Group.ReleaseKernelThreads(); err != nil {
			x.m.opt.Log.Warn("machine", "sandbox", x.slot.Name, "err", err)
		}
	})
}

// call makes calls of the API until one fails. What they say when the process has ended meanwhile is that.
func (x *Machine) call(calls ...func() error) error {
	for _, call := range calls {
		err := call()
		if err == nil {
			continue
		}
		if errors.As(err, new(*fcapi.FaultError)) {
			return err
		}
		select {
		case <-x.exited:
			return fmt.Errorf("%w; %w", err, x.ended())
		default:
			return err
		}
	}
	return nil
}

// Pause implements vmm.Machine.
func (x *Machine) Pause(ctx context.Context) error {
	return x.call(func() error { return x.api.Pause(ctx) })
}

// Resume implements vmm.Machine.
func (x *Machine) Resume(ctx context.Context) error {
	if !x.m.version.Features().ResumeLosesVsock {
		return x.call(func() error { return x.api.Resume(ctx) })
	}
	if state, err := x.api.State(ctx); err != nil || state == fcapi.Running {
		return err
	}
	warning, _ := x.m.version.Check()
	return errors.New(warning)
}

// Dial implements vmm.Machine. Soon after a restore a connection may be made and reset: the guest drops all connections
// that it had, and that one with them.
func (x *Machine) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	if err := x.live(); err != nil {
		return nil, err
	}
	var last error
	pause, limit := time.Millisecond, firstAnswer
	for {
		c, err := x.connect(ctx, port, limit)
		if err == nil {
			return c, nil
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			limit = min(2*limit, maxAnswer)
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-x.exited:
			return nil, fmt.Errorf("port %d: %w", port, x.ended())
		case <-ctx.Done():
			return nil, fmt.Errorf("port %d: %w; the last try: %w", port, context.Cause(ctx), last)
		case <-time.After(pause):
			pause = min(2*pause, 20*time.Millisecond)
		}
	}
}
