package guest

import (
	"syscall"
	"unsafe"
)

// kernelSigaction is struct sigaction as rt_sigaction takes it on amd64 and arm64.
type kernelSigaction struct {
	handler  uintptr
	flags    uint64
	restorer uintptr
	mask     uint64
}

const saNoCldStop = 1

// quietStops asks not to be told when children stop and continue: the process sandbox freezes and thaws them for every invocation, and
// each time would wake the guest up twice for nothing. Go's handler stays, with one flag more. Where it fails nothing is lost but that.
func quietStops() {
	var act kernelSigaction
	_, _, e := syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGCHLD), 0, uintptr(unsafe.Pointer(&act)), 8, 0, 0)
	if e != 0 || act.handler == 0 {
		return
	}
	act.flags |= saNoCldStop
	syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGCHLD), uintptr(unsafe.Pointer(&act)), 0, 8, 0, 0)
}
