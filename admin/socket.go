package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

// RunningError says that a server already has the data folder.
type RunningError struct {
	DataDir string
	PID     int // 0: not known
}

func (e *RunningError) Error() string {
	return fmt.Sprintf("a server runs on %s already (pid %d)", e.DataDir, e.PID)
}

// maxPath is what a socket's address holds on Linux, less its zero byte. Source: unix(7).
const maxPath = 107

// short gives a path of the same file that fits a socket's address, however long dir is; done lets go of it.
func short(dir, name string) (path string, done func(), err error) {
	if path = filepath.Join(dir, name); len(path) <= maxPath {
		return path, func() {}, nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return "", nil, err
	}
	return fmt.Sprintf("/proc/self/fd/%d/%s", d.Fd(), name), func() { d.Close() }, nil
}

func dial(ctx context.Context, dataDir string) (net.Conn, error) {
	path, done, err := short(dataDir, socketName)
	if err != nil {
		return nil, err
	}
	defer done()
	return new(net.Dialer).DialContext(ctx, "unix", path)
}

// listen makes the socket. It is bound inside a folder that only we can enter and moved into place with its final mode, so that
// there is no moment at which others could connect.
func listen(dataDir string) (net.Listener, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if conn, err := dial(ctx, dataDir); err == nil {
		conn.Close()
		running := &RunningError{DataDir: dataDir}
		if h, err := Dial(dataDir).Health(ctx); err == nil {
			running.PID = h.PID
		}
		return nil, running
	}
	place := filepath.Join(dataDir, socketName)
	if err := os.Remove(place); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("old admin socket: %w", err)
	}
	private, err := os.MkdirTemp(dataDir, ".sock-*") // 0700
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	defer os.RemoveAll(private)
	path, done, err := short(private, "s")
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	defer done()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	l.SetUnlinkOnClose(false) // it will not be where it was bound
	made := filepath.Join(private, "s")
	err = os.Chmod(made, 0o600)
	if err == nil {
		err = os.Rename(made, place)
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	return l, nil
}
