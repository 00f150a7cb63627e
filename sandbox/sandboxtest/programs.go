package sandboxtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// built are the programs of one test binary: built once, removed by Main or at the process's end by nobody, which is why they live in one folder
// that the first test's cleanup removes when the package has finished.
var built struct {
	once       sync.Once
	dir        string
	guest, run string
	err        error
}

// Programs returns the paths of a fresh thaw-guest and of the suite's bootstrap program, both static. Build them with RunMain's cleanup in mind.
func programs(t testing.TB) (guest, bootstrap string) {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "sandboxtest-"); built.err != nil {
			return
		}
		build := func(pkg string) string {
			out := filepath.Join(built.dir, filepath.Base(pkg))
			if err := buildProgram(out, pkg); err != nil && built.err == nil {
				built.err = err
			}
			return out
		}
		built.guest, built.run = build("thaw/cmd/thaw-guest"), build("thaw/sandbox/sandboxtest/bootstrap")
		os.Chmod(built.dir, 0o755)
	})
	if built.err != nil {
		t.Fatalf("build the programs of the suite: %v", built.err)
	}
	return built.guest, built.run
}

// GuestExe is the path of a thaw-guest built from this tree, for the open function of Run.
func GuestExe(t testing.TB) string {
	t.Helper()
	guest, _ := programs(t)
	return guest
}

// RemovePrograms removes what was built. TestMain calls it after m.Run.
func RemovePrograms() {
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
}

// BootstrapExe is the path of the suite's runtime.
func BootstrapExe(t testing.TB) string {
	t.Helper()
	_, bootstrap := programs(t)
	return bootstrap
}

// prebuilt is the variable with the folder of the suite's programs (thaw-guest, bootstrap, snapshotfn) where tests run
// that have no Go; empty: they are built.
const prebuilt = "THAW_TEST_PROGRAMS"

// buildProgram builds a package of this tree as a static program.
func buildProgram(out, pkg string) error {
	if dir := os.Getenv(prebuilt); dir != "" {
		b, err := os.ReadFile(filepath.Join(dir, filepath.Base(out)))
		if err != nil {
			return err
		}
		return os.WriteFile(out, b, 0o755)
	}
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", cmd, err, text)
	}
	return nil
}
