package pool

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"strings"
)

// Memory tells what the host can still give.
type Memory interface {
	// Available is how many bytes new environments may take, reserve deducted; negative when it is not known.
	Available() int64
}

// budget knows what the host has and what was promised to environments that have not taken it yet.
type budget struct {
	source  Memory // asked without the lock
	pending map[*member]int64
	sum     int64
	changes int // of pending to taken
}

func (b *budget) expect(m *member, n int64) { b.pending[m] = n; b.sum += n }

func (b *budget) settled(m *member) {
	if n, ok := b.pending[m]; ok {
		b.sum -= n
		b.changes++
		delete(b.pending, m)
	}
}

// lockWithAvailable locks the pool and says what the source had to give shortly before. Whatever is no longer pending
// was taken by then: memory of a starting environment is always in at least one of the two counts.
func (p *Pool) lockWithAvailable() int64 {
	for {
		p.mu.Lock()
		changes := p.memory.changes
		p.mu.Unlock()
		available := p.memory.source.Available() // without the lock: it may ask the pool
		p.mu.Lock()
		if p.memory.changes == changes {
			return available
		}
		p.mu.Unlock()
	}
}

// fitsLocked says whether there is room for an environment that somebody needs.
func (p *Pool) fitsLocked(m *member, available int64) bool {
	return (available < 0 || available-p.memory.sum >= m.set.need()) && p.in.environments() < p.o.MaxEnvironments
}

// reclaimLocked has an idle environment end, unless memory is about to come back anyway: one at a time, each may be
// enough. It says whether there is hope.
func (p *Pool) reclaimLocked() bool {
	if p.in.all(Leaving, Answered) > 0 { // they give their memory back, or are idle, in a moment
		return true
	}
	victim := p.victimLocked()
	if victim == nil {
		return false
	}
	if victim.purpose == asSpare {
		p.yielding = p.o.Now().Add(yield)
	}
	p.letGoLocked(victim, "reclaimed")
	return true
}

// victimLocked is the member that gives way to a start: a spare that lies ready, one that is still being restored and
// that nobody waits for, or the least recently used; nil when there is none.
func (p *Pool) victimLocked() *member {
	rank := func(m *member) int {
		switch {
		case m.purpose == asProvisioned:
		case m.purpose == asSpare && m.state == Idle:
			return 3
		case m.purpose == asSpare && m.state == Starting && m.env != nil && len(m.set.waiters) == 0:
			return 2
		case m.state == Idle:
			return 1
		}
		return 0
	}
	var best *member
	highest := 0
	for m := range p.members {
		if n := rank(m); n > highest || n > 0 && n == highest && m.since.Before(best.since) {
			best, highest = m, n
		}
	}
	return best
}

// hostMemory reads the kernel's own estimate and keeps a reserve for everybody else: a twentieth of the whole, at least 256 MiB.
type hostMemory struct{}

func (hostMemory) Available() int64 {
	total, available := int64(-1), int64(-1)
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return -1
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var kib int64
		switch {
		case strings.HasPrefix(sc.Text(), "MemTotal:"):
			fmt.Sscanf(sc.Text(), "MemTotal: %d kB", &kib)
			total = kib << 10
		case strings.HasPrefix(sc.Text(), "MemAvailable:"):
			fmt.Sscanf(sc.Text(), "MemAvailable: %d kB", &kib)
			available = kib << 10
		}
	}
	if total < 0 || available < 0 {
		return -1
	}
	return max(0, available-max(total/20, 256<<20))
}

// FixedMemory is a budget that the operator set: what environments of the pool may promise together, in bytes.
type FixedMemory struct {
	Bytes int64
	Used  func() int64 // what they have now
}

// Available is the budget less what is used.
func (m FixedMemory) Available() int64 { return max(0, m.Bytes-m.Used()) }

// hostCores reads the kernel's account of the cores' time.
type hostCores struct{ idle, total uint64 }

// Idle compares with the last call.
func (h *hostCores) Idle() float64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil || runtime.GOOS != "linux" {
		return -1
	}
	line, _, _ := strings.Cut(string(b), "\n")
	var v [8]uint64
	fmt.Sscanf(line, "cpu %d %d %d %d %d %d %d %d", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7])
	var total uint64
	for _, x := range v {
		total += x
	}
	idle := v[3] + v[4] // idle and waiting for a disk
	was := *h
	h.idle, h.total = idle, total
	if was.total == 0 || total <= was.total {
		return -1
	}
	return float64(idle-was.idle) / float64(total-was.total)
}
