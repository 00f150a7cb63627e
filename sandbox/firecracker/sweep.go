package firecracker

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"thaw/sandbox/host/cgroup"
)

// leftovers are what an earlier server had and nobody uses any more. Their removal can wait: no name is used twice.
type leftovers struct {
	groups  []*cgroup.Group
	folders []string
}

// sweptPrefix begins the names of folders that are to be removed.
const sweptPrefix = "swept-"

// sweep ends everything that a backend of this folder could have left, and puts it out of the way; remove removes it.
// Processes are found by their groups, networks by their names (network.Open). The lock is held.
func (b *Backend) sweep() (*leftovers, error) {
	left := &leftovers{groups: b.groups.Leftovers()}
	for _, g := range left.groups {
		g.Kill()
	}
	var errs []error
	for _, d := range []string{sandboxesDir, scratchDir} {
		away := filepath.Join(b.opt.Dir, sweptPrefix+rand.Text())
		if err := os.Rename(filepath.Join(b.opt.Dir, d), away); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("sweep: %w", err))
		}
	}
	var err error
	left.folders, err = filepath.Glob(filepath.Join(b.opt.Dir, sweptPrefix+"*")) // also of a sweep that was interrupted
	return left, errors.Join(append(errs, err)...)
}

// remove takes the kernel and the disk some milliseconds for each sandbox.
func (l *leftovers) remove() error {
	var errs []error
	for _, g := range l.groups {
		errs = append(errs, g.Remove())
	}
	for _, f := range l.folders {
		if err := removeAll(f); err != nil {
			errs = append(errs, fmt.Errorf("sweep: %w", err))
		}
	}
	return errors.Join(errs...)
}

// removeAll removes a folder. A jail may have had mounts in it that outlived its jailer.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if !errors.Is(err, unix.EBUSY) {
		return err
	}
	unmountBelow(dir)
	return os.RemoveAll(dir)
}

// unmountBelow unmounts whatever is mounted in a folder.
func unmountBelow(dir string) {
	filepath.WalkDir(dir, func(path string, _ fs.DirEntry, _ error) error { //nolint:errcheck // the caller sees what is left
		for unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW) == nil {
		}
		return nil
	})
}
