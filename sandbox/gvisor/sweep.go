package gvisor

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

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
// The lock is held. Mounts need no sweep: they were the launcher's and went with it.
func (b *Backend) sweep() (*leftovers, error) {
	left := &leftovers{groups: b.groups.Leftovers()}
	for _, g := range left.groups {
		g.Kill()
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
		errs = append(errs, g.Remove())
	}
	for _, f := range l.folders {
		if err := os.RemoveAll(f); err != nil {
			errs = append(errs, fmt.Errorf("sweep: %w", err))
		}
	}
	return errors.Join(errs...)
}
