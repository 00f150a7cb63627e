package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// GiveWay is how far a limit can be raised for a while, for somebody in the group to be killed, in bytes: see LimitMemory.
const GiveWay = 64 << 20

// LimitMemory sets the group's limit, in bytes. In v1 it is the kernel's last word, and the group waits there
// (oom_control); in v2 it is where the kernel begins to slow the group down, and its last word lies GiveWay above.
func (g *Group) LimitMemory(limit int64) error {
	if g.c.onlyV2() {
		if err := g.write("memory", "memory.max", strconv.FormatInt(limit+GiveWay, 10)); err != nil {
			return err
		}
		return g.write("memory", "memory.high", strconv.FormatInt(limit, 10))
	}
	return g.write("memory", "memory.limit_in_bytes", strconv.FormatInt(limit, 10))
}

// LimitCPU gives the group so many cores' worth of time; 0: no limit.
func (g *Group) LimitCPU(cpus float64) error {
	if !g.c.HasCPU() || cpus <= 0 {
		return nil
	}
	// A tenth of a second is the kernel's own choice of period; its least quota is 1 ms.
	const period = 100_000
	quota := max(int64(cpus*period), 1000)
	if g.c.onlyV2() {
		return g.write("cpu", "cpu.max", fmt.Sprintf("%d %d", quota, period))
	}
	if err := g.write("cpu", "cpu.cfs_period_us", strconv.Itoa(period)); err != nil {
		return err
	}
	return g.write("cpu", "cpu.cfs_quota_us", strconv.FormatInt(quota, 10))
}

// maxProcesses bounds host processes and threads of one sandbox: gVisor's own, and one for each thread inside. What a
// function may have itself is RLIMIT_NPROC's business; this protects the host.
const maxProcesses = 4096

// LimitProcesses bounds them.
func (g *Group) LimitProcesses() error {
	if g.c.v1["pids"] == "" && !(g.c.onlyV2() && g.c.v2has["pids"]) {
		return nil
	}
	return g.write("pids", "pids.max", strconv.Itoa(maxProcesses))
}

// MemoryHeld is what the group's processes hold that cannot be dropped, in bytes: anonymous and shared memory, no file cache.
func (g *Group) MemoryHeld() (int64, error) {
	b, err := os.ReadFile(g.file("memory", "memory.stat"))
	if err != nil {
		return 0, fmt.Errorf("memory: %w", err)
	}
	if g.c.onlyV2() {
		return sumFields(b, "anon", "shmem")
	}
	return sumFields(b, "rss", "shmem")
}

// sumFields adds up fields of a file of lines of name and number.
func sumFields(b []byte, names ...string) (int64, error) {
	var sum int64
	for line := range bytes.Lines(b) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		for _, want := range names {
			if name == want {
				n, err := strconv.ParseInt(value, 10, 64)
				if err != nil {
					return 0, fmt.Errorf("%s: %w", name, err)
				}
				sum += n
			}
		}
	}
	return sum, nil
}

// OOMKilled says whether the kernel has killed anything in the group for memory.
func (g *Group) OOMKilled() bool {
	name := "memory.oom_control" // v1: oom_kill N
	if g.c.onlyV2() {
		name = "memory.events"
	}
	b, err := os.ReadFile(g.file("memory", name))
	if err != nil {
		return false
	}
	n, err := sumFields(b, "oom_kill")
	return err == nil && n > 0
}

// MemoryEvents tells when the group is at its limit.
type MemoryEvents struct {
	g *Group
	f *os.File // v1: an eventfd; v2: memory.events
	n int64    // v2: the count that was seen
}

// MemoryEvents asks the kernel to wait, or to slow down, at the limit, and to say so.
func (g *Group) MemoryEvents() (*MemoryEvents, error) {
	if g.c.onlyV2() {
		if err := g.write("memory", "memory.oom.group", "1"); err != nil { // half a sandbox is none
			return nil, err
		}
		f, err := os.Open(g.file("memory", "memory.events"))
		if err != nil {
			return nil, fmt.Errorf("memory events: %w", err)
		}
		return &MemoryEvents{g: g, f: f}, nil
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("memory events: %w", err)
	}
	e := &MemoryEvents{g: g, f: os.NewFile(uintptr(fd), "memory events")}
	control, err := os.OpenFile(g.file("memory", "memory.oom_control"), os.O_RDWR, 0)
	if err == nil {
		defer control.Close()
		// Source: Documentation/admin-guide/cgroup-v1/memory.rst, "OOM Control".
		err = g.write("memory", "cgroup.event_control", fmt.Sprintf("%d %d", fd, control.Fd()))
		if err == nil {
			_, err = control.WriteString("1")
		}
	}
	if err != nil {
		e.Close()
		return nil, fmt.Errorf("memory events: %w", err)
	}
	return e, nil
}

// Wait returns false when the events were closed.
func (e *MemoryEvents) Wait() bool {
	if !e.g.c.onlyV2() {
		var b [8]byte
		_, err := e.f.Read(b[:])
		return err == nil
	}
	rc, err := e.f.SyscallConn()
	if err != nil {
		return false
	}
	// Kernel files cannot wait in the runtime's poller: look twice a second, and at once when the kernel says so.
	for {
		var n int
		if err := rc.Control(func(fd uintptr) {
			n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, 500)
		}); err != nil {
			return false
		}
		if n > 0 {
			return true
		}
	}
}

// Reached says whether the group is at its limit now.
func (e *MemoryEvents) Reached() bool {
	if e.g.c.onlyV2() {
		b, err := os.ReadFile(e.g.file("memory", "memory.events"))
		if err != nil {
			return false
		}
		n, err := sumFields(b, "high", "max")
		news := err == nil && n > e.n
		e.n = n
		return news
	}
	b, err := os.ReadFile(e.g.file("memory", "memory.oom_control"))
	if err != nil {
		return false
	}
	n, err := sumFields(b, "under_oom")
	return err == nil && n > 0
}

func (e *MemoryEvents) Close() error {
	err := e.f.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
