// Package initramfs writes what the kernel of a machine unpacks at its start: the guest's program as /init, the two
// devices that a program needs to begin with, and the kernel's modules where it has not all built in. The same files
// give the same bytes, so the archive is part of what a snapshot depends on by its hash.
package initramfs

import (
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"thaw/guest/control"
	"thaw/internal/cpio"
)

// Write writes the archive. guest is the path of a static thaw-guest; modules is a folder with the files NAME.ko of the
// modules to load, not compressed, or empty.
func Write(w io.Writer, guest, modules string) error {
	a := cpio.NewWriter(w)
	a.Folder("dev")
	a.Device("dev/console", 0o600, 5, 1)
	a.Device("dev/null", 0o666, 1, 3)
	if err := addFile(a, "init", guest, 0o755); err != nil {
		return fmt.Errorf("initramfs: guest: %w", err)
	}
	if modules != "" {
		if err := addModules(a, modules); err != nil {
			return fmt.Errorf("initramfs: %w", err)
		}
	}
	if err := a.Close(); err != nil {
		return fmt.Errorf("initramfs: %w", err)
	}
	return nil
}

func addModules(a *cpio.Writer, dir string) error {
	names, err := order(dir)
	if err != nil || len(names) == 0 {
		return err
	}
	inside := strings.TrimPrefix(control.Modules, "/")
	a.Folder(inside)
	for _, name := range names {
		if err := addFile(a, path.Join(inside, name+".ko"), filepath.Join(dir, name+".ko"), 0o644); err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
	}
	a.Bytes(path.Join(inside, control.ModuleOrder), 0o644, []byte(strings.Join(names, "\n")+"\n"))
	return nil
}

// addFile adds a file of the host.
func addFile(a *cpio.Writer, name, from string, permissions uint32) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	a.Bytes(name, permissions, b)
	return nil
}
