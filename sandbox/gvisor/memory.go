package gvisor

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
)

// memory is what a sandbox knows of its own.
type memory struct {
	baseline int64 // bytes that the blank sandbox held with its guest up
}

// limit sets the limits of the Spec.
func (s *Sandbox) limit() error {
	g := s.group
	s.memory.baseline, _ = g.memoryHeld()
	if g.c.hasMemory() && s.spec.MemoryMiB > 0 {
		total := int64(s.spec.MemoryMiB+s.spec.TmpMiB)<<20 + s.memory.baseline + overhead
		if g.c.onlyV2() {
			if err := g.write("memory", "memory.max", strconv.FormatInt(total, 10)); err != nil {
				return err
			}
		} else if err := g.write("memory", "memory.limit_in_bytes", strconv.FormatInt(total, 10)); err != nil {
			return err
		}
	}
	return nil
}

// overhead is room for what gVisor needs itself as its guest grows, in bytes.
const overhead = 32 << 20

// MemoryUsed implements sandbox.Sandbox.
func (s *Sandbox) MemoryUsed() (int64, error) {
	held, err := s.group.memoryHeld()
	if err != nil {
		return 0, err
	}
	return max(held-s.memory.baseline, 0), nil
}

// memoryHeld is what the group's processes hold that cannot be dropped: anonymous and shared memory, no file cache.
func (g *group) memoryHeld() (int64, error) {
	f, err := os.Open(g.file("memory", "memory.stat"))
	if err != nil {
		return 0, fmt.Errorf("memory: %w", err)
	}
	defer f.Close()
	names := map[string]bool{"anon": true, "shmem": true} // v2
	if !g.c.onlyV2() {
		names = map[string]bool{"total_rss": true, "total_shmem": true}
	}
	var sum int64
	sc := bufio.NewScanner(f)
	for sc.Scan() {
		name, value, _ := strings.Cut(sc.Text(), " ")
		if names[name] {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return 0, fmt.Errorf("memory.stat: %w", err)
			}
			sum += n
		}
	}
	return sum, sc.Err()
}

func (g *group) oomKilled() bool { return false }

// rest is called once, when the guest is up.
func (g *group) rest() error { return nil }
