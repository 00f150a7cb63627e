package machine

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"thaw/guest/control"
)

// freeze prepares the machine for being frozen (control.Freeze). Mostly nothing of the function is computing then: its
// processes are left alone, since some calls end when a process stands still (EINTR).
func (m *machine) freeze() (f control.Freeze, err error) {
	if f.Used, err = m.group.used(); err != nil {
		return f, err
	}
	if f.Held, err = m.computing(); err != nil || !f.Held {
		return f, err
	}
	if err := m.group.freeze(freezePatience); err != nil {
		return f, errors.Join(err, m.group.thaw())
	}
	return f, nil
}

// computing says whether a thread of the function has a processor, or waits for one.
func (m *machine) computing() (bool, error) {
	text, err := readAt(m.host.proc, "loadavg")
	if err != nil {
		return false, err
	}
	if n, err := runnable(text); err != nil || n <= 1 { // this thread
		return false, err
	}
	threads, err := m.group.members("cgroup.threads")
	if err != nil {
		return false, err
	}
	for _, id := range threads {
		if stat, err := readAt(m.host.proc, strconv.Itoa(id)+"/stat"); err == nil && running(stat) { // else it has ended
			return true, nil
		}
	}
	return false, nil
}

// runnable reads how many threads have a processor, or wait for one. Source: proc(5), /proc/loadavg.
func runnable(loadavg string) (int, error) {
	fields := strings.Fields(loadavg)
	if len(fields) < 4 {
		return 0, fmt.Errorf("loadavg %q", loadavg)
	}
	now, _, _ := strings.Cut(fields[3], "/")
	n, err := strconv.Atoi(now)
	if err != nil {
		return 0, fmt.Errorf("loadavg %q: %w", loadavg, err)
	}
	return n, nil
}

// running says whether a thread is in state R. The name before may have anything in it. Source: proc(5), /proc/PID/stat.
func running(stat string) bool {
	return strings.HasPrefix(stat[strings.LastIndexByte(stat, ')')+1:], " R")
}
