package outer_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"thaw/internal/outer"
	"thaw/internal/proctree"
)

// programs are the runner and what runs in the machine, built once, static.
var programs struct {
	once             sync.Once
	dir, run, inside string
	err              error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if programs.dir != "" {
		os.RemoveAll(programs.dir)
	}
	os.Exit(code)
}

func build(t *testing.T) (run, inside string) {
	t.Helper()
	p := &programs
	p.once.Do(func() {
		if p.dir, p.err = os.MkdirTemp("", "thaw-outer-test-"); p.err != nil {
			return
		}
		cmd := exec.Command("go", "build", "-trimpath", "-o", p.dir, "./run", "./testdata/inside")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			p.err = fmt.Errorf("%w\n%s", err, out)
		}
		p.run, p.inside = filepath.Join(p.dir, "run"), filepath.Join(p.dir, "inside")
	})
	if p.err != nil {
		t.Fatal(p.err)
	}
	return p.run, p.inside
}

// emulated puts a QEMU in front of PATH that is a shell script.
func emulated(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "qemu-system-x86_64"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

func needMachines(t *testing.T) {
	t.Helper()
	if err := outer.Missing(); err != nil {
		t.Skip(err)
	}
	if _, err := outer.Find(t.Context(), outer.Nested, 0); err != nil {
		t.Skip(err)
	}
}

// One machine, whose first start ends before it says anything: the second runs the program.
func TestAProgramRunsInAMachine(t *testing.T) {
	needMachines(t)
	run, inside := build(t)
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	given, report, once := filepath.Join(dir, "given"), filepath.Join(dir, "report"), filepath.Join(dir, "once")
	if err := os.WriteFile(given, []byte("a file\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	emulated(t, "if mkdir "+once+" 2>/dev/null; then echo the end of a console; exit 0; fi; exec "+qemu+` "$@"`)
	var out, notes bytes.Buffer
	cmd := exec.Command(run, "-machine", "nested", "-memory", "512", "-file", given+"=/given/file", "-var", "GIVEN=a variable", "-back", "/tmp/report="+report,
		"-back", "/tmp/none="+report+"2", inside, "7", "an argument")
	cmd.Stdout, cmd.Stderr = &out, &notes
	var ended *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &ended) || ended.ExitCode() != 7 {
		t.Errorf("it ended with %v, want 7\n%s", err, notes.String())
	}
	want := `0 /test/work [7 an argument] a variable nested
a file <nil>
0::/system.slice/test.service <nil>
// Inside is the program of the tests of package outer: it says what it finds in the machine, and ends with a code. <nil>
root tmpfs
`
	if out.String() != want {
		t.Errorf("it printed\n%s\nwant\n%s", out.String(), want)
	}
	if n := notes.String(); !strings.Contains(n, "the end of a console") || strings.Count(n, "retry 1 of 1") != 1 {
		t.Errorf("notes:\n%s", n)
	}
	if b, _ := os.ReadFile(report); len(b) != 100_000 {
		t.Errorf("the report has %d bytes", len(b))
	}
}

// A machine that ends twice before its program begins is no result of the program.
func TestAMachineThatNeverBegins(t *testing.T) {
	needMachines(t)
	emulated(t, "exit 0")
	run, inside := build(t)
	out, err := exec.Command(run, inside, "0").CombinedOutput()
	var ended *exec.ExitError
	if !errors.As(err, &ended) || ended.ExitCode() != 125 || strings.Count(string(out), "retry 1 of 1") != 1 {
		t.Errorf("%v\n%s", err, out)
	}
}

// However the runner ends, its machine does.
func TestNothingIsLeft(t *testing.T) {
	needMachines(t)
	emulated(t, "exec sleep 1000")
	run, inside := build(t)
	for _, end := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT} {
		tmp := t.TempDir()
		cmd := exec.Command(run, inside, "0")
		cmd.Env = append(os.Environ(), "TMPDIR="+tmp)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var machine int
		until(t, "a machine was started", func() bool {
			for _, pid := range proctree.Descendants(cmd.Process.Pid, nil) {
				if b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "comm")); string(b) == "sleep\n" {
					machine = pid
				}
			}
			return machine != 0
		})
		cmd.Process.Signal(end)
		cmd.Wait()
		until(t, "after "+end.String()+" the machine has gone", func() bool { return proctree.State(machine) == 0 || proctree.State(machine) == 'Z' })
		if left, _ := os.ReadDir(tmp); len(left) > 0 {
			t.Errorf("after %v are left: %v", end, left)
		}
	}
}

func until(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not yet: ", what)
		}
	}
}
