package snapstart

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A folder in memory is reached by this process, and gone when it is closed.
func TestFolderInMemory(t *testing.T) {
	m, err := openMemory()
	if err != nil {
		t.Skip(err) // no root, or an old kernel
	}
	path := m.Path()
	if err := os.WriteFile(filepath.Join(path, "a"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(path, "a"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 1)
	if _, err := f.Read(b); err != nil || !slices.Equal(b, []byte("x")) {
		t.Errorf("an open file ended with the folder: %v", err)
	}
	f.Close()
	if _, err := os.Stat(filepath.Join(path, "a")); err == nil {
		t.Error("the folder is still there")
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), path) {
		t.Error("the folder is mounted")
	}
}
