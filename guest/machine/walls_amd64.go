package machine

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_X86_64
	// otherTable is where the numbers of the x32 table begin.
	otherTable = 0x40000000
)
