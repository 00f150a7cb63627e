package machine

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_AARCH64
	// otherTable is beyond all numbers: there is one table.
	otherTable = 0xffffffff
)
