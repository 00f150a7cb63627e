// Package machine is thaw-guest as the first process of a virtual machine: it does inside what the runtime of a container
// does from outside, and then is the guest that it is everywhere (package guest).
//
//	boot -> listens on control.Port -> Bind -> listens on control.StreamPort -> guest.OpenIn, Run -> power off
//
// # What the function sees
//
// Its processes have a root on a tmpfs, read-only, with the drives' folders bound into it, a /tmp, a /dev of nine devices,
// /proc without processes that are not theirs, and /sys to read. The drives, the initramfs and the devices of the
// machine lie outside of that root. They run without capabilities and privileges, in a control group of their own.
//
// # How nobody inside reaches the host
//
// The ports of a virtio console are devices of root's, outside the root. A vsock address needs a socket of AF_VSOCK:
// a seccomp filter refuses it to the guest, once its own are listening, and to all that it starts (walls.go). On the
// host, nobody listens for connections that a machine begins.
//
// # Goroutines and owners
//
//	main      runs the guest, and then ends the machine
//	ports     one for each port and transport that is there: takes connections, as long as the machine runs
//	control   answers the host on control.Port, one connection after the other
//	limit     waits for the kernel to kill at the memory limit
//
// The machine's end ends them all.
package machine

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"thaw/guest"
	"thaw/guest/control"
)

// Wanted says whether the kernel has started this program: it is the first process, and nobody gave it a stream.
func Wanted() bool {
	if os.Getpid() != 1 {
		return false
	}
	_, err := unix.GetsockoptInt(guest.StreamFD, unix.SOL_SOCKET, unix.SO_TYPE)
	return err != nil
}

// machine is what the goroutines share.
type machine struct {
	host  *host  // the file systems that the function does not see
	group *group // of the function's processes
	bound chan struct{}

	stream stream

	mu    sync.Mutex
	root  bool // Bind was done, or tried
	talk  *speaker
	saves uint32 // how often this machine, and those that it is a copy of, was saved
}

// Main is the whole program. It does not return: when the host has said Exit or has gone away, the machine ends.
func Main() int {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "thaw-guest:", err)
	}
	// A monitor ends with the machine's reset, which is quicker for it than the ways of ACPI.
	unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	return 1
}

func run() error {
	guest.Tune()
	host, err := boot()
	if err != nil {
		return complain(fmt.Errorf("boot: %w", err))
	}
	m := &machine{host: host, bound: make(chan struct{})}
	m.stream.init()
	if m.group, err = host.makeGroup(); err != nil {
		return complain(fmt.Errorf("boot: %w", err))
	}
	if err := m.listen(); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	go m.watchLimit()
	<-m.bound
	m.stream.wait()
	g, err := guest.OpenIn(guest.Place{Group: m.group.dir, Kills: m.group.kills, Quiet: m.stream.quiet}, &m.stream)
	if err != nil {
		return err
	}
	m.stream.quiet(false)
	err = g.Run()
	if left := g.Close(); left > 0 {
		err = errors.Join(err, fmt.Errorf("%d processes do not end", left))
	}
	return err
}

// listen takes connections on both ports, by what the machine has. The stream's are taken from the beginning, so that
// no program can listen there.
func (m *machine) listen() error {
	return listenAll(map[uint32]taker{control.Port: m.answering, control.StreamPort: m.stream.offer})
}

// taker takes a connection, at once, so that the last that was made is the one that counts. The rest, as long as the
// connection lasts, is for serve.
type taker func(io.ReadWriteCloser) (serve func())

// listenAll takes connections on the machine's ports, by vsock or, where there is none, by virtio consoles.
func listenAll(take map[uint32]taker) error {
	vsock := false
	for port, f := range take {
		ok, err := listenVsock(port, f)
		if err != nil {
			return err
		}
		vsock = vsock || ok
	}
	if !vsock {
		go openSerial(take)
	}
	return nil
}

// Serve makes a kernel's bare initramfs a machine and takes connections on its ports, for a program of tests that
// takes the guest's place. It returns when the ports are listened on.
func Serve(take map[uint32]func(io.ReadWriteCloser)) error {
	if _, err := boot(); err != nil {
		return fmt.Errorf("boot: %w", err)
	}
	takers := make(map[uint32]taker)
	for port, f := range take {
		takers[port] = func(c io.ReadWriteCloser) func() { return func() { f(c) } }
	}
	return listenAll(takers)
}

// watchLimit tells the host when the kernel has killed.
func (m *machine) watchLimit() {
	seen := int64(0)
	for m.group.waitEvents() {
		if n := m.group.kills(); n > seen {
			seen = n
			m.mu.Lock()
			talk := m.talk
			m.mu.Unlock()
			if talk != nil {
				talk.outOfMemory(n) // nobody there: Exited says it, too
			}
		}
	}
}

// sleepless is an error of a call that may be made again at once.
func sleepless(err error) bool { return err == syscall.EINTR || err == syscall.ECONNABORTED }
