package gvisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"thaw/sandbox"
	"thaw/sandbox/gvisor/launch"
	"thaw/sandbox/host/cgroup"
	"thaw/sandbox/host/network"
)

// closeLimit bounds the launcher's part of ending a sandbox. Past it, Close goes on without.
const closeLimit = 30 * time.Second

// Sandbox implements sandbox.Sandbox. While it is blank it has no ID.
type Sandbox struct {
	b    *Backend
	name string // of its folder, cgroups and gVisor container
	dir  string

	patient bool // made with less claim on the processor

	begun []step // by makeSandbox, those that have an undo

	// Set by those steps, in order; nil or false where one was not reached.
	group    *cgroup.Group
	net      *network.Network // nil: loopback only
	conn     *net.UnixConn
	console  *console
	launcher *launch.Launcher // that may know it
	watching bool
	control  *control // nil only before its processes are made
	pid      int      // of the user-space kernel

	id     sandbox.ID
	spec   sandbox.Spec
	stages []sandbox.Stage

	restoring *restoring // nil but in Restore

	exited   chan struct{} // closed by the watcher when the sandbox's process has ended
	exceeded chan struct{}
	closing  chan struct{} // closed when Close begins
	gone     chan struct{} // closed when Close is done
	closeErr error         // valid once gone is closed

	mu     sync.Mutex // guards what follows
	exit   sandbox.Exit
	closed bool
	saving bool // it ends with its checkpoint

	freezeMu sync.Mutex // one change of the freezer at a time; guards what follows
	frozen   bool
	stuck    error                                          // why it is not known any more whether it runs; only Close is left
	freezer  func(want bool, closing <-chan struct{}) error // of the group; a test puts a failing one here

	untrimmed atomic.Int32 // how often it is still to be trimmed

	memory memory
	wg     sync.WaitGroup // watchers
}

// setLimits sets the limits of the spec.
func (s *Sandbox) setLimits(context.Context) error { return s.limit() }

// mount puts the files of the spec into a blank sandbox.
func (s *Sandbox) mount(ctx context.Context) error {
	if len(s.spec.Mounts) == 0 {
		return nil
	}
	_, err := s.launcher.Call(ctx, launch.Request{Op: launch.OpBind, ID: s.name, Root: s.root(), Mounts: s.spec.Mounts})
	return err
}

// become makes it the sandbox of a spec, whose name Close gives back from here on.
func (s *Sandbox) become(spec sandbox.Spec) {
	s.b.mu.Lock()
	defer s.b.mu.Unlock()
	s.id, s.spec = spec.ID, spec
}

// watch starts a goroutine that notices the end of one of the sandbox's two processes, and ends whatever is left then.
func (s *Sandbox) watch(pid int, ended func()) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("pidfd of %d: %w", pid, err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	rc, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return fmt.Errorf("pidfd of %d: %w", pid, err)
	}
	if pid == s.pid {
		s.watching = true
	}
	s.wg.Go(func() {
		defer f.Close()
		// A pidfd is readable when its process has ended. The launcher reaps it only when told to, so the pid stays ours.
		rc.Read(func(fd uintptr) bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0 || (err != nil && err != unix.EINTR)
		})
		s.group.Kill()
		ended()
		if pid == s.pid { // reap it, without waiting for the owner
			s.forget()
		}
	})
	return nil
}

func (s *Sandbox) noteExit() {
	oom := s.memory.killed.Load() || s.group.OOMKilled()
	s.mu.Lock()
	s.exit = sandbox.Exit{Asked: (s.closed || s.saving) && !oom, OutOfMemory: oom}
	if !s.closed && !s.saving {
		s.exit.Err = fmt.Errorf("sandbox ended by itself; its guest last said: %s", s.console.tail())
	}
	s.mu.Unlock()
	close(s.exited)
}

func (s *Sandbox) ended() bool {
	select {
	case <-s.exited:
		return true
	default:
		return false
	}
}

// ID implements sandbox.Sandbox.
func (s *Sandbox) ID() sandbox.ID { return s.id }

// Conn implements sandbox.Sandbox.
func (s *Sandbox) Conn() net.Conn { return s.conn }

// MemoryExceeded implements sandbox.Sandbox.
func (s *Sandbox) MemoryExceeded() <-chan struct{} { return s.exceeded }

// Exited implements sandbox.Sandbox.
func (s *Sandbox) Exited() <-chan struct{} { return s.exited }

// Exit implements sandbox.Sandbox. It is the zero Exit until Exited is closed.
func (s *Sandbox) Exit() sandbox.Exit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exit
}

// PIDs implements sandbox.Sandbox: the user-space kernel, its file server, and the processes that guest code runs in.
// The kernel comes first: with it the sandbox ends.
func (s *Sandbox) PIDs() []int {
	pids := s.group.PIDs()
	slices.SortFunc(pids, func(a, b int) int {
		switch {
		case a == s.pid:
			return -1
		case b == s.pid:
			return 1
		}
		return a - b
	})
	return pids
}

// HostPath implements sandbox.Sandbox: paths inside are real.
func (s *Sandbox) HostPath(inside string) string { return inside }

// Stages implements sandbox.Sandbox.
func (s *Sandbox) Stages() []sandbox.Stage { return s.stages }

// Freeze implements sandbox.Sandbox.
func (s *Sandbox) Freeze() error { return s.setFrozen(true) }

// Thaw implements sandbox.Sandbox.
func (s *Sandbox) Thaw() error { return s.setFrozen(false) }

// setFrozen changes the freezer. An error of which it is not known what it left behind is given again by every later call.
func (s *Sandbox) setFrozen(want bool) error {
	s.freezeMu.Lock()
	defer s.freezeMu.Unlock()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed || s.ended() {
		return sandbox.ErrClosed
	}
	if s.stuck != nil {
		return s.stuck
	}
	if s.frozen == want {
		return nil
	}
	change := s.control.resume // see control.go
	if want {
		s.trim()
		change = s.control.pause
	}
	if err := change(); err != nil {
		s.stuck = fmt.Errorf("sandbox %s: %w", s.id, err)
		return s.stuck
	}
	if err := s.freezer(want, s.closing); err != nil {
		err = fmt.Errorf("sandbox %s: freezer: %w", s.id, err)
		if !want {
			s.stuck = err
			return err
		}
		// Half-frozen is worse than running.
		if undo := errors.Join(s.freezer(false, s.closing), s.control.resume()); undo != nil {
			err = errors.Join(err, undo)
			s.stuck = err
		}
		return err
	}
	s.frozen = want
	return nil
}

// Close implements sandbox.Sandbox.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	first := !s.closed
	s.closed = true
	s.mu.Unlock()
	if first {
		close(s.closing)
		s.closeErr = s.destroy()
		close(s.gone)
	}
	<-s.gone
	return s.closeErr
}

// forget has the launcher end, reap and unmount the sandbox. A second time does nothing.
func (s *Sandbox) forget() error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), closeLimit, errors.New("the launcher does not end it"))
	defer cancel()
	_, err := s.launcher.Call(ctx, launch.Request{Op: launch.OpDestroy, ID: s.name})
	if errors.Is(err, launch.ErrGone) { // its sandboxes went with it
		return nil
	}
	return err
}
