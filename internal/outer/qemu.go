package outer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// qemuCommand is QEMU's program for the only architecture that the machines have.
const qemuCommand = "qemu-system-x86_64"

// emulator is one QEMU process.
type emulator struct {
	port    *os.File // our end of the virtio-serial port
	console *console
	ended   chan struct{}
}

// wait returns when the process is gone.
func (q *emulator) wait() {
	<-q.ended
	q.port.Close()
}

// start starts QEMU, which ends with ctx, and with this process.
func (m Machine) start(ctx context.Context, initrd *os.File) (*emulator, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("port of the machine: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "port"), os.NewFile(uintptr(pair[1]), "port")
	defer theirs.Close()
	q := &emulator{port: ours, console: &console{}, ended: make(chan struct{})}
	// Descriptors of the child: 3 is the port, 4 the initramfs.
	cmd := exec.CommandContext(ctx, qemuCommand, m.arguments("/proc/self/fd/4", "/proc/self/fd/1", 3)...)
	cmd.ExtraFiles = []*os.File{theirs, initrd}
	cmd.Stdout, cmd.Stderr = q.console, &unlisted{to: q.console}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		defer close(q.ended)
		runtime.LockOSThread() // the kernel sends Pdeathsig when the thread ends that started the process
		defer runtime.UnlockOSThread()
		restore := hurry()
		err := cmd.Start()
		restore()
		started <- err
		if err == nil {
			cmd.Wait() // how the program ended is told by the port
		}
	}()
	if err := <-started; err != nil {
		ours.Close()
		return nil, fmt.Errorf("start %s: %w", qemuCommand, err)
	}
	return q, nil
}

// hurry lets what this thread starts go before other processes, as far as it may. Everything inside a machine takes ten
// times what it takes on a host, and has the deadlines of a host: it cannot also wait for a processor behind tests that
// nobody hurries.
func hurry() (restore func()) {
	const before = 5 // of 20
	was, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil || was > 20 { // 20 less the niceness; above 20: hurried already
		return func() {}
	}
	unix.Setpriority(unix.PRIO_PROCESS, 0, 20-was-before) // not allowed: as it was
	return func() { unix.Setpriority(unix.PRIO_PROCESS, 0, 20-was) }
}

// console keeps the end of what the kernel printed.
type console struct {
	mu  sync.Mutex
	all []byte // under mu
}

// consoleKept is how many bytes of a console are kept: some hundred lines.
const consoleKept = 32 << 10

func (c *console) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all = append(c.all, b...)
	if len(c.all) > 2*consoleKept {
		c.all = append(c.all[:0], c.all[len(c.all)-consoleKept:]...)
	}
	return len(b), nil
}

func (c *console) tail() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.TrimSpace(bytes.Clone(c.all[max(0, len(c.all)-consoleKept):]))
}

// unlisted passes lines on but for QEMU's list of what its emulation lacks of a processor's model, a line for each.
type unlisted struct {
	to   io.Writer
	part []byte
}

func (u *unlisted) Write(b []byte) (int, error) {
	u.part = append(u.part, b...)
	for {
		line, rest, ok := bytes.Cut(u.part, []byte{'\n'})
		if !ok {
			return len(b), nil
		}
		if !strings.Contains(string(line), "warning: TCG doesn't support") {
			fmt.Fprintf(u.to, "%s\n", line)
		}
		u.part = rest
	}
}

// Missing says which packages of Debian's the machines need and this host lacks.
func Missing() error {
	var errs []error
	if _, err := exec.LookPath(qemuCommand); err != nil {
		errs = append(errs, fmt.Errorf("no %s (Debian package qemu-system-x86)", qemuCommand))
	}
	if _, err := staticBusybox(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// memoryFile is a file without a name whose content write gives.
func memoryFile(name string, write func(io.Writer) error) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	w := bufio.NewWriterSize(f, 1<<20)
	if err := errors.Join(write(w), w.Flush()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
