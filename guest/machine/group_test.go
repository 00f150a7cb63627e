package machine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What is being saved stands still, with all its threads and children, and goes on when the copy is its own.
func TestGroupStandsStill(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("control groups need root")
	}
	// In a namespace of its own, which ends with this thread: other tests' servers look for the hierarchies that are mounted.
	runtime.LockOSThread()
	if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, "")); err != nil {
		t.Skipf("no namespace: %v", err)
	}
	root := t.TempDir()
	if err := unix.Mount("cgroup2", root, "cgroup2", 0, ""); err != nil {
		t.Skipf("no control groups of version 2: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(root, unix.MNT_DETACH) })
	dir := filepath.Join(root, fmt.Sprintf("thaw-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	g := &group{dir: f}

	log := filepath.Join(t.TempDir(), "log")
	cmd := exec.Command("sh", "-c", "(while :; do echo x >> "+log+"; done) & wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(f.Fd()), Pdeathsig: unix.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
		cmd.Wait()
		for range 1000 { // the child's end is told a moment later
			if pids, err := g.processes(); err == nil && len(pids) == 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
	})
	size := func() int64 {
		fi, err := os.Stat(log)
		if err != nil {
			return 0
		}
		return fi.Size()
	}
	grows := func(from int64) {
		t.Helper()
		for end := time.Now().Add(time.Minute); size() <= from; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("nobody writes")
			}
		}
	}
	grows(0)
	if err := g.freeze(savePatience); err != nil {
		t.Fatal(err)
	}
	pids, err := g.processes()
	if err != nil || len(pids) != 2 || !slices.Contains(pids, cmd.Process.Pid) {
		t.Errorf("processes %v, %v; want two, one of them %d", pids, err, cmd.Process.Pid)
	}
	still := size()
	time.Sleep(20 * time.Millisecond)
	if now := size(); now != still {
		t.Errorf("%d bytes were written by who stands still", now-still)
	}
	if err := g.freeze(savePatience); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if err := g.thaw(); err != nil {
		t.Fatal(err)
	}
	grows(still)
	if b, err := os.ReadFile(filepath.Join(dir, "cgroup.freeze")); err != nil || strings.TrimSpace(string(b)) != "0" {
		t.Errorf("cgroup.freeze is %s, %v", b, err)
	}
}
