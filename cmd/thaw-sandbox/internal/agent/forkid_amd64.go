package agent

import (
	"encoding/binary"

	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/syscalls/linux"
)

// Numbers of system calls.
const (
	getpidNumber = 39
	prctlNumber  = 157
	linkatNumber = 265
	cloneNumber  = 56
	clone3Number = 435
	forkNumber   = 57
)

// openCalls are open and openat, with the place of the path among their arguments.
var openCalls = map[uintptr]int{2: 0, 257: 1}

// statCalls are stat, fstat, lstat, newfstatat and statx.
var statCalls = map[uintptr]statCall{
	4:   {dir: -1, path: 0, buf: 1, flags: -1, follow: true},
	5:   {dir: 0, path: -1, buf: 1, flags: -1},
	6:   {dir: -1, path: 0, buf: 1, flags: -1},
	262: {dir: 0, path: 1, buf: 2, flags: 3},
	332: {dir: 0, path: 1, buf: 4, flags: 2, extended: true},
}

// replaceCall puts another function in the place of a system call's. It is called before the kernel exists.
func replaceCall(number uintptr, with func(was kernel.SyscallFn) kernel.SyscallFn) {
	sc := linux.AMD64.Table[number]
	sc.Fn = with(sc.Fn)
	linux.AMD64.Table[number] = sc
	linux.AMD64.Init()
}

// returnAddress is where the C library's getpid goes back to: it pushes nothing, in glibc as in musl.
func returnAddress(t *kernel.Task) (uint64, bool) {
	var b [8]byte
	if _, err := t.CopyInBytes(hostarch.Addr(t.Arch().Stack()), b[:]); err != nil {
		return 0, false
	}
	return binary.LittleEndian.Uint64(b[:]), true
}
