package jail

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// oPath opens a file as a place alone, which needs no right to read it.
const oPath = unix.O_PATH

// inRoot is a path of a file in the jail, as this process reaches it. A unix socket's path has at most 107 bytes, and a
// jail's root alone may have more.
func (x *Machine) inRoot(name string) string {
	return fmt.Sprintf("/proc/self/fd/%d/%s", x.root.Fd(), name)
}

// dialSocket connects to a socket in the jail. The jail's user owns its folder and could put a link in the socket's place
// that leads to one of the host's: links are not followed.
func (x *Machine) dialSocket(ctx context.Context, name string) (net.Conn, error) {
	fd, err := unix.Openat(int(x.root.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return nil, errors.Join(fmt.Errorf("%s in the jail is no socket", name), err)
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", fd))
}

// How long the answer to CONNECT may take, on the first try and at most. A try is not given up lightly: it may reach the
// guest all the same, and is a connection there that nobody wants, before the one that somebody does. A guest without a
// listener refuses at once; one that boots takes what came before with its vsock device.
const (
	firstAnswer = 15 * time.Second
	maxAnswer   = time.Minute
)

// connect tries once to get through to a port. Source of the protocol: Firecracker's docs/vsock.md.
func (x *Machine) connect(ctx context.Context, port uint32, limit time.Duration) (_ net.Conn, err error) {
	c, err := x.dialSocket(ctx, vsockSocket)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	end := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer end()
	c.SetDeadline(time.Now().Add(limit))
	if _, err := fmt.Fprintf(c, "CONNECT %d\n", port); err != nil {
		return nil, err
	}
	line, err := readLine(c)
	if err != nil {
		return nil, fmt.Errorf("nobody listens there: %w", err)
	}
	if !strings.HasPrefix(line, "OK ") {
		return nil, fmt.Errorf("CONNECT is answered with %q", line)
	}
	if !end() {
		return nil, context.Cause(ctx)
	}
	return c, c.SetDeadline(time.Time{})
}

// readLine reads the answer and nothing behind it, which is the guest's.
func readLine(c net.Conn) (string, error) {
	var line []byte
	for one := make([]byte, 1); len(line) < 64; {
		if _, err := c.Read(one); err != nil {
			return "", err
		}
		if one[0] == '\n' {
			return string(line), nil
		}
		line = append(line, one[0])
	}
	return "", fmt.Errorf("a line too long: %q", line)
}
