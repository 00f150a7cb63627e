package machine

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// group is the control group of the function's processes: all that its runtime and extensions hold counts there, and the
// kernel kills all of them when it is too much. The guest is in the root group.
type group struct {
	dir    *os.File
	events *os.File // memory.events
}

const groupName = "function"

func (h *host) makeGroup() (*group, error) {
	if err := writeAt(h.groups, "cgroup.subtree_control", "+memory +pids"); err != nil {
		return nil, fmt.Errorf("control groups: %w", err)
	}
	if err := unix.Mkdirat(int(h.groups.Fd()), groupName, 0o755); err != nil {
		return nil, fmt.Errorf("control group: %w", err)
	}
	g := &group{}
	var err error
	if g.dir, err = os.Open(groupsDir + "/" + groupName); err != nil {
		return nil, err
	}
	if g.events, err = os.Open(groupsDir + "/" + groupName + "/memory.events"); err != nil {
		return nil, err
	}
	return g, writeAt(g.dir, "memory.oom.group", "1")
}

// limit bounds the group; 0: not.
func (g *group) limit(memory int64, processes int) error {
	if memory > 0 {
		if err := writeAt(g.dir, "memory.max", strconv.FormatInt(memory, 10)); err != nil {
			return err
		}
	}
	if processes > 0 {
		return writeAt(g.dir, "pids.max", strconv.Itoa(processes))
	}
	return nil
}

// savePatience bounds how long processes take to stand still before a machine is saved: some wait for a disk. Before it
// is frozen they need not.
const (
	savePatience   = time.Minute
	freezePatience = 200 * time.Millisecond
)

// freeze makes all processes stand still, and returns when they do.
func (g *group) freeze(patience time.Duration) error {
	if err := writeAt(g.dir, "cgroup.freeze", "1"); err != nil {
		return err
	}
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		text, err := readAt(g.dir, "cgroup.events")
		if err != nil {
			return err
		}
		if n, err := field(text, "frozen"); err != nil || n == 1 {
			return err
		}
		if time.Now().After(end) {
			return fmt.Errorf("processes do not stand still for %v", patience)
		}
	}
}

// thaw lets them go on. They do when it is their turn: a restore waits for nobody.
func (g *group) thaw() error { return writeAt(g.dir, "cgroup.freeze", "0") }

// processes are those of the group.
func (g *group) processes() ([]int, error) { return g.members("cgroup.procs") }

func (g *group) members(file string) (ids []int, err error) {
	fd, err := unix.Openat(int(g.dir.Fd()), file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: file, Err: err}
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	text, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	for _, s := range strings.Fields(string(text)) {
		id, err := strconv.Atoi(s)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// kills is how often the kernel has killed the group at its limit, since the boot.
func (g *group) kills() int64 {
	text, err := readAt(g.dir, "memory.events")
	if err != nil {
		return 0
	}
	n, _ := field(text, "oom_group_kill")
	return n
}

// waitEvents waits until something may have happened at the limit; false: never.
func (g *group) waitEvents() bool {
	// What happened is news to a descriptor until it is read.
	var b [512]byte
	if _, err := unix.Pread(int(g.events.Fd()), b[:], 0); err != nil {
		return false
	}
	for {
		_, err := unix.Poll([]unix.PollFd{{Fd: int32(g.events.Fd()), Events: unix.POLLPRI}}, -1)
		if err != unix.EINTR {
			return err == nil
		}
	}
}

// used is what the processes hold, in bytes: memory of their own and shared, and what the kernel needs for them. File
// cache is not counted, since the kernel drops it when somebody needs the room: neither code that was read nor /tmp. A
// /tmp without a disk is shared memory, and counts.
func (g *group) used() (int64, error) {
	text, err := readAt(g.dir, "memory.stat")
	if err != nil {
		return 0, err
	}
	var sum int64
	for name, sign := range map[string]int64{"anon": 1, "shmem": 1, "kernel": 1, "slab_reclaimable": -1} {
		n, err := field(text, name)
		if err != nil {
			return 0, err
		}
		sum += sign * n
	}
	return max(sum, 0), nil
}

// field is a number of a file with lines of names and numbers.
func field(text, name string) (int64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			return strconv.ParseInt(strings.TrimSpace(rest), 10, 64)
		}
	}
	return 0, fmt.Errorf("the kernel does not count %s", name)
}
