package agent

import (
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/syscalls/linux"
)

// Numbers of system calls.
const (
	getpidNumber = 172
	prctlNumber  = 167
	linkatNumber = 37
	cloneNumber  = 220
	clone3Number = 435
	forkNumber   = 0 // there is none
)

// openCalls is openat, with the place of the path among its arguments.
var openCalls = map[uintptr]int{56: 1}

// statCalls are newfstatat, fstat and statx.
var statCalls = map[uintptr]statCall{
	79:  {dir: 0, path: 1, buf: 2, flags: 3},
	80:  {dir: 0, path: -1, buf: 1, flags: -1},
	291: {dir: 0, path: 1, buf: 4, flags: 2, extended: true},
}

// replaceCall puts another function in the place of a system call's. It is called before the kernel exists.
func replaceCall(number uintptr, with func(was kernel.SyscallFn) kernel.SyscallFn) {
	sc := linux.ARM64.Table[number]
	sc.Fn = with(sc.Fn)
	linux.ARM64.Table[number] = sc
	linux.ARM64.Init()
}

// returnAddress is in the link register: getpid is a leaf.
func returnAddress(t *kernel.Task) (uint64, bool) {
	return t.Arch().Regs.Regs[30], true
}
