package pages

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// maxSets bounds how many working sets are kept: the one that was used longest ago goes first. Each has some kilobytes.
const maxSets = 1024

// Sets keeps working sets by the snapshot that they are of, over restarts. It is safe for use by many goroutines.
type Sets struct{ dir string }

// OpenSets opens a folder, made if missing.
func OpenSets(dir string) (*Sets, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("working sets: %w", err)
	}
	left, err := filepath.Glob(filepath.Join(dir, tempPrefix+"*")) // of a process that was killed
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return nil, fmt.Errorf("working sets: %w", err)
	}
	return &Sets{dir}, nil
}

const tempPrefix = ".new-"

// path is where the working set of a snapshot lies; id is made of hexadecimal digits.
func (s *Sets) path(id string) string {
	if id == "" || strings.Trim(id, "0123456789abcdef") != "" {
		panic("malformed id of a working set")
	}
	return filepath.Join(s.dir, id)
}

// Get gives the working set of a snapshot with a memory of so many bytes, in the order of its pages: a source that
// unpacks neighbours together unpacks each once then. nil: there is none, or none that can be used.
func (s *Sets) Get(id string, size int64) WorkingSet {
	path := s.path(id)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	w, err := ParseWorkingSet(b, size)
	if err != nil {
		os.Remove(path) //nolint:errcheck // it is made anew
		return nil
	}
	now := time.Now()
	os.Chtimes(path, now, now) //nolint:errcheck // at worst it goes too early
	slices.SortFunc(w, func(a, b Run) int { return cmp.Compare(a.Page, b.Page) })
	return w
}

// Put keeps a working set.
func (s *Sets) Put(id string, w WorkingSet) error {
	path := s.path(id)
	f, err := os.CreateTemp(s.dir, tempPrefix+"*")
	if err != nil {
		return fmt.Errorf("working set: %w", err)
	}
	_, err = f.Write(w.Marshal())
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name()) //nolint:errcheck // the first error says it
		return fmt.Errorf("working set: %w", err)
	}
	return s.evict()
}

// evict removes what is too much.
func (s *Sets) evict() error {
	list, err := os.ReadDir(s.dir)
	if err != nil || len(list) <= maxSets {
		return err
	}
	type aged struct {
		name string
		used time.Time
	}
	var all []aged
	for _, d := range list {
		if info, err := d.Info(); err == nil && !strings.HasPrefix(d.Name(), tempPrefix) {
			all = append(all, aged{d.Name(), info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b aged) int { return a.used.Compare(b.used) })
	for _, a := range all[:max(0, len(all)-maxSets)] {
		if err := os.Remove(filepath.Join(s.dir, a.name)); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("working sets: %w", err)
		}
	}
	return nil
}

// Usable says why monitors of other users than root cannot have their memory served on this host; nil: they can.
// Source: Linux, Documentation/admin-guide/mm/userfaultfd.rst: a process without CAP_SYS_PTRACE gets a userfaultfd for
// faults of the kernel by /dev/userfaultfd (since 6.1), or where vm.unprivileged_userfaultfd is 1.
func Usable() error {
	if _, err := os.Stat("/dev/userfaultfd"); err == nil {
		return nil
	}
	b, err := os.ReadFile("/proc/sys/vm/unprivileged_userfaultfd")
	if err != nil {
		return errors.New("this kernel has no userfaultfd")
	}
	if strings.TrimSpace(string(b)) != "1" {
		return errors.New("there is no /dev/userfaultfd, and vm.unprivileged_userfaultfd is 0")
	}
	return nil
}
