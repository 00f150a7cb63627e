package jetstream

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// What must be free on the disk, in bytes, for a record to be written, and for one to be removed: who makes room can do
// so for longer.
const (
	putReserve    = 16 << 20
	removeReserve = 1 << 20
)

// room answers ENOSPC when less than that is free. One write that the disk refuses, and the embedded server takes none any
// more until it is started again, however much room there is by then: so none is tried that may be refused.
func (s *Store) room(reserve int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return fmt.Errorf("records folder: %w", err)
	}
	if int64(st.Bavail)*st.Bsize < reserve { //nolint:gosec // no disk is that big
		return fmt.Errorf("records: %w", syscall.ENOSPC)
	}
	return nil
}
