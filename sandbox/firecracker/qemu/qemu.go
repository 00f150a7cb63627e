// Package qemu runs machines in QEMU's microvm machine without hardware virtualisation: for tests, and for developers
// whose machines have no KVM. All instructions are emulated on one core, some four to eighteen times slower.
//
// QEMU starts with what the machine is made of, so a machine's process begins in Boot or Restore, not in Open.
// Everything that it works with comes as an open descriptor: it needs no right to any path, leaves no file in the
// slot's folder, and nobody else can connect to it.
//
// # Memory
//
// A booted machine's memory is a memfd that QEMU maps shared. A snapshot is QEMU's migration stream without the memory
// (x-ignore-shared), and a copy of the memfd. A restored machine maps the snapshot's memory file privately: machines
// share the pages that they do not write. Its own memory then is nowhere but in the process, so that a snapshot of it
// has the memory in the stream, and an empty memory file.
//
// # Goroutines and owners
//
//	run      one for each process: starts it, waits for its end; its thread is the parent that the process ends with
//	console  copies the machine's console to Slot.Console
//	qmp      reads QEMU's answers
//
// All end with the process, and Close waits for them.
package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"sync"

	"thaw/sandbox/firecracker/vmm"
)

const program = "qemu-system-x86_64"

// Monitor is vmm.Monitor.
type Monitor struct {
	exe     string
	version string
	tscKHz  int
}

var versionText = regexp.MustCompile(`version (\d+\.\d+\.\d+)`)

// New finds QEMU. Where it is not installed the error is a *vmm.MissingError.
func New(ctx context.Context) (*Monitor, error) {
	exe, err := exec.LookPath(program)
	if err != nil {
		return nil, &vmm.MissingError{What: "there is no " + program, Hint: "apt-get install --no-install-recommends qemu-system-x86"}
	}
	out, err := exec.CommandContext(ctx, exe, "-version").Output()
	if err != nil {
		return nil, fmt.Errorf("%s -version: %w", exe, err)
	}
	v := versionText.FindSubmatch(out)
	if v == nil {
		return nil, fmt.Errorf("%s says no version, but %.80q", exe, bytes.TrimSpace(out))
	}
	khz, err := hostTSC()
	if err != nil {
		return nil, err
	}
	return &Monitor{exe: exe, version: string(v[1]), tscKHz: khz}, nil
}

// Name is vmm.Monitor's.
func (m *Monitor) Name() string { return "qemu" }

// Key is vmm.Monitor's. The emulated processor is the same everywhere, but for its clock, which is the host's.
func (m *Monitor) Key() string {
	return fmt.Sprintf("qemu-%s-tcg-tsc%dMHz", m.version, (m.tscKHz+500)/1000)
}

// Open is vmm.Monitor's.
func (m *Monitor) Open(ctx context.Context, s vmm.Slot) (vmm.Machine, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	return &machine{m: m, slot: s, exited: make(chan struct{}), ports: make(map[uint32]*port)}, nil
}

// Ends of a machine that are no faults.
var (
	errClosed = errors.New("the machine was closed")
	errEnded  = errors.New("the machine has ended itself")
)

// machine is vmm.Machine. It begins without a process.
type machine struct {
	m      *Monitor
	slot   vmm.Slot
	exited chan struct{} // closed when the process has ended, or there will be none

	mu     sync.Mutex
	begun  bool // Boot or Restore was called, or Close
	closed bool
	proc   *process // nil: not started
	err    error    // why it ended, when exited is closed
	ports  map[uint32]*port
	qmp    *client
	memory *memory
	paused bool
}

// begin is the one call of Boot or Restore.
func (m *machine) begin() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return errClosed
	case m.begun:
		return errors.New("the machine was started already")
	}
	m.begun = true
	return nil
}

// PIDs is vmm.Machine's.
func (m *machine) PIDs() []int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.proc == nil {
		return nil
	}
	return []int{m.proc.pid}
}

// Exited is vmm.Machine's.
func (m *machine) Exited() <-chan struct{} { return m.exited }

// Err is vmm.Machine's.
func (m *machine) Err() error {
	if err := m.why(); !errors.Is(err, errClosed) && !errors.Is(err, errEnded) {
		return err
	}
	return nil
}

// why is the reason of whoever needs the machine after its end.
func (m *machine) why() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// end is called once, when the process has ended or none will be started.
func (m *machine) end(err error) {
	m.mu.Lock()
	if m.closed {
		err = errClosed
	}
	m.err = err
	m.mu.Unlock()
	close(m.exited)
}

// Close is vmm.Machine's.
func (m *machine) Close() error {
	m.mu.Lock()
	first := !m.closed
	m.closed = true
	never := first && !m.begun
	m.begun = true
	proc := m.proc
	m.mu.Unlock()
	if never {
		m.end(errClosed)
	}
	if proc != nil {
		proc.kill(m.slot)
	}
	<-m.exited
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.qmp != nil {
		m.qmp.close()
		m.qmp = nil
	}
	for _, p := range m.ports {
		p.close()
	}
	if m.memory != nil {
		m.memory.close()
		m.memory = nil
	}
	return nil
}
