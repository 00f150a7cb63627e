package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"thaw/internal/proctree"
)

// MemoryUsed is what the descendants of the guest hold: each page counted by its share (PSS), so that what they have in common counts once.
func (s *Sandbox) MemoryUsed() (int64, error) {
	if err := s.gone(); err != nil {
		return 0, err
	}
	var sum int64
	for _, pid := range proctree.Descendants(s.guestPID(), nil) {
		n, err := pss(pid)
		if err != nil {
			if os.IsNotExist(err) {
				continue // it has ended
			}
			return 0, fmt.Errorf("memory of process %d: %w", pid, err)
		}
		sum += n
	}
	return sum, nil
}

// pss reads the Pss line of smaps_rollup; a process that is just ending has an empty one.
func pss(pid int) (int64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/smaps_rollup")
	if err != nil {
		if errors.Is(err, syscall.ESRCH) || os.IsNotExist(err) {
			return 0, os.ErrNotExist
		}
		return 0, err
	}
	_, rest, ok := bytes.Cut(b, []byte("\nPss:"))
	if !ok {
		return 0, nil
	}
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0, nil
	}
	kib, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("smaps_rollup: %w", err)
	}
	return kib << 10, nil
}
