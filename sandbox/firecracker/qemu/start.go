package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"golang.org/x/sys/unix"

	"thaw/internal/cleanup"
	"thaw/sandbox/firecracker/vmm"
)

// Boot is vmm.Machine's.
func (m *machine) Boot(ctx context.Context, c vmm.Config) error {
	if err := m.begin(); err != nil {
		return err
	}
	mem, err := newMemory(c.MemoryMiB, true)
	if err == nil {
		err = m.launch(ctx, c, mem)
	}
	return m.launched("boot", err)
}

// launched is the end of each way to start a process: a machine without one has ended.
func (m *machine) launched(what string, err error) error {
	if err == nil {
		return nil
	}
	err = fmt.Errorf("%s machine %s: %w", what, m.slot.Name, err)
	m.mu.Lock()
	proc := m.proc
	m.mu.Unlock()
	if proc == nil {
		m.end(err)
		return err
	}
	// What QEMU says is more than that it is gone.
	if errors.Is(err, errGone) {
		<-m.exited
		err = fmt.Errorf("%s machine %s: %w", what, m.slot.Name, m.why())
	}
	return err
}

// launch starts QEMU, which has the memory from then on, and connects to it. more is added to its command line.
func (m *machine) launch(ctx context.Context, c vmm.Config, mem *memory, more ...string) (err error) {
	m.mu.Lock()
	m.memory = mem // Close closes it
	m.mu.Unlock()
	var theirs cleanup.Stack // what QEMU has when it runs
	defer theirs.Run()
	var undo cleanup.Stack
	defer undo.Run()
	in, err := openInputs(c, m.slot, &theirs)
	if err != nil {
		return err
	}
	connect := func(name string) (ours *net.UnixConn, file *os.File) {
		if err != nil {
			return nil, nil
		}
		if ours, file, err = pair(name); err == nil {
			undo.Add(ours.Close)
			theirs.Add(file.Close)
		}
		return ours, file
	}
	var qmp, console *net.UnixConn
	qmp, in.qmp = connect("qmp")
	console, in.console = connect("console")
	in.ports = make(map[uint32]*os.File)
	conns := make(map[uint32]*port)
	for _, p := range ports {
		var ours *net.UnixConn
		ours, in.ports[p] = connect("port")
		conns[p] = newPort(ours)
	}
	if err != nil {
		return err
	}
	cmd := &command{}
	cmd.machine(m.m, m.slot.Name, c, in, mem)
	cmd.add(more...)
	if err := m.run(cmd, console); err != nil {
		return err
	}
	undo.Keep()
	theirs.Run() // before anybody waits for QEMU: connections end with it only if no one else has its ends
	m.mu.Lock()
	m.ports = conns
	m.mu.Unlock()
	client, err := openClient(ctx, qmp)
	m.mu.Lock()
	m.qmp = client // Close closes it
	m.mu.Unlock()
	if err != nil {
		return err
	}
	return client.call(ctx, "migrate-set-capabilities", map[string]any{
		"capabilities": []map[string]any{{"capability": "x-ignore-shared", "state": true}},
	}, nil)
}

// run starts the process, unless Close was quicker.
func (m *machine) run(cmd *command, console *net.UnixConn) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return errClosed
	}
	said := make(chan struct{})
	go func() {
		defer close(said)
		io.Copy(&tail{also: m.slot.Console}, console)
	}()
	proc, err := start(m.m.exe, cmd, m.slot, func(why error) {
		<-said // the connection has ended with the process
		console.Close()
		m.end(why)
	})
	if err != nil {
		console.Close()
		<-said
		return err
	}
	m.proc = proc
	return nil
}

// openInputs opens what the machine is made of. An error leaves nothing open that closing does not have.
func openInputs(c vmm.Config, s vmm.Slot, closing *cleanup.Stack) (in inputs, err error) {
	open := func(path string, flag int) *os.File {
		if err != nil {
			return nil
		}
		var f *os.File
		if f, err = os.OpenFile(path, flag, 0); err == nil {
			closing.Add(f.Close)
		}
		return f
	}
	in.kernel = open(c.Kernel, os.O_RDONLY)
	in.initramfs = open(c.Initramfs, os.O_RDONLY)
	for _, d := range c.Drives {
		flag := os.O_RDONLY
		if d.Writable {
			flag = os.O_RDWR
		}
		in.drives = append(in.drives, open(d.Path, flag))
	}
	if err == nil && s.Tap != "" {
		if in.tap, err = openTap(s); err == nil {
			closing.Add(in.tap.Close)
		}
	}
	return in, err
}

// openTap attaches to the slot's device, so that QEMU needs no rights in the namespace.
func openTap(s vmm.Slot) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	done := make(chan result, 1)
	onThread(s.Network, func(err error) {
		if err != nil {
			done <- result{nil, err}
			return
		}
		f, err := attachTap(s.Tap)
		done <- result{f, err}
	})
	r := <-done
	if r.err != nil {
		return nil, fmt.Errorf("tap %s: %w", s.Tap, r.err)
	}
	return r.f, nil
}

func attachTap(name string) (*os.File, error) {
	if _, err := net.InterfaceByName(name); err != nil { // it would be made
		return nil, err
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/dev/net/tun", Err: err}
	}
	f := os.NewFile(uintptr(fd), "/dev/net/tun")
	r, err := unix.NewIfreq(name)
	if err == nil {
		r.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
