package qemu

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"thaw/sandbox/firecracker/vmm"
)

// drainLimit bounds the wait for output of a process that has ended: another may have its end of the pipe.
const drainLimit = time.Second

// process is QEMU.
type process struct {
	pid  int
	cmd  *exec.Cmd
	done chan struct{} // closed when it is reaped
}

// kill ends it, also where it lies frozen: version 1 of cgroups keeps a signal until the group is thawed.
func (p *process) kill(s vmm.Slot) {
	p.cmd.Process.Kill()
	if s.Group != nil {
		s.Group.Kill()
	}
}

// start starts QEMU in its slot. ended is called with the reason, once, if start returns no error.
func start(exe string, c *command, s vmm.Slot, ended func(error)) (*process, error) {
	p := &process{cmd: exec.Command(exe, c.args...), done: make(chan struct{})}
	last := &tail{also: s.Console}
	p.cmd.ExtraFiles = c.files
	p.cmd.Dir = "/"
	p.cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"} // nothing of ours is QEMU's business
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.WaitDelay = last, last, drainLimit
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: unix.SIGKILL}
	if s.UID != 0 {
		p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(s.UID), Gid: uint32(s.GID)}
	}
	begun := make(chan error, 1)
	go p.run(s, last, begun, ended)
	if err := <-begun; err != nil {
		return nil, err
	}
	return p, nil
}

// run keeps its thread as long as the process runs: the process dies with the thread that has started it.
func (p *process) run(s vmm.Slot, last *tail, begun chan<- error, ended func(error)) {
	runtime.LockOSThread()
	back, err := enter(s.Network)
	if err == nil {
		err = p.begin(s)
		if back() == nil {
			defer runtime.UnlockOSThread()
		} // else the thread, which is in the wrong namespace, ends with this goroutine
	} else {
		defer runtime.UnlockOSThread()
	}
	begun <- err
	if err != nil {
		return
	}
	err = p.cmd.Wait()
	close(p.done)
	ended(reason(err, last.String()))
}

// enter puts the thread into a network namespace; back returns it.
func enter(ns *os.File) (back func() error, err error) {
	if ns == nil {
		return func() error { return nil }, nil
	}
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		own.Close()
		return nil, os.NewSyscallError("setns", err)
	}
	return func() error {
		defer own.Close()
		return unix.Setns(int(own.Fd()), unix.CLONE_NEWNET)
	}, nil
}

// begin starts the process in the slot's group. A process can only be put into a group of version 1 when it runs, so a
// shell waits there, and becomes QEMU when it is told.
func (p *process) begin(s vmm.Slot) error {
	var files []string
	if s.Group != nil {
		files = s.Group.Procs()
	}
	if len(files) == 0 {
		if err := p.cmd.Start(); err != nil {
			return err
		}
		p.pid = p.cmd.Process.Pid
		return nil
	}
	told, tell, err := os.Pipe()
	if err != nil {
		return err
	}
	defer tell.Close()
	defer told.Close()
	p.cmd.Stdin = told
	p.cmd.Args = append([]string{"sh", "-c", `read -r go && [ "$go" = go ] && exec "$0" "$@" </dev/null`}, append([]string{p.cmd.Path}, p.cmd.Args[1:]...)...)
	p.cmd.Path = "/bin/sh"
	if err := p.cmd.Start(); err != nil {
		return err
	}
	p.pid = p.cmd.Process.Pid
	for _, f := range files {
		err = errors.Join(err, os.WriteFile(f, fmt.Append(nil, p.pid), 0))
	}
	if err == nil {
		_, err = io.WriteString(tell, "go\n")
	}
	if err != nil {
		p.cmd.Process.Kill()
		p.cmd.Wait()
		return fmt.Errorf("enter the group: %w", err)
	}
	return nil
}

// reason is why a process has ended. QEMU ends without a word when the machine resets or powers off.
func reason(err error, words string) error {
	if err == nil {
		return errEnded
	}
	if words == "" {
		words = "no word"
	}
	return fmt.Errorf("QEMU has ended: %w: %s", err, words)
}

// tail keeps the last words of a process, and passes all on.
type tail struct {
	mu   sync.Mutex
	also io.Writer // nil: nobody
	kept []byte
}

const tailSize = 2 << 10

// noise is what QEMU says at each start.
const noise = "warning: TCG doesn't support requested feature"

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if n := len(t.kept) - 2*tailSize; n > 0 {
		t.kept = append(t.kept[:0], t.kept[n:]...)
	}
	if t.also != nil {
		t.also.Write(b)
	}
	return len(b), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var words []string
	for line := range strings.Lines(string(t.kept)) {
		if line = strings.TrimSpace(line); line != "" && !strings.Contains(line, noise) {
			words = append(words, line)
		}
	}
	all := strings.Join(words, "; ")
	return all[max(0, len(all)-tailSize):]
}

// onThread calls do on a thread in a network namespace, with an error if it cannot be entered.
func onThread(ns *os.File, do func(error)) {
	go func() {
		runtime.LockOSThread()
		back, err := enter(ns)
		do(err)
		if err != nil || back() == nil {
			runtime.UnlockOSThread()
		}
	}()
}
