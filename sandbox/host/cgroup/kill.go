package cgroup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The largest claims on the processor. Source: kernel documentation, cpu.shares and cpu.weight.
const maxShares, maxWeight = 1 << 18, 10000

// Kill ends every process of a cgroup but this one, frozen or not; dirs are the group's folders, one in each
// hierarchy. It does not wait.
func Kill(dirs []string) {
	own := false
	for _, dir := range dirs {
		for _, pid := range PIDs(dir) {
			own = own || pid == os.Getpid()
		}
	}
	if !own {
		set(dirs, "cgroup.kill", "1") // reaches frozen processes; version 2, since Linux 5.14
	}
	for _, dir := range dirs {
		for _, pid := range PIDs(dir) {
			if pid != os.Getpid() {
				unix.Kill(pid, unix.SIGKILL)
			}
		}
	}
	// To die takes processor time: the kernel takes the memory apart. It must not wait its turn behind those who compute,
	// nor for the next period of a small quota.
	set(dirs, "cpu.cfs_quota_us", "-1")
	set(dirs, "cpu.shares", strconv.Itoa(maxShares))
	set(dirs, "cpu.max", "max")
	set(dirs, "cpu.weight", strconv.Itoa(maxWeight))
	set(dirs, "memory.oom_control", "0") // version 1: whoever waits for memory must run to die
	set(dirs, "freezer.state", "THAWED") // version 1: a killed process that the freezer holds dies when it thaws
	set(dirs, "cgroup.freeze", "0")
}

// set writes a control file where there is one.
func set(dirs []string, name, value string) {
	for _, dir := range dirs {
		if f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0); err == nil {
			f.WriteString(value) //nolint:errcheck // a process that it did not reach is found by the caller, who waits for the group to be empty
			f.Close()
		}
	}
}

// PIDs are the processes in a folder of a cgroup.
func PIDs(dir string) []int {
	b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return nil
	}
	var pids []int
	for _, f := range strings.Fields(string(b)) {
		if pid, err := strconv.Atoi(f); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Remove removes a cgroup whose processes have been killed, and waits until the deadline for the last of them.
func Remove(dirs []string, deadline time.Time) error {
	for _, dir := range dirs {
		for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
			err := unix.Rmdir(dir)
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			if !errors.Is(err, unix.EBUSY) || time.Now().After(deadline) {
				return &fs.PathError{Op: "remove cgroup", Path: dir, Err: err}
			}
			Kill(dirs)
			time.Sleep(pause)
		}
	}
	return nil
}
