// Package host is what all backends that isolate do to the host, beside the sandbox itself: each of its packages makes one
// thing for every sandbox, and sweeps what an earlier server left. This one tells servers apart.
package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Hash tells the backends of one host apart: it names their cgroups, network devices and tables.
func Hash(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	h := sha256.Sum256([]byte(filepath.Clean(dir)))
	return hex.EncodeToString(h[:3])
}

// Lock takes the lock of a folder. A process that is parent to sandboxes holds it, too: after a server was killed it is
// free when the last of its processes is gone, which takes milliseconds.
func Lock(ctx context.Context, path string) (*os.File, error) {
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock: %w", err)
		}
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			// The last owner removes the file while it holds the lock: what was locked must be what is there.
			there, err := os.Stat(path)
			mine, err2 := f.Stat()
			if err == nil && err2 == nil && os.SameFile(there, mine) {
				return f, nil
			}
			f.Close()
			continue
		}
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%s is in use by another server: %w", filepath.Dir(path), context.Cause(ctx))
		case <-time.After(pause):
		}
	}
}
