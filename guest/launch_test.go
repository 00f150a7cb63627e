package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"thaw/guest/wire"
)

// Which failures of a start are ours: what the sandbox and its host did not give. All else is about what the function
// wants run.
func TestStarved(t *testing.T) {
	for errno, want := range map[syscall.Errno]bool{
		syscall.ENOMEM: true, syscall.EAGAIN: true, syscall.EMFILE: true, syscall.ENFILE: true, syscall.ENOBUFS: true, syscall.EIO: true,
		syscall.ENOENT: false, syscall.EACCES: false, syscall.EPERM: false, syscall.ENOEXEC: false, syscall.ENOTDIR: false, syscall.EISDIR: false, syscall.ELOOP: false,
		syscall.ENAMETOOLONG: false, syscall.E2BIG: false, syscall.ETXTBSY: false, syscall.EINVAL: false,
	} {
		for _, err := range []error{errno, &os.PathError{Op: "fork/exec", Path: "/var/task/bootstrap", Err: errno}, &launchError{"Runtime.InvalidEntrypoint", "", errno},
			fmt.Errorf("start: %w", &launchError{"Runtime.InvalidEntrypoint", "", errno})} {
			if got := starved(err); got != want {
				t.Errorf("%v (%T): %v, want %v", errno, err, got, want)
			}
		}
	}
	for _, err := range []error{nil, errors.New("unknown"), &launchError{"Runtime.InvalidEntrypoint", "no bootstrap", nil}} {
		if starved(err) {
			t.Errorf("%v is said to be the platform's", err)
		}
	}
}

// A function whose program is missing, is a folder, cannot be executed or is no program has itself to blame.
func TestAFunctionsOwnFaultsAreNotThePlatforms(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "bootstrap")
	if err := os.WriteFile(file, []byte("\x7fELF and no more"), 0o644); err != nil {
		t.Fatal(err)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	try := func(name string, s *wire.Start) {
		t.Helper()
		s.UID = -1
		run, err := launch(s, Place{}, nil, []*os.File{null, null, null}, nil)
		if run.pid != 0 || err == nil && run.status == 0 {
			t.Errorf("%s: it was started: %+v, %v", name, run, err)
		}
		if starved(err) || starved(run.err) {
			t.Errorf("%s is said to be the platform's: %v, %v", name, err, run.err)
		}
	}
	try("a missing program", &wire.Start{Dir: dir, Candidates: []string{file + "x"}})
	try("a folder", &wire.Start{Dir: dir, Argv: []string{dir}})
	try("a file that cannot be executed", &wire.Start{Dir: dir, Candidates: []string{file}})
	try("a wrapper that is missing", &wire.Start{Dir: dir, Argv: []string{"/bin/true"}, Vars: []string{"AWS_LAMBDA_EXEC_WRAPPER=" + file + "x"}})
	try("a wrapper that cannot be executed", &wire.Start{Dir: dir, Argv: []string{"/bin/true"}, Vars: []string{"AWS_LAMBDA_EXEC_WRAPPER=" + file}})
	try("a folder to run in that is missing", &wire.Start{Dir: dir + "x", Argv: []string{"/bin/true"}})
	if err := os.Chmod(file, 0o755); err != nil {
		t.Fatal(err)
	}
	try("half a program", &wire.Start{Dir: dir, Candidates: []string{file}})
	try("arguments without end", &wire.Start{Dir: dir, Argv: []string{"/bin/true", strings.Repeat("x", 1<<22)}})
}
