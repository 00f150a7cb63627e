package machine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"thaw/guest/control"
)

// bind makes the machine the sandbox of one function.
func (m *machine) bind(b *control.Bind) error {
	if err := m.host.refresh(b.Fresh); err != nil {
		return err
	}
	if err := unix.Sethostname([]byte(b.Hostname)); err != nil {
		return fmt.Errorf("host name: %w", err)
	}
	if b.Network != nil {
		if !b.Network.Address.IsValid() {
			return errors.New("network: no address")
		}
		if err := setNetwork(b.Network); err != nil {
			return fmt.Errorf("network: %w", err)
		}
	}
	if err := m.group.limit(b.MemoryBytes, b.MaxProcesses); err != nil {
		return err
	}
	if err := m.host.makeRoot(b); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	if err := enterRoot(); err != nil {
		return fmt.Errorf("root: %w", err)
	}
	return wallOff()
}

// drivePatience bounds the wait for a disk of the machine to be found.
const drivePatience = 30 * time.Second

// driveDevice is the block device of a drive, once it is there.
func driveDevice(n int) (string, error) {
	if n < 0 || n > 'z'-'a' {
		return "", fmt.Errorf("drive %d: a machine has no so many", n)
	}
	path := "/dev/vd" + string(rune('a'+n))
	for end := time.Now().Add(drivePatience); ; time.Sleep(2 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
		if time.Now().After(end) {
			return "", fmt.Errorf("drive %d: there is no %s", n, path)
		}
	}
}

// ownMemory is what the guest holds, in bytes.
func (h *host) ownMemory() (int64, error) {
	text, err := readAt(h.proc, "self/statm")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm: %q", text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}
