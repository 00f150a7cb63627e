package gvisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// # Why the freezer alone is not enough
//
// gVisor's clock runs on while its processes are frozen. A guest thread that was computing at the moment of the freeze looks, at the thaw, as if it had ignored gVisor's
// interrupt for all that time, and after thirty seconds of that gVisor kills the guest's process. So gVisor is asked first to stop its tasks, as it does for a checkpoint, and the freezer then stops
// what is left. The way back costs the invoke nothing: the request to go on is put into the control socket before the thaw, and its answer is read before the next freeze.

// Its clocks would go wrong as well: cmd/thaw-sandbox/internal/agent/control.go says why, and parks them at each pause.

// control is the server's end of a socket on which the sandbox's process stops and continues its tasks. Its owner is
// whoever holds Sandbox.freezeMu.
//
// A call that fails leaves the connection in the middle of an answer, so that the next answer could be taken for that
// of another call: after the first failure every call fails with it.
//
// Source: gVisor pkg/urpc: a call is a JSON object of method and arg on a stream socket, and so is its result. Speaking it here keeps gVisor's
// packages out of the server.
type control struct {
	conn   net.Conn
	dec    *json.Decoder
	owed   bool // the answer to a Resume has not been read
	failed error
}

// controlLimit bounds one call. Tasks stop within microseconds, but for one in an uninterruptible host call.
const controlLimit = 10 * time.Second

// newControl makes the socket. The other end is for the sandbox's process.
func newControl() (*control, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("control of the sandbox: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control of the sandbox")
	defer ours.Close() // FileConn duplicates
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("control of the sandbox: %w", err)
	}
	return &control{conn: conn, dec: json.NewDecoder(conn)}, theirs, nil
}

// pause returns when no task runs any more.
func (c *control) pause() error {
	return c.within(controlLimit, func() error {
		if c.owed {
			if err := c.result("Resume"); err != nil {
				return err
			}
			c.owed = false
		}
		if err := c.ask("Pause"); err != nil {
			return err
		}
		return c.result("Pause")
	})
}

// resume lets tasks run as soon as the sandbox does.
func (c *control) resume() error {
	return c.within(controlLimit, func() error {
		if err := c.ask("Resume"); err != nil {
			return err
		}
		c.owed = true
		return nil
	})
}

// within bounds one call. The deadline goes with the call: the sandbox may lie frozen for days before the next one.
func (c *control) within(limit time.Duration, call func() error) error {
	if c.failed != nil {
		return c.failed
	}
	err := c.conn.SetDeadline(time.Now().Add(limit))
	if err == nil {
		err = call()
	}
	if err == nil {
		err = c.conn.SetDeadline(time.Time{})
	}
	if err != nil {
		c.failed = fmt.Errorf("control of the sandbox: %w", err)
	}
	return c.failed
}

func (c *control) ask(method string) error {
	if _, err := c.conn.Write([]byte(`{"method":"Control.` + method + `","arg":null}`)); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

func (c *control) result(method string) error {
	var r struct {
		Success bool   `json:"success"`
		Err     string `json:"err"`
	}
	err := c.dec.Decode(&r)
	if err == nil && !r.Success {
		err = errors.New(r.Err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	return nil
}

func (c *control) close() {
	if c != nil {
		c.conn.Close()
	}
}
