package embedded

import (
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
