package firecracker

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"thaw/sandbox/firecracker/pages"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/host/cgroup"
)

// fakeMonitor is a vmm.Monitor whose machines are processes of this test binary. They can do all that the backend asks of
// a machine, and are in the slot's group, so that the host's side of a sandbox is real.
type fakeMonitor struct {
	resets atomic.Int32 // so many connections after a restore answer, and are reset
	room   atomic.Int64 // the limit of the group's memory at the last snapshot, in bytes; 0: it has none
	key    string
}

func (m *fakeMonitor) Name() string { return "fake" }
func (m *fakeMonitor) Key() string  { return m.key }

type fakeVM struct {
	m      *fakeMonitor
	slot   vmm.Slot
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	resets int32
	paused atomic.Bool

	exited  chan struct{}
	err     error // valid once exited is closed
	closing sync.Once
}

// Open implements vmm.Monitor.
func (m *fakeMonitor) Open(_ context.Context, s vmm.Slot) (vmm.Machine, error) {
	v := &fakeVM{m: m, slot: s, cmd: exec.Command("/proc/self/exe"), exited: make(chan struct{})}
	v.cmd.Env = append(os.Environ(), fakeVar+"=1")
	v.cmd.Stderr, v.cmd.Dir = s.Console, s.Dir // its sockets' paths have a limit
	if s.UID != 0 {
		v.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(s.UID), Gid: uint32(s.GID)}}
	}
	var err error
	if v.in, err = v.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := v.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	v.out = bufio.NewReader(out)
	if err := v.cmd.Start(); err != nil {
		return nil, err
	}
	for _, procs := range s.Group.Procs() {
		if err := os.WriteFile(procs, []byte(strconv.Itoa(v.cmd.Process.Pid)), 0); err != nil {
			v.cmd.Process.Kill()
			v.cmd.Wait()
			return nil, err
		}
	}
	go func() {
		v.err = v.cmd.Wait()
		close(v.exited)
	}()
	return v, nil
}

// Boot implements vmm.Machine.
func (v *fakeVM) Boot(_ context.Context, c vmm.Config) error {
	for _, d := range c.Drives {
		f, err := os.Open(d.Path)
		if err != nil {
			return err
		}
		f.Close()
	}
	_, err := fmt.Fprintln(v.in, "boot", c.Args)
	return err
}

// memoryAt is where a fake machine's memory holds its state.
const memoryAt = 3 << 20

// Restore implements vmm.Machine.
func (v *fakeVM) Restore(_ context.Context, c vmm.Config, s vmm.Saved) error {
	head, err := io.ReadAll(io.NewSectionReader(s.State, 0, 1<<20))
	if err != nil || string(head) != fmt.Sprint("a machine of ", c.MemoryMiB, " MiB") {
		return fmt.Errorf("state %q, %v", head, err)
	}
	text := make([]byte, pages.Size)
	if s.Memory != nil {
		_, err = s.Memory.ReadAt(text, memoryAt)
	} else if _, err = s.Pages.ReadAt(text, memoryAt); err == nil && s.WorkingSet == nil { // else it was given
		s.Trace.Asked(memoryAt / pages.Size)
	}
	if err != nil {
		return err
	}
	v.resets = v.m.resets.Load()
	_, err = fmt.Fprintln(v.in, "restore", strings.TrimRight(string(text), "\x00"))
	return err
}

// Dial implements vmm.Machine.
func (v *fakeVM) Dial(ctx context.Context, port uint32) (net.Conn, error) {
	for {
		c, err := (&net.Dialer{}).DialContext(ctx, "unix", fmt.Sprintf("/proc/%d/cwd/%d", v.cmd.Process.Pid, port))
		if err == nil && v.resets > 0 {
			v.resets--
			c.(*net.UnixConn).CloseRead()
			c.Close()
			near, far := net.Pipe()
			far.Close()
			return near, nil
		}
		if err == nil {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-v.exited:
			return nil, errors.New("the machine has ended")
		case <-time.After(time.Millisecond):
		}
	}
}

// Pause implements vmm.Machine.
func (v *fakeVM) Pause(context.Context) error { v.paused.Store(true); return nil }

// Resume implements vmm.Machine.
func (v *fakeVM) Resume(context.Context) error { v.paused.Store(false); return nil }

// Snapshot implements vmm.Machine.
func (v *fakeVM) Snapshot(_ context.Context, state, memory *os.File) error {
	if !v.paused.Load() {
		return errors.New("it is not paused")
	}
	v.m.room.Store(memoryLimitOf(v.slot.Group))
	if _, err := fmt.Fprintln(v.in, "save"); err != nil {
		return err
	}
	line, err := v.out.ReadString('\n')
	if err != nil {
		return err
	}
	var s fakeState
	if err := json.Unmarshal([]byte(line), &s); err != nil {
		return err
	}
	if strings.Contains(s.Args, "snapshotfault") {
		return errors.New("the monitor cannot save")
	}
	if _, err := fmt.Fprint(state, "a machine of ", machineMemory(testMemoryMiB), " MiB"); err != nil {
		return err
	}
	if _, err := memory.WriteAt([]byte(strings.TrimSpace(line)), memoryAt); err != nil {
		return err
	}
	return memory.Truncate(int64(machineMemory(testMemoryMiB)) << 20)
}

// memoryLimitOf is the limit of a group's memory.
func memoryLimitOf(g *cgroup.Group) (n int64) {
	for _, procs := range g.Procs() {
		for _, name := range []string{"memory.limit_in_bytes", "memory.max"} {
			if b, err := os.ReadFile(filepath.Join(filepath.Dir(procs), name)); err == nil {
				fmt.Sscan(string(b), &n)
			}
		}
	}
	return n
}

// PIDs implements vmm.Machine.
func (v *fakeVM) PIDs() []int { return []int{v.cmd.Process.Pid} }

// Exited implements vmm.Machine.
func (v *fakeVM) Exited() <-chan struct{} { return v.exited }

// Err implements vmm.Machine.
func (v *fakeVM) Err() error { return v.err }

// Close implements vmm.Machine.
func (v *fakeVM) Close() error {
	v.closing.Do(func() {
		v.cmd.Process.Kill()
		<-v.exited
		v.in.Close()
	})
	<-v.exited
	return nil
}
