// Package outer runs a static test program as root in a machine of its own, under QEMU's emulation: tests that need what
// this host does not have (a processor with virtualisation, a kernel with control groups of version 2 alone) run in it.
// The machine is called the outer machine, since Firecracker's machines run inside.
//
// Run packs the program, the files that it needs, busybox and an init into an initramfs. The init is this program itself
// (Init), which loads the kernel's modules, moves the root into a tmpfs, mounts what a host has mounted, and runs the
// program. Output, exit code and files come back as frames over a virtio-serial port (frame.go).
//
// QEMU belongs to Run, dies with the process that called it, and reads the initramfs from memory: nothing is left on disk.
package outer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Job is what runs in a machine.
type Job struct {
	Program string   // a static executable of this host
	Args    []string // without the program's name
	Vars    []string // NAME=VALUE, beside PATH, HOME and TMPDIR
	Files   []File   // what it finds there
	Dir     string   // a folder of this host whose testdata it finds in its working folder; empty: none
	Limit   time.Duration
	Output  io.Writer // gets what the program prints
	Notes   io.Writer // gets what the runner says: retries, consoles of machines that died
	Back    []Back
}

// Back is a file that comes back when the program has ended, if it is there.
type Back struct{ There, Here string }

// bootLimit bounds the time until the program begins. It takes 3 seconds on an idle processor and 30 on a busy one.
const bootLimit = 2 * time.Minute

var (
	errHung   = errors.New("the machine hangs")
	errLimit  = errors.New("the time of the machine is over")
	errNoExit = errors.New("the machine ended before the program did")
)

// Run runs a job in a machine and returns the program's exit code. An error says that there is none. A machine that hangs
// or ends before the program begins is started once more, which Notes are told of: QEMU's emulation loses an interrupt once
// in many boots.
func Run(ctx context.Context, m Machine, j Job) (code int, err error) {
	initrd, err := m.initramfs(j)
	if err != nil {
		return 0, err
	}
	defer initrd.Close()
	ctx, cancel := context.WithTimeoutCause(ctx, j.Limit, fmt.Errorf("%w: %v", errLimit, j.Limit))
	defer cancel()
	for attempt := 1; ; attempt++ {
		code, began, err := run(ctx, m, j, initrd)
		if err == nil || began || attempt == 2 || ctx.Err() != nil {
			return code, err
		}
		fmt.Fprintf(j.Notes, "outer: before the program began: %v; retry 1 of 1\n", err)
	}
}

// run starts the machine once. began: the program was started in it.
func run(ctx context.Context, m Machine, j Job, initrd *os.File) (code int, began bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	q, err := m.start(ctx, initrd)
	if err != nil {
		return 0, false, err
	}
	defer func() {
		cancel(nil)
		q.wait()
		if err != nil {
			fmt.Fprintf(j.Notes, "outer: %v; the end of its console:\n%s\n", err, q.console.tail())
		}
	}()
	boot := time.AfterFunc(bootLimit, func() { cancel(errHung) })
	defer boot.Stop()
	code, err = receive(q.port, j, func() { began = true; boot.Stop() })
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return code, began, err
}

// receive takes the frames of a machine until the exit code.
func receive(port io.Reader, j Job, began func()) (code int, err error) {
	for {
		kind, body, err := readFrame(port)
		if err != nil {
			return 0, errNoExit
		}
		switch kind {
		case frameBegan:
			began()
		case frameOutput:
			if _, err := j.Output.Write(body); err != nil {
				return 0, err
			}
		case frameNote:
			fmt.Fprintf(j.Notes, "outer: %s\n", body)
		case frameFile:
			if err := j.keep(body); err != nil {
				return 0, err
			}
		case frameExit:
			return readExit(body)
		default:
			return 0, fmt.Errorf("the machine sent a frame of kind %q", kind)
		}
	}
}

// keep writes a file that came back to its place.
func (j Job) keep(body []byte) error {
	name, data, err := readFile(body)
	if err != nil {
		return err
	}
	for _, b := range j.Back {
		if b.There == name {
			return os.WriteFile(b.Here, data, 0o644)
		}
	}
	return fmt.Errorf("the machine sent the file %q, which nobody asked for", name)
}
