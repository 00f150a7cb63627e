package admin

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dying says whether a process has been killed and is on its way out: then its locks are free in a moment. Source:
// proc_pid_stat(5), proc_pid_status(5).
func dying(pid int) bool {
	const exiting = 0x4 // PF_EXITING
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true // gone already
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // from state on: the name may hold anything
	if len(fields) < 7 || strings.Contains("ZX", fields[0]) {
		return true
	}
	if flags, err := strconv.ParseUint(fields[6], 10, 64); err == nil && flags&exiting != 0 {
		return true
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return true
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		if name != "SigPnd" && name != "ShdPnd" {
			continue
		}
		if mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64); err == nil && mask&(1<<(unix.SIGKILL-1)) != 0 {
			return true
		}
	}
	return false
}
