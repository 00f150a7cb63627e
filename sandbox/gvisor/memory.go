package gvisor

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"thaw/sandbox"
	"thaw/sandbox/host/cgroup"
)

// # What counts as a function's memory
//
// gVisor keeps the memory of everything inside in one memory file, which the host counts as shared memory; its own heap
// is anonymous memory. So a function holds what the group has of both, less what the blank sandbox had with its guest
// up (the baseline). File cache does not count: code that was read, and /tmp, which is kept in a file on disk (see
// tmp.go in cmd/thaw-sandbox/internal/agent).
//
// # What happens at the limit
//
// The limit is the function's, the baseline, and some room for what gVisor itself needs more as its guest grows. The kernel's
// own way at a limit is to kill the sandbox, with /tmp and all. AWS kills the runtime and keeps the rest. So the kernel is
// asked to tell (cgroup v1: a threshold) or to slow down (v2: memory.high) there, and has its last word higher up; the owner
// is told, and the limit gives way while its guest kills the runtime. Where that does not help, the sandbox is killed, and
// Exit says OutOfMemory.
const (
	// overhead is that room, in bytes: page tables, gVisor's heap for open files, threads and connections, and enough file cache to work with.
	// Measured: a guest that holds 448 MiB costs 3 MiB of kernel memory and 2 MiB of gVisor's. How much many open files cost was not measured.
	overhead = 16 << 20
	// giveWay is how far the limit is raised for the kill, in bytes; as much again lies below the kernel's last word. A guest
	// needs some hundred KB to kill; the function goes on allocating meanwhile, on a busy machine for some 100 ms.
	giveWay = cgroup.GiveWay
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
	if s.b.groups.HasMemory() {
		s.memory.baseline, err = s.group.MemoryHeld()
	}
	return err
}

// limit sets the limits of the Spec.
func (s *Sandbox) limit() error {
	if s.patient {
		if err := s.group.Claim(false); err != nil {
			return err
		}
	}
	if err := s.group.LimitCPU(s.spec.CPUs); err != nil {
		return err
	}
	if !s.b.groups.HasMemory() || s.spec.MemoryMiB <= 0 {
		return nil
	}
	s.memory.limit = int64(s.spec.MemoryMiB)<<20 + s.memory.baseline + overhead
	events, err := s.group.MemoryEvents(s.memory.limit)
	if err != nil {
		return err
	}
	if err := s.group.LimitMemory(s.memory.limit); err != nil {
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
	if !s.b.groups.HasMemory() {
		return 0, errors.New("memory is not counted on this host: it has no memory cgroup")
	}
	held, err := s.group.MemoryHeld()
	if err != nil {
		return 0, err
	}
	return max(held-s.memory.baseline, 0), nil
}

// watchMemory waits for the group to reach its limit.
func (s *Sandbox) watchMemory(events *cgroup.MemoryEvents) {
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
	if err := events.Watch(); err != nil {
		select {
		case <-s.closing:
		case <-s.exited:
		default:
			s.b.log.Error("memory limit", "sandbox", s.name, "env", s.id, "err", err)
		}
	}
	for waits := true; waits; waits = events.Wait() {
		if events.Reached() {
			s.atLimit()
		}
	}
}

// atLimit tells the owner, gives way, and takes back.
func (s *Sandbox) atLimit() {
	log := s.b.log.With("sandbox", s.name, "env", s.id)
	if err := s.group.LimitMemory(s.memory.limit + giveWay); err != nil {
		log.Error("memory limit", "err", err)
		return
	}
	held, err := s.group.MemoryHeld()
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
		if held, err = s.group.MemoryHeld(); err != nil {
			return
		}
		// The kernel refuses a limit below what cannot be dropped.
		if held < s.memory.limit-overhead/2 && s.group.LimitMemory(s.memory.limit) == nil {
			return
		}
		if held >= s.memory.limit+giveWay+cgroup.GiveWay-overhead/2 || time.Now().After(end) {
			log.Warn("memory limit passed and nobody killed the runtime: the sandbox ends", "held", held, "limit", s.memory.limit)
			s.memory.killed.Store(true)
			s.group.Kill()
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
