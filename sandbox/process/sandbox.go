package process

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
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
// Stopping who is known may race with a fork, so it looks again until everybody that it finds is stopped already.
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
	for pause := 20 * time.Microsecond; ; pause = min(2*pause, time.Millisecond) {
		s.pids = proctree.Descendants(s.guestPID(), s.pids[:0])
		running := false
		for _, pid := range s.pids {
			// A stopped process is left alone, and so is one that has ended. The state is the first thread's: when
			// that has stopped, the kernel has interrupted the others to stop them too.
			switch proctree.State(pid) {
			case 'T', 't', 'Z', 'X', 0:
			default:
				running = true
				syscall.Kill(pid, syscall.SIGSTOP)
			}
		}
		if !running {
			s.frozen = append(s.frozen[:0], s.pids...)
			return nil
		}
		if time.Now().After(deadline) {
			for _, pid := range s.pids {
				syscall.Kill(pid, syscall.SIGCONT)
			}
			return fmt.Errorf("freeze sandbox %s: its %d processes do not stop", s.id, len(s.pids))
		}
		if pause > 40*time.Microsecond {
			time.Sleep(pause)
		}
	}
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
