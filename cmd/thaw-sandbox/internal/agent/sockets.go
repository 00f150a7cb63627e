package agent

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/unet"
	"gvisor.dev/gvisor/pkg/urpc"

	"thaw/sandbox/gvisor/launch"
)

// streamFD is the number that the guest's stream has in every sandbox's process: gVisor saves the number of a socket
// that the host gave, and at the restore looks there for the socket's kind. Source: HostSender.afterLoad,
// pkg/sentry/socket/unix/transport/save_restore.go.
const streamFD = 900

// takeSockets removes our own sockets from the descriptors that gVisor would give to the guest, and returns them by
// their numbers. gVisor runs its program a second time when it has set up the sandbox's root, with the flags that it
// was given; the sockets are for that run.
func takeSockets() map[string]*os.File {
	if slices.Contains(os.Args, "--setup-root") && !slices.Contains(os.Args, "--apply-caps=true") {
		return nil
	}
	taken := map[string]*os.File{}
	var args []string
	for _, a := range os.Args {
		v, ok := strings.CutPrefix(a, "--pass-fd=")
		if !ok {
			args = append(args, a)
			continue
		}
		for pair := range strings.SplitSeq(v, ",") {
			host, guest, _ := strings.Cut(pair, ":")
			fd, err := strconv.Atoi(host)
			switch {
			case err == nil && (guest == strconv.Itoa(launch.AgentFD) || guest == strconv.Itoa(launch.ControlFD)):
				unix.CloseOnExec(fd)
				taken[guest] = os.NewFile(uintptr(fd), "socket "+guest)
				continue
			case err == nil && guest == strconv.Itoa(launch.StreamFD) && unix.Dup3(fd, streamFD, unix.O_CLOEXEC) == nil:
				unix.Close(fd)
				pair = fmt.Sprintf("%d:%s", streamFD, guest)
			}
			args = append(args, "--pass-fd="+pair)
		}
	}
	os.Args = args
	return taken
}

// serveSockets answers launcher and server.
func serveSockets(taken map[string]*os.File) error {
	if f := taken[strconv.Itoa(launch.AgentFD)]; f != nil {
		if err := startAgent(f); err != nil {
			return fmt.Errorf("agent: %w", err)
		}
	}
	if f := taken[strconv.Itoa(launch.ControlFD)]; f != nil {
		if err := serveSocket(f, new(Control)); err != nil {
			return fmt.Errorf("control: %w", err)
		}
	}
	return nil
}

// startAgent serves the launcher.
func startAgent(f *os.File) error {
	a := new(Agent)
	a.src.init()
	return serveSocket(f, a)
}

// serveSocket has an object answer one socket. Its goroutines live as long as the process.
func serveSocket(f *os.File, methods any) error {
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		return err
	}
	unix.CloseOnExec(fd)
	f.Close()
	sock, err := unet.NewSocket(fd)
	if err != nil {
		return err
	}
	srv := urpc.NewServer()
	srv.Register(methods)
	srv.StartHandling(sock)
	return nil
}
