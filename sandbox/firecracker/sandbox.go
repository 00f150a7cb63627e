package firecracker

import (
	"fmt"
	"net"
	"slices"
	"sync"

	"thaw/sandbox"
	"thaw/sandbox/firecracker/vmm"
	"thaw/sandbox/host/cgroup"
	"thaw/sandbox/host/network"
)

// Sandbox implements sandbox.Sandbox. While it is a slot for nobody yet it has no ID.
type Sandbox struct {
	b    *Backend
	name string // of its folder, cgroup and monitor
	dir  string

	patient bool       // made with less claim on the processor
	steps   sync.Mutex // held while steps are done, and undone
	begun   []step     // those that have an undo

	// Set by the steps, in order; nil or 0 where one was not reached.
	uid      int // whom its monitor runs as, and its group; 0: as the server does
	group    *cgroup.Group
	net      *network.Network // nil: loopback only
	machine  vmm.Machine
	watching bool // somebody waits for the machine's end
	disks    disks
	control  *controls
	conn     *stream

	console *console

	id     sandbox.ID
	spec   sandbox.Spec
	stages []sandbox.Stage

	restoring *restoring // nil but in Restore
	late      *late      // nil: its memory was there when it began

	exited   chan struct{} // closed when the monitor's process has ended
	exceeded chan struct{}
	closing  chan struct{} // closed when Close begins
	gone     chan struct{} // closed when Close is done
	closeErr error         // valid once gone is closed

	mu     sync.Mutex // guards what follows
	exit   sandbox.Exit
	reason error // why it was ended, where nobody asked
	closed bool
	saving bool // it ends with its checkpoint

	freezing freezing
	freezer  func(want bool, closing <-chan struct{}) error // of the group; a test puts a failing one here
	memory   memory
	wg       sync.WaitGroup // watchers
}

// become makes it the sandbox of a spec, whose name Close gives back from here on.
func (s *Sandbox) become(spec sandbox.Spec) {
	s.b.work.mu.Lock()
	defer s.b.work.mu.Unlock()
	s.id, s.spec = spec.ID, spec
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

// PIDs implements sandbox.Sandbox: the monitor's process comes first, since the sandbox ends with it.
func (s *Sandbox) PIDs() []int {
	pids := s.machine.PIDs()
	for _, pid := range s.group.PIDs() {
		if !slices.Contains(pids, pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// HostPath implements sandbox.Sandbox: paths inside are real.
func (s *Sandbox) HostPath(inside string) string { return inside }

// Stages implements sandbox.Sandbox.
func (s *Sandbox) Stages() []sandbox.Stage { return s.stages }

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

func (s *Sandbox) describe(err error) error { return fmt.Errorf("sandbox %s: %w", s.id, err) }
