// Package process is the sandbox backend without isolation: a sandbox is an ordinary guest process and what it starts, with the server's user,
// network and files. It needs no root and runs anywhere, and it protects nothing from anybody; it says so when it is opened.
//
// # How it holds together
//
// The guest is a child of the server in a process group of its own, with one end of a socketpair as descriptor 3. It is the subreaper of all that the
// function starts, so that the sandbox's processes are exactly the guest's descendants, daemons included. It is never frozen itself:
// it has nothing to do while the others are stopped, and it is what ends them when the server dies (its stream ends then,
// also by kill -9), stopped or not.
//
// # Owners
//
// A Backend owns its folder (one folder per sandbox, each with the /tmp of one) and waits for its guests. Lock order: Backend.mu, then Sandbox.mu.
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"thaw/guest"
	"thaw/sandbox"
)

// Options say where a backend lives.
type Options struct {
	Dir      string // a folder of its own; made when missing, swept when not empty
	GuestExe string // the thaw-guest program
	Log      *slog.Logger
}

// Backend makes sandboxes that isolate nothing.
type Backend struct {
	dir string
	exe string
	log *slog.Logger

	mu     sync.Mutex
	all    map[sandbox.ID]*Sandbox // nil: being made
	closed bool
}

var _ sandbox.Backend = (*Backend)(nil)

// Open takes over the folder: sandboxes that an earlier server left in it are ended and removed.
func Open(o Options) (*Backend, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("folder of process sandboxes: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("folder of process sandboxes: %w", err)
	}
	if _, err := os.Stat(o.GuestExe); err != nil {
		return nil, fmt.Errorf("guest program: %w", err)
	}
	b := &Backend{dir: dir, exe: o.GuestExe, log: o.Log, all: map[sandbox.ID]*Sandbox{}}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	if err := b.sweep(); err != nil {
		return nil, err
	}
	b.log.Warn("process sandboxes isolate NOTHING: functions run as this user, see all of its files and network, and have no memory limit; for development only",
		"uid", os.Getuid(), "dir", dir)
	return b, nil
}

// Name is process.
func (b *Backend) Name() string { return "process" }

// Capabilities are few.
func (b *Backend) Capabilities() sandbox.Capabilities {
	return sandbox.Capabilities{UID: -1, GID: -1, ManyPerHost: true}
}

// Create starts a guest.
func (b *Backend) Create(ctx context.Context, spec sandbox.Spec) (_ sandbox.Sandbox, err error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if spec.ID == "" || filepath.Base(string(spec.ID)) != string(spec.ID) || strings.HasPrefix(string(spec.ID), ".") {
		return nil, fmt.Errorf("sandbox id %q: not a name", spec.ID)
	}
	if slices.ContainsFunc(spec.Mounts, func(m sandbox.Mount) bool { return m.Image }) {
		return nil, fmt.Errorf("sandbox %s: without isolation there is nowhere to mount an image", spec.ID)
	}
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, sandbox.ErrClosed
	}
	if _, taken := b.all[spec.ID]; taken {
		b.mu.Unlock()
		return nil, fmt.Errorf("sandbox %s: %w", spec.ID, os.ErrExist)
	}
	b.all[spec.ID] = nil
	b.mu.Unlock()

	s, err := b.build(spec)
	b.mu.Lock()
	if err != nil {
		delete(b.all, spec.ID)
		b.mu.Unlock()
		return nil, fmt.Errorf("sandbox %s: %w", spec.ID, err)
	}
	b.all[spec.ID] = s
	closed := b.closed
	b.mu.Unlock()
	if closed { // meanwhile
		s.Close()
		return nil, sandbox.ErrClosed
	}
	return s, nil
}

// build makes the folder, the stream and the process, in that order, and undoes them when one fails.
func (b *Backend) build(spec sandbox.Spec) (_ *Sandbox, err error) {
	began := time.Now()
	dir := filepath.Join(b.dir, string(spec.ID))
	tmp := filepath.Join(dir, "tmp")
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return nil, room("disk", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
		}
	}()
	if err := os.Chmod(tmp, os.ModeSticky|0o777); err != nil {
		return nil, fmt.Errorf("its /tmp: %w", err)
	}
	folder := time.Now()

	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, room("descriptors", err)
	}
	for _, fd := range pair {
		syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_SNDBUF, streamBuffer) // best effort: the kernel's default is slow for large payloads
	}
	theirs := os.NewFile(uintptr(pair[1]), "guest end")
	defer theirs.Close()
	ours := os.NewFile(uintptr(pair[0]), "host end")
	conn, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		return nil, fmt.Errorf("its stream: %w", err)
	}

	cmd := exec.Command(b.exe)
	cmd.Args[0] = "thaw-guest"
	cmd.Dir = dir
	cmd.Env = []string{guest.Marker + "=" + dir}
	cmd.Stderr = os.Stderr
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		conn.Close()
		return nil, room("processes", err)
	}
	s := &Sandbox{
		b: b, id: spec.ID, dir: dir, conn: conn, cmd: cmd, exited: make(chan struct{}), closed: make(chan struct{}),
		mounts: append(slices.Clone(spec.Mounts), sandbox.Mount{Source: tmp, Target: "/tmp"}),
	}
	s.stages = []sandbox.Stage{
		{Name: "folder", Seconds: folder.Sub(began).Seconds()}, {Name: "process", Seconds: time.Since(folder).Seconds()},
	}
	go s.wait()
	return s, nil
}

// streamBuffer is how many bytes of a payload are in flight between server and guest.
const streamBuffer = 1 << 20

// room makes a ResourceError of the errors that mean that there is none.
func room(resource string, err error) error {
	for _, full := range []error{syscall.ENOSPC, syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE, syscall.EDQUOT} {
		if errors.Is(err, full) {
			return &sandbox.ResourceError{Resource: resource, Err: err}
		}
	}
	return fmt.Errorf("%s: %w", resource, err)
}

// Close ends all sandboxes and waits for them. The folder stays, empty.
func (b *Backend) Close() error {
	b.mu.Lock()
	b.closed = true
	all := slices.Collect(maps.Values(b.all))
	b.mu.Unlock()
	var wait sync.WaitGroup
	errs := make([]error, len(all))
	for i, s := range all {
		if s != nil {
			wait.Go(func() { errs[i] = s.Close() })
		}
	}
	wait.Wait()
	return errors.Join(errs...)
}
