package gvisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"thaw/sandbox/gvisor/launch"
	"thaw/sandbox/host/making"
)

func (s *Sandbox) root() string { return filepath.Join(s.dir, "mnt", "root") }

func (s *Sandbox) makeFiles(context.Context) error {
	if err := os.MkdirAll(s.root(), 0o755); err != nil {
		return err
	}
	if err := s.b.skel.makeRoot(s.root()); err != nil {
		return err
	}
	tmp := filepath.Join(s.dir, "tmp")
	if err := os.Mkdir(tmp, 0o700); err != nil {
		return err
	}
	return writeSpec(s.dir, s.root(), tmp)
}

func (s *Sandbox) makeGroup(context.Context) (err error) {
	if s.group, err = s.b.groups.Make(s.name); err != nil {
		return err
	}
	s.freezer = s.group.SetFrozen
	return errors.Join(s.group.LimitProcesses(), s.group.Claim(s.patient))
}

func (s *Sandbox) makeNetwork(context.Context) (err error) {
	if s.b.nets != nil {
		s.net, err = s.b.nets.Make()
	}
	return err
}

// streamBuffer is how much of a large payload may be on its way at once.
const streamBuffer = 2 << 20

// makeProcesses has the launcher fork the sandbox, with the host's end of the stream kept here.
func (s *Sandbox) makeProcesses(ctx context.Context) error {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	for _, fd := range fds {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, streamBuffer) // best effort: the kernel's default is slow for large payloads
	}
	host, guest := os.NewFile(uintptr(fds[0]), "stream"), os.NewFile(uintptr(fds[1]), "stream of the guest")
	defer guest.Close()
	defer host.Close() // FileConn duplicates
	conn, err := net.FileConn(host)
	if err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	s.conn = conn.(*net.UnixConn)
	control, theirs, err := newControl()
	if err != nil {
		return err
	}
	s.control = control
	defer theirs.Close()
	// gVisor gives the standard streams to the user it runs as: /dev/null would be nobody's on the whole host.
	stdin, end, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("stdin: %w", err)
	}
	end.Close()
	defer stdin.Close()
	out, in, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	defer in.Close()
	s.console = newConsole(out)

	c := &launch.Create{Bundle: s.dir, Shared: filepath.Join(s.dir, "mnt"), Attached: true}
	if s.b.opt.Debug {
		c.Debug = filepath.Join(s.b.opt.Dir, "debug")
	}
	c.Groups, c.Home = s.group.Procs(), s.b.groups.Home()
	files := []*os.File{stdin, in, in, guest, theirs}
	if s.net != nil {
		c.Network = true
		files = append(files, s.net.Namespace())
	}
	if s.launcher, err = s.b.launcher(); err != nil {
		return err
	}
	// Not to be given up: the launcher is in the sandbox's cgroups until it has answered.
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), making.Limit, errors.New("the launcher does not answer"))
	defer cancel()
	rep, err := s.launcher.Call(ctx, launch.Request{Op: launch.OpCreate, ID: s.name, Create: c}, files...)
	if err != nil {
		in.Close()
		return fmt.Errorf("%w; its processes said: %s", err, s.console.all(lastWords))
	}
	s.pid = rep.Sandbox
	// Without its file server a sandbox is of no use, and vice versa: the group goes with the first that ends.
	return errors.Join(s.watch(rep.Sandbox, s.noteExit), s.watch(rep.Gofer, func() {}))
}

// lastWords bounds the wait for what processes said that ended before they were of use.
const lastWords = time.Second

func (s *Sandbox) start(ctx context.Context) error {
	_, err := s.launcher.Call(ctx, launch.Request{Op: launch.OpStart, ID: s.name})
	return err
}

// awaitGuest returns when the guest has said something. Its Hello is left in the stream for the owner.
func (s *Sandbox) awaitGuest(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	rc, err := s.conn.SyscallConn()
	if err != nil {
		return err
	}
	var one [1]byte
	var n int
	var perr error
	if err := rc.Read(func(fd uintptr) bool {
		n, _, perr = unix.Recvfrom(int(fd), one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		return perr != unix.EAGAIN && perr != unix.EINTR
	}); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("guest: %w", err)
	}
	if perr != nil || n == 0 {
		return fmt.Errorf("guest went before it said anything: %s", s.console.tail())
	}
	if !stop() {
		return context.Cause(ctx)
	}
	return s.noteBaseline()
}
