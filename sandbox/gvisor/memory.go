package gvisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"thaw/sandbox"
)

// # What counts as a function's memory
//
// gVisor keeps the memory of everything inside in one memory file, which the host counts as shared memory; its own heap is anonymous memory.
// So a function holds what the group has of both, less what the blank sandbox had with its guest up (the baseline). File cache does not count: code
// that was read, and /tmp, which is kept in a file on disk (see tmp.go in cmd/thaw-sandbox/internal/agent).
//
// # What happens at the limit
//
// The kernel's limit is the function's, the baseline, and some room for what gVisor itself needs more as its guest grows. The kernel's
// own way at the limit is to kill the sandbox, with /tmp and all. AWS kills the runtime and keeps the rest. So it is asked to wait
// (cgroup v1: oom_control) or to slow down (v2: memory.high), the owner is told, and the limit gives way a little while its guest kills the runtime. Where
// that does not help, the sandbox is killed, and Exit says OutOfMemory.
const (
	// overhead is that room, in bytes: page tables, gVisor's heap for open files, threads and connections, and enough file cache to work with.
	// Measured: a guest that holds 448 MiB costs 3 MiB of kernel memory and 2 MiB of gVisor's. How much many open files cost was not measured.
	overhead = 16 << 20
	// giveWay is how far the limit is raised for the kill, in bytes. A guest needs some hundred KB to kill; the function goes on allocating
	// meanwhile.
	giveWay = 64 << 20
	// killLimit bounds the time that the owner and its guest have for the kill.
	killLimit = 10 * time.Second
	// killPoll is how often is looked whether the memory has come back.
	killPoll = 10 * time.Millisecond
)

// memory is what a sandbox knows of its own. All is written before the watcher starts, but for killed.
type memory struct {
	baseline int64 // bytes that the blank sandbox held with its guest up
	limit    int64 // of the group, in bytes; 0: none
	killed   atomic.Bool
}

// noteBaseline is called when the guest of a blank sandbox is up.
func (s *Sandbox) noteBaseline() (err error) {
	if s.group.c.hasMemory() {
		s.memory.baseline, err = s.group.memoryHeld()
	}
	return err
}

// limit sets the limits of the Spec.
func (s *Sandbox) limit() error {
	if s.patient {
		if err := s.group.claim(false); err != nil {
			return err
		}
	}
	if err := s.group.limitCPU(s.spec.CPUs); err != nil {
		return err
	}
	if !s.group.c.hasMemory() || s.spec.MemoryMiB <= 0 {
		return nil
	}
	s.memory.limit = int64(s.spec.MemoryMiB)<<20 + s.memory.baseline + overhead
	events, err := s.group.memoryEvents()
	if err != nil {
		return err
	}
	if err := s.group.limitMemory(s.memory.limit); err != nil {
		events.Close()
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		events.Close()
		return sandbox.ErrClosed
	}
	s.wg.Go(func() { s.watchMemory(events) })
	return nil
}

// MemoryUsed implements sandbox.Sandbox.
func (s *Sandbox) MemoryUsed() (int64, error) {
	if !s.group.c.hasMemory() {
		return 0, errors.New("memory is not counted on this host: it has no memory cgroup")
	}
	held, err := s.group.memoryHeld()
	if err != nil {
		return 0, err
	}
	return max(held-s.memory.baseline, 0), nil
}

// watchMemory waits for the group to reach its limit.
func (s *Sandbox) watchMemory(events *memoryEvents) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // not counted: it ends when this function returns
		select {
		case <-s.closing:
		case <-s.exited:
		case <-ctx.Done():
		}
		events.Close()
	}()
	for events.wait() {
		if !events.reached() {
			continue
		}
		s.atLimit()
	}
}

