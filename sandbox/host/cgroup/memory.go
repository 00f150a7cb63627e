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

// GiveWay is how far above a limit the kernel's last word lies, in bytes: room for somebody in the group to be killed. Nine
// processes that take 30 MB each as fast as they can get past 64 MiB before a busy server has heard of the limit.
const GiveWay = 128 << 20

// LimitMemory sets the group's limit, in bytes. In v2 it is where the kernel begins to slow the group down. In v1 it is
// where MemoryEvents has news; it fails where the group holds more that cannot be dropped. The kernel's last word lies
// GiveWay above. There a group of v1 waits (oom_control), but for its system calls, which get ENOMEM: gVisor's, which
// are about its functions' pages, so that a function that came so far would see its own memory fail.
func (g *Group) LimitMemory(limit int64) error {
	if g.c.onlyV2() {
		if err := g.write("memory", "memory.max", strconv.FormatInt(limit+GiveWay, 10)); err != nil {
			return err
		}
		return g.write("memory", "memory.high", strconv.FormatInt(limit, 10))
	}
	// The first drops file cache above it.
	if err := g.write("memory", "memory.limit_in_bytes", strconv.FormatInt(limit, 10)); err != nil {
		return err
	}
	return g.write("memory", "memory.limit_in_bytes", strconv.FormatInt(limit+GiveWay, 10))
}

// BoundMemory is the limit of a group where nobody listens to MemoryEvents, in bytes: what comes to it is killed, all of the
// group, and not slowed down before. With memory.high the kernel has what passes it wait, up to two seconds for some
// hundred kilobytes, and kills nothing: it is for groups whose owner does.
func (g *Group) BoundMemory(limit int64) error {
	if !g.c.onlyV2() {
		return g.write("memory", "memory.limit_in_bytes", strconv.FormatInt(limit, 10))
	}
	if err := g.write("memory", "memory.oom.group", "1"); err != nil {
		return err
	}
	return g.write("memory", "memory.max", strconv.FormatInt(limit, 10))
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
	g     *Group
	f     *os.File // v1: an eventfd; v2: memory.events
	n     int64    // v2: the count that was seen
	limit int64    // v1, in bytes
}

// MemoryEvents asks the kernel to say when the group is at its limit, which LimitMemory sets next.
func (g *Group) MemoryEvents(limit int64) (*MemoryEvents, error) {
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
	e := &MemoryEvents{g: g, f: os.NewFile(uintptr(fd), "memory events"), limit: limit}
	// Source: Documentation/admin-guide/cgroup-v1/memory.rst, "OOM Control".
	if err := errors.Join(e.ask(fd, "memory.oom_control", ""), g.write("memory", "memory.oom_control", "1")); err != nil {
		e.Close()
		return nil, fmt.Errorf("memory events: %w", err)
	}
	return e, nil
}

// Watch asks for news of the limit; until then there is only that of the kernel's last word. A kernel of v1 takes some ten
// milliseconds for it (synchronize_rcu), which is why it is no part of making a sandbox. What was reached before is no
// news: Reached says it. Source: Documentation/admin-guide/cgroup-v1/memory.rst, "Memory thresholds".
func (e *MemoryEvents) Watch() error {
	if e.g.c.onlyV2() {
		return nil
	}
	rc, err := e.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("memory events: %w", err)
	}
	for _, above := range beyond {
		var asked error
		err := rc.Control(func(fd uintptr) { // which Close does not end meanwhile
			asked = e.ask(int(fd), "memory.usage_in_bytes", fmt.Sprint(" ", e.limit+above))
		})
		if err = errors.Join(err, asked); err != nil {
			return fmt.Errorf("memory events: %w", err)
		}
	}
	return nil
}

// beyond are how far above the limit a group of v1 is looked at, in bytes. The limit alone is not enough: the kernel tells
// of a crossing when it counts, every some hundred pages, so a group that has dropped a little below in between and comes
// back has crossed nothing.
var beyond = []int64{0, dropped}

// ask has the kernel of v1 tell what happens to a file of the group.
func (e *MemoryEvents) ask(fd int, name, argument string) error {
	f, err := os.Open(e.g.file("memory", name))
	if err != nil {
		return err
	}
	defer f.Close()
	return e.g.write("memory", "cgroup.event_control", fmt.Sprintf("%d %d%s", fd, f.Fd(), argument))
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

// Reached says whether the group is at its limit now, by what cannot be dropped: in v1 file cache is dropped here.
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
	b, err := os.ReadFile(e.g.file("memory", "memory.usage_in_bytes"))
	if err != nil {
		return false
	}
	used, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil || used < e.limit { // the kernel tells of the way down, too
		return false
	}
	if held, err := e.g.MemoryHeld(); err == nil && held < e.limit-dropped {
		e.g.LimitMemory(e.limit - dropped) //nolint:errcheck // as far as it can
	}
	return e.g.LimitMemory(e.limit) != nil
}

// dropped is how much file cache is dropped at a time when a group comes to its limit by that, in bytes.
const dropped = 8 << 20

func (e *MemoryEvents) Close() error {
	err := e.f.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
