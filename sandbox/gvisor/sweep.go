package gvisor

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// dirHash tells the backends of one host apart: it names their cgroups, network devices and tables.
func dirHash(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	h := sha256.Sum256([]byte(filepath.Clean(dir)))
	return hex.EncodeToString(h[:3])
}

// lockDir takes the lock of a folder. The launcher holds it, too: after a server was killed it is free when the last of its processes
// is gone, which takes milliseconds.
func lockDir(ctx context.Context, path string) (*os.File, error) {
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

// leftovers are what an earlier server had and nobody uses any more. Their removal can wait: no name is used twice.
type leftovers struct {
	groups  []*group
	folders []string
}

// sweptPrefix begins the names of folders that are to be removed.
const sweptPrefix = "swept-"

// sweep ends everything that a backend of this folder could have left, and puts it out of the way; remove removes it.
// The lock is held. Mounts need no sweep: they were the launcher's and went with it.
func (b *Backend) sweep() (*leftovers, error) {
	left := &leftovers{groups: b.groups.leftovers()}
	for _, g := range left.groups {
		g.kill()
	}
	var errs []error
	for _, d := range []string{"sandboxes", "run", "skeleton"} {
		away := filepath.Join(b.opt.Dir, sweptPrefix+rand.Text())
		if err := os.Rename(filepath.Join(b.opt.Dir, d), away); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("sweep: %w", err))
		}
	}
	var err error
	left.folders, err = filepath.Glob(filepath.Join(b.opt.Dir, sweptPrefix+"*")) // also of a sweep that was interrupted
	return left, errors.Join(append(errs, err)...)
}

// remove takes the kernel and the disk some milliseconds for each folder of each sandbox.
func (l *leftovers) remove() error {
	var errs []error
	for _, g := range l.groups {
		errs = append(errs, g.remove())
	}
	for _, f := range l.folders {
		if err := os.RemoveAll(f); err != nil {
			errs = append(errs, fmt.Errorf("sweep: %w", err))
		}
	}
	return errors.Join(errs...)
}
