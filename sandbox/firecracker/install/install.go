// Package install has what microVMs are made of on this host: the programs firecracker and jailer, and a kernel for the
// guests. It puts them into a folder, finds them there, and says what is missing and what to type.
//
//	DIR/firecracker -> firecracker-VERSION-*/{firecracker,jailer,manifest.json}
//	DIR/kernel      -> kernel-VERSION-*/{vmlinux,modules/NAME.ko,manifest.json}
//	DIR/initramfs-HASH, for a guest's program and a kernel
//
// A set is written whole into a folder of its own, and then a link is switched: who has resolved the link once, as a
// running server has, goes on with what it has. Sweep removes the sets that no link names.
package install

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"thaw/internal/filelock"
	"thaw/internal/treesum"
)

// Names of what is installed: of the links, and of what the folders begin with.
const (
	programs = "firecracker"
	kernels  = "kernel"
	archives = "initramfs"
)

const manifestName = "manifest.json"

// manifest stands in each set.
type manifest struct {
	Version string            `json:"version"`
	Source  string            `json:"source"`          // where it is from, in words
	Files   map[string]string `json:"files"`           // SHA-256 of each by name
	Order   []string          `json:"order,omitempty"` // of a kernel's modules, as they are loaded
}

// Step is told in words what happens.
type Step func(text string)

// locked runs do while it holds the lock of the folder, which it makes.
func locked(ctx context.Context, dir string, tell Step, do func() error) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	lock, err := filelock.Wait(ctx, filepath.Join(dir, ".lock"), func() { tell("waiting for another installation") })
	if err != nil {
		return err
	}
	defer lock.Close()
	left, err := filepath.Glob(filepath.Join(dir, ".new-*"))
	if err != nil {
		return err
	}
	for _, path := range left { // whoever made these held the lock and is gone
		if err := os.RemoveAll(path); err != nil {
			return err
		}
	}
	return do()
}

// Sweep removes sets that were replaced. It is for whoever is about to use the folder alone: another user of the same
// sets may still run. While something is being installed it does nothing.
func Sweep(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil
	}
	list, err := filepath.Glob(filepath.Join(dir, archives+"-*"))
	unfinished, err2 := filepath.Glob(filepath.Join(dir, ".archive-*"))
	errs := []error{err, err2}
	list = append(list, unfinished...)
	for _, path := range list { // they are written anew
		errs = append(errs, os.Remove(path))
	}
	for _, kind := range []string{programs, kernels} {
		now, err := os.Readlink(filepath.Join(dir, kind))
		if err != nil {
			continue // none is in use; one that is there may be what somebody repairs the link with
		}
		sets, err := filepath.Glob(filepath.Join(dir, kind+"-*"))
		errs = append(errs, err)
		for _, path := range sets {
			if filepath.Base(path) != now {
				errs = append(errs, os.RemoveAll(path))
			}
		}
	}
	return errors.Join(errs...)
}

// put makes a set: fill writes the files into a folder and returns the manifest, whose hashes put adds.
func put(dir, kind string, fill func(tmp string) (manifest, error)) error {
	tmp, err := os.MkdirTemp(dir, ".new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) // it is gone when all went well
	m, err := fill(tmp)
	if err != nil {
		return err
	}
	if m.Files, err = sumsOf(tmp); err != nil {
		return err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(tmp, manifestName), append(text, '\n'), 0o644); err != nil {
		return err
	}
	if err := errors.Join(os.Chmod(tmp, 0o755), syncFolder(tmp)); err != nil {
		return err
	}
	name := kind + "-" + m.Version + strings.TrimPrefix(filepath.Base(tmp), ".new")
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		return err
	}
	link := filepath.Join(dir, ".new-link")
	if err := os.Symlink(name, link); err != nil {
		return err
	}
	return os.Rename(link, filepath.Join(dir, kind))
}

// syncFolder makes all of a file system durable before a set gets its name.
func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}

// set is one that is installed.
type set struct {
	dir string // absolute, without links
	manifest
}

var errDamaged = errors.New("is damaged")

// openSet reads the set that a link names, and holds its files against their hashes. os.ErrNotExist: there is none.
func openSet(dir, kind string) (set, error) {
	real, err := filepath.EvalSymlinks(filepath.Join(dir, kind))
	if err != nil {
		return set{}, err
	}
	s := set{dir: real}
	text, err := os.ReadFile(filepath.Join(real, manifestName))
	if err == nil {
		err = json.Unmarshal(text, &s.manifest)
	}
	if err != nil {
		return s, fmt.Errorf("%s %w: %v", real, errDamaged, err)
	}
	for name, want := range s.Files {
		if got, err := treesum.File(filepath.Join(real, name)); err != nil || got != want {
			return s, fmt.Errorf("%s %w: %s is not what was installed", real, errDamaged, name)
		}
	}
	return s, nil
}

// sumsOf has the SHA-256 of every file below a folder.
func sumsOf(dir string) (map[string]string, error) {
	sums := map[string]string{}
	return sums, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err == nil {
			sums[name], err = treesum.File(path)
		}
		return err
	})
}

// copyFile copies a file that is somebody's own.
func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if info, err := in.Stat(); err != nil || !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file", from)
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