// atLimit tells the owner, gives way, and takes back.
func (s *Sandbox) atLimit() {
	log := s.b.log.With("sandbox", s.name, "env", s.id)
	if err := s.group.limitMemory(s.memory.limit + giveWay); err != nil {
		log.Error("memory limit", "err", err)
		return
	}
	held, err := s.group.memoryHeld()
	if err != nil {
		return // it has ended
	}
	// Near the limit by file cache alone: that can be dropped, given time. Nobody is to blame.
	if function := held - s.memory.baseline; function >= int64(s.spec.MemoryMiB)<<20*7/8 {
		select {
		case s.exceeded <- struct{}{}:
		default: // the owner has not taken the last one yet
		}
	}
	for end := time.Now().Add(killLimit); ; {
		if held, err = s.group.memoryHeld(); err != nil {
			return
		}
		// The kernel refuses a limit below what cannot be dropped.
		if held < s.memory.limit-overhead/2 && s.group.limitMemory(s.memory.limit) == nil {
			return
		}
		if held >= s.memory.limit+giveWay-overhead/2 || time.Now().After(end) {
			log.Warn("memory limit passed and nobody killed the runtime: the sandbox ends", "held", held, "limit", s.memory.limit)
			s.memory.killed.Store(true)
			s.group.kill()
			return
		}
		select {
		case <-s.closing:
			return
		case <-s.exited:
			return
		case <-time.After(killPoll):
		}
	}
}

// limitMemory sets the group's limit, in bytes. In v1 it is the kernel's last word, and the group waits there (oom_control); in v2 it is where the kernel begins
// to slow the group down, and its last word lies giveWay above.
func (g *group) limitMemory(limit int64) error {
	if g.c.onlyV2() {
		if err := g.write("memory", "memory.max", strconv.FormatInt(limit+giveWay, 10)); err != nil {
			return err
		}
		return g.write("memory", "memory.high", strconv.FormatInt(limit, 10))
	}
	return g.write("memory", "memory.limit_in_bytes", strconv.FormatInt(limit, 10))
}

// limitCPU gives the group so many cores' worth of time; 0: no limit.
func (g *group) limitCPU(cpus float64) error {
	if !g.c.hasCPU() || cpus <= 0 {
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

// maxProcesses bounds host processes and threads of one sandbox: gVisor's own, and one for each thread inside. What a function may have itself is
// RLIMIT_NPROC's business; this protects the host.
const maxProcesses = 4096

func (g *group) limitProcesses() error {
	if g.c.v1["pids"] == "" && !(g.c.onlyV2() && g.c.v2has["pids"]) {
		return nil
	}
	return g.write("pids", "pids.max", strconv.Itoa(maxProcesses))
}

// memoryHeld is what the group's processes hold that cannot be dropped, in bytes: anonymous and shared memory, no file cache.
func (g *group) memoryHeld() (int64, error) {
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

// oomKilled says whether the kernel has killed anything in the group for memory.
func (g *group) oomKilled() bool {
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

// memoryEvents tells when the group is at its limit.
type memoryEvents struct {
	g *group
	f *os.File // v1: an eventfd; v2: memory.events
	n int64    // v2: the count that was seen
}

// memoryEvents asks the kernel to wait, or to slow down, at the limit, and to say so.
func (g *group) memoryEvents() (*memoryEvents, error) {
	if g.c.onlyV2() {
		if err := g.write("memory", "memory.oom.group", "1"); err != nil { // half a sandbox is none
			return nil, err
		}
		f, err := os.Open(g.file("memory", "memory.events"))
		if err != nil {
			return nil, fmt.Errorf("memory events: %w", err)
		}
		return &memoryEvents{g: g, f: f}, nil
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("memory events: %w", err)
	}
	e := &memoryEvents{g: g, f: os.NewFile(uintptr(fd), "memory events")}
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

// wait returns false when the events were closed.
func (e *memoryEvents) wait() bool {
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

// reached says whether the group is at its limit now.
func (e *memoryEvents) reached() bool {
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

func (e *memoryEvents) Close() error {
	err := e.f.Close()
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}
