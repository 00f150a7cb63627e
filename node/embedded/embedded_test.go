package embedded

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestGuestIsBuiltFromSourceAndInstalledOnce(t *testing.T) {
	dir := t.TempDir()
	paths := make([]string, 4)
	var wg sync.WaitGroup
	for i := range paths { // as four servers that start at once
		wg.Go(func() {
			var err error
			if paths[i], err = Guest(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v in the folder, error %v", entries, err)
	}
	for _, p := range paths {
		if p != filepath.Join(dir, entries[0].Name()) {
			t.Errorf("path %q", p)
		}
	}
	// Whatever it says without a server, it runs: the kernel takes it for a program of this machine.
	var exit *exec.ExitError
	if err := exec.Command(paths[0]).Run(); err != nil && !errors.As(err, &exit) {
		t.Error(err)
	}
}

func TestInstallIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("disk on fire")
	if err := install(&failing{strings.NewReader("half"), broken}, filepath.Join(dir, "x")); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// failing gives what r has and then its error.
type failing struct {
	r   *strings.Reader
	err error
}

func (f *failing) Read(b []byte) (int, error) {
	if f.r.Len() == 0 {
		return 0, f.err
	}
	return f.r.Read(b)
}

// A program that was changed in the data folder is put there again before it is run; one that is whole is left alone.
func TestDamagedProgramIsInstalledAgain(t *testing.T) {
	dir := t.TempDir()
	path, err := Guest(dir)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, do := range map[string]func() error{
		"cut to half": func() error { return os.Truncate(path, int64(len(want)/2)) },
		"emptied":     func() error { return os.Truncate(path, 0) },
		"a bit flipped": func() error {
			b := bytes.Clone(want)
			b[len(b)/2] ^= 1
			return os.WriteFile(path, b, 0o755)
		},
		"not executable": func() error { return os.Chmod(path, 0o644) },
		"a folder":       func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o755)) },
		"deleted":        func() error { return os.RemoveAll(path) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
		again, err := Guest(dir)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		got, err := os.ReadFile(again)
		if info, serr := os.Stat(again); err != nil || serr != nil || !bytes.Equal(got, want) || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: not as it was: %v, %v", name, err, serr)
		}
	}
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Guest(dir); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(path); err != nil || !after.ModTime().Equal(before.ModTime()) || !os.SameFile(before, after) {
		t.Error("a whole one was installed again")
	}
}
