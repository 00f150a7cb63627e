package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// freezeLimit bounds the wait for the last thread to stop. A thread in the middle of a disk read stops when that is done.
const freezeLimit = 10 * time.Second

// ErrFreezeLate is the reason of a freeze that was given up. Some of the group may be frozen.
var ErrFreezeLate = errors.New("some processes did not stop in time")

// SetFrozen stops or continues every process of the group. It returns when nothing runs any more (or at once on the way back). closing
// cuts the wait short.
func (g *Group) SetFrozen(want bool, closing <-chan struct{}) error {
	if g.c.v2 != "" {
		return g.freezeV2(want, closing)
	}
	if g.c.v1["freezer"] != "" {
		return g.freezeV1(want, closing)
	}
	return errors.New("this host has no freezer")
}

func (g *Group) freezeV2(want bool, closing <-chan struct{}) error {
	dir := filepath.Join(g.c.v2, g.rel)
	value := "0"
	if want {
		value = "1"
	}
	if err := os.WriteFile(filepath.Join(dir, "cgroup.freeze"), []byte(value), 0); err != nil || !want {
		return err
	}
	// cgroup.events says so, and poll wakes when it changes. Source: Documentation/admin-guide/cgroup-v2.rst.
	fd, err := unix.Open(filepath.Join(dir, "cgroup.events"), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cgroup.events: %w", err)
	}
	defer unix.Close(fd)
	return untilFrozen(closing, func() (bool, error) {
		var buf [128]byte
		n, err := unix.Pread(fd, buf[:], 0)
		if err != nil {
			return false, fmt.Errorf("cgroup.events: %w", err)
		}
		return strings.Contains(string(buf[:n]), "frozen 1"), nil
	}, func(left time.Duration) {
		unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLPRI}}, int(left.Milliseconds()))
	})
}

func (g *Group) freezeV1(want bool, closing <-chan struct{}) error {
	path := g.file("freezer", "freezer.state")
	if !want {
		return os.WriteFile(path, []byte("THAWED"), 0)
	}
	// The v1 freezer misses what forks while it freezes; writing again catches it. Source: Documentation/admin-guide/cgroup-v1/freezer-subsystem.rst.
	return untilFrozen(closing, func() (bool, error) {
		if err := os.WriteFile(path, []byte("FROZEN"), 0); err != nil {
			return false, err
		}
		b, err := os.ReadFile(path)
		return strings.TrimSpace(string(b)) == "FROZEN", err
	}, func(time.Duration) { time.Sleep(200 * time.Microsecond) })
}

func untilFrozen(closing <-chan struct{}, frozen func() (bool, error), wait func(left time.Duration)) error {
	deadline := time.Now().Add(freezeLimit)
	for {
		ok, err := frozen()
		if ok || err != nil {
			return err
		}
		select {
		case <-closing:
			return nil // Close kills it, which works from any state
		default:
		}
		left := time.Until(deadline)
		if left <= 0 {
			return ErrFreezeLate
		}
		wait(min(left, 100*time.Millisecond))
	}
}

// CPUTime is the processor time that the group has used.
func (g *Group) CPUTime() (time.Duration, error) {
	if g.c.v2 != "" { // counted there in any layout
		b, err := os.ReadFile(filepath.Join(g.c.v2, g.rel, "cpu.stat"))
		if err != nil {
			return 0, fmt.Errorf("processor time: %w", err)
		}
		us, err := sumFields(b, "usage_usec")
		return time.Duration(us) * time.Microsecond, err
	}
	return 0, errors.New("processor time is counted by cgroup v2 only")
}
