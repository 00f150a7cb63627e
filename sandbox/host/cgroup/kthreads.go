package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ReleaseKernelThreads moves threads of the kernel itself out of the group, to where the server is. Up to Linux 6.12 each
// virtual machine of KVM has one (kvm-nx-lpage-recovery) in the groups of the process that made the machine. It cannot be
// frozen, so that the freezer of version 2 would never say that the group is. It ends with its machine.
// Source: the message of Linux's commit "KVM: x86: switch hugepage recovery thread to vhost_task".
func (g *Group) ReleaseKernelThreads() error {
	var errs []error
	for i, dir := range g.dirs() {
		for _, pid := range PIDs(dir) {
			if !isKernelThread(pid) {
				continue
			}
			err := os.WriteFile(g.c.home[i], []byte(strconv.Itoa(pid)), 0)
			if err != nil && !errors.Is(err, unix.ESRCH) { // it has ended
				errs = append(errs, fmt.Errorf("cgroup: thread %d of the kernel: %w", pid, err))
			}
		}
	}
	return errors.Join(errs...)
}

// kernelThread is the flag of threads of the kernel. Source: PF_KTHREAD in Linux's include/linux/sched.h.
const kernelThread = 0x00200000

func isKernelThread(pid int) bool {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return false // it has ended
	}
	// The name in parentheses may have anything in it; the flags are the seventh field behind it. Source: proc_pid_stat(5).
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 7 {
		return false
	}
	flags, err := strconv.ParseUint(fields[6], 10, 64)
	return err == nil && flags&kernelThread != 0
}
