package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"thaw/internal/treesum"
	"thaw/sandbox/firecracker/initramfs"
	"thaw/sandbox/firecracker/kernel"
)

// DebianKernel installs the kernel for guests that Debian has for clouds, as apt is configured. Downloads are kept in the
// user's cache.
func DebianKernel(ctx context.Context, dir string, tell Step) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return err
	}
	tell("looking for Debian's package " + kernel.Cloud)
	k, err := kernel.Debian(ctx, filepath.Join(cache, "thaw", "kernel"), kernel.Cloud)
	if err != nil {
		return err
	}
	return locked(ctx, dir, tell, func() error {
		source := "Debian's package " + k.Name
		if s, err := openSet(dir, kernels); err == nil && s.Version == k.Version && s.Source == source {
			tell("kernel " + k.Version + ": here already")
			return nil
		}
		tell("installing the kernel of " + k.Name + " " + k.Version)
		return put(dir, kernels, func(tmp string) (manifest, error) {
			m := manifest{Version: k.Version, Source: source}
			if err := os.Mkdir(filepath.Join(tmp, "modules"), 0o755); err != nil {
				return m, err
			}
			errs := []error{copyFile(k.Vmlinux, filepath.Join(tmp, "vmlinux"), 0o644)}
			for _, path := range k.Modules {
				errs = append(errs, copyFile(path, filepath.Join(tmp, "modules", plainName(path)), 0o644))
			}
			return m, errors.Join(errs...)
		})
	})
}

var number = regexp.MustCompile(`^\d+-`)

// plainName is a module's, without the number that some folders sort it by.
func plainName(path string) string { return number.ReplaceAllString(filepath.Base(path), "") }

// OwnKernel installs a copy of somebody's own kernel, an ELF vmlinux or a bzImage, which has all built in that guests need.
func OwnKernel(ctx context.Context, dir, path string, tell Step) error {
	image, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	vmlinux, err := kernel.Carve(image)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return locked(ctx, dir, tell, func() error {
		return put(dir, kernels, func(tmp string) (manifest, error) {
			to := filepath.Join(tmp, "vmlinux")
			if err := os.WriteFile(to, vmlinux, 0o644); err != nil {
				return manifest{}, err
			}
			return manifest{Version: "own", Source: "a copy of " + path}, bootable(to)
		})
	})
}

// Initramfs writes the archive that a kernel starts a guest from, named by its content, and returns its path.
func Initramfs(dir, guest string, k Kernel) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, ".archive-*")
	if err != nil {
		return "", err
	}
	defer os.Remove(f.Name()) // it is gone when all went well
	err = errors.Join(initramfs.Write(f, guest, k.Modules), f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return "", err
	}
	sum, err := treesum.File(f.Name())
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, archives+"-"+sum[:16])
	return path, os.Rename(f.Name(), path)
}
