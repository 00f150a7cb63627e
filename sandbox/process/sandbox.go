package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"thaw/internal/proctree"
	"thaw/sandbox"
)

// Sandbox is one guest and its descendants.
type Sandbox struct {
	b      *Backend
	id     sandbox.ID
	dir    string
	conn   net.Conn
	cmd    *exec.Cmd
	mounts []sandbox.Mount
	stages []sandbox.Stage

	exited chan struct{}
	exit   sandbox.Exit // before exited is closed: wait's; afterwards: everybody's

	mu     sync.Mutex
	asked  bool
	frozen []int // who was stopped
	pids   []int // scratch
	scan   proctree.Scanner

	once     sync.Once
	closed   chan struct{}
	closeErr error
}

var _ sandbox.Sandbox = (*Sandbox)(nil)

// ID is the Spec's.
func (s *Sandbox) ID() sandbox.ID { return s.id }

// Conn is the host end of the stream.
func (s *Sandbox) Conn() net.Conn { return s.conn }

// Exited is closed when the guest has ended.
func (s *Sandbox) Exited() <-chan struct{} { return s.exited }

// MemoryExceeded never receives: there is no limit.
func (s *Sandbox) MemoryExceeded() <-chan struct{} { return nil }

// Stages are how long the steps of Create took.
func (s *Sandbox) Stages() []sandbox.Stage { return s.stages }

// HostPath translates what the function would call /var/task/x or /tmp/x.
func (s *Sandbox) HostPath(inside string) string { return sandbox.Translate(s.mounts, inside) }

// Exit says why it ended; the zero value while it has not.
func (s *Sandbox) Exit() sandbox.Exit {
	select {
	case <-s.exited:
		return s.exit
	default:
		return sandbox.Exit{}
	}
}

// PIDs are the guest and its descendants.
func (s *Sandbox) PIDs() []int {
	select {
	case <-s.exited:
		return nil
	default:
		return proctree.Descendants(s.guestPID(), []int{s.guestPID()})
	}
}

func (s *Sandbox) guestPID() int { return s.cmd.Process.Pid }

// wait sees the guest's end.
func (s *Sandbox) wait() {
	err := s.cmd.Wait()
	if err != nil { // it ends well only when nothing is left
		killMarked(s.dir)
	}
	s.mu.Lock()
	s.exit = sandbox.Exit{Asked: s.asked}
	if !s.asked {
		if err == nil {
			err = errors.New("guest ended")
		}
		s.exit.Err = err
	}
	s.mu.Unlock()
	close(s.exited)
}

// Freeze stops every process but the guest, which has nothing to do then. It returns when they do not run any more.
//
// Whoever is stopped has no more children, so each process is stopped first and asked for its children then. What can escape that is a process
// whose parent ended before it was stopped: the guest has adopted it, so the guest's children are read once more in the end. The guest
// forks from its first thread only, which also adopts; so that is one small file.
func (s *Sandbox) Freeze() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.gone(); err != nil {
		return err
	}
	if len(s.frozen) > 0 {
		return nil
	}
	const patience = 2 * time.Second
	deadline := time.Now().Add(patience)
	for {
		pids, ok := s.scan.OfFirstThread(s.guestPID(), s.pids[:0])
		if !ok {
			return s.freezeSlowly(deadline)
		}
		adopted := len(pids)
		for i := 0; i < len(pids); i++ {
			if !stop(pids[i], deadline) {
				return s.notStopping(pids)
			}
			pids, _ = s.scan.Children(pids[i], pids)
		}
		all := len(pids)
		pids, _ = s.scan.OfFirstThread(s.guestPID(), pids)
		s.pids = pids
		if slices.Equal(pids[all:], pids[:adopted]) {
			s.frozen = append(s.frozen[:0], pids[:all]...)
			return nil
		}
		if time.Now().After(deadline) {
			return s.notStopping(pids)
		}
	}
}

// stop stops one process and waits until it has stopped, or ended. The state is that of its first thread: when that has
// stopped, the kernel has interrupted the others to stop them too.
func stop(pid int, deadline time.Time) bool {
	syscall.Kill(pid, syscall.SIGSTOP)
	for round := 0; ; round++ {
		switch proctree.State(pid) {
		case 'T', 't', 'Z', 'X', 0:
			return true
		}
		if round < 10 {
			runtime.Gosched()
			continue
		}
		time.Sleep(50 * time.Microsecond)
		if time.Now().After(deadline) {
			return false
		}
	}
}

// freezeSlowly is for kernels without lists of children: it looks at all processes until everybody that it finds is stopped already.
func (s *Sandbox) freezeSlowly(deadline time.Time) error {
	for known := -1; ; {
		s.pids = proctree.Descendants(s.guestPID(), s.pids[:0])
		if len(s.pids) == known {
			s.frozen = append(s.frozen[:0], s.pids...)
			return nil
		}
		known = len(s.pids)
		for _, pid := range s.pids {
			if !stop(pid, deadline) {
				return s.notStopping(s.pids)
			}
		}
		if time.Now().After(deadline) {
			return s.notStopping(s.pids)
		}
	}
}

// notStopping lets everybody go on that was stopped in vain.
func (s *Sandbox) notStopping(pids []int) error {
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGCONT)
	}
	return fmt.Errorf("freeze sandbox %s: its %d processes do not stop", s.id, len(pids))
}

// Thaw lets everybody go on.
func (s *Sandbox) Thaw() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.gone(); err != nil {
		return err
	}
	for _, pid := range s.frozen {
		syscall.Kill(pid, syscall.SIGCONT)
	}
	s.frozen = s.frozen[:0]
	return nil
}

func (s *Sandbox) gone() error {
	select {
	case <-s.exited:
		return sandbox.ErrClosed
	default:
		return nil
	}
}

// Close ends the sandbox and removes its folder. The guest kills its descendants when it is told to go; should it not be able to, Close does.
func (s *Sandbox) Close() error {
	s.once.Do(func() {
		defer close(s.closed)
		s.mu.Lock()
		s.asked = true
		s.mu.Unlock()
		s.conn.Close() // the guest's stream ends
		const patience = 3 * time.Second
		timer := time.NewTimer(patience)
		defer timer.Stop()
		select {
		case <-s.exited:
		case <-timer.C:
			s.b.log.Warn("guest does not go, killing it", "sandbox", s.id)
			s.cmd.Process.Kill()
			<-s.exited
		}
		if err := os.RemoveAll(s.dir); err != nil {
			s.closeErr = fmt.Errorf("folder of sandbox %s: %w", s.id, err)
		}
		s.b.mu.Lock()
		delete(s.b.all, s.id)
		s.b.mu.Unlock()
	})
	<-s.closed
	return s.closeErr
}
