package machine

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What seccomp answers: the call may go on, or it fails with an error.
const (
	allow  = uint32(unix.SECCOMP_RET_ALLOW)
	refuse = uint32(unix.SECCOMP_RET_ERRNO)
)

// Places in struct seccomp_data.
const (
	dataCall = 0
	dataArch = 4
	dataArg0 = 16 // its lower half, on a little-endian machine
)

// wall is the filter of all programs in the machine, as the classic program of seccomp(2). It refuses what would reach the
// host's end of the vsock device, and two ways around it: system calls by other tables than the machine's own, and
// io_uring, which opens sockets without a system call. gVisor has none of them either.
func wall() []unix.SockFilter {
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	answer := func(what uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: what} }
	// The two jumps are numbers of instructions to leave out.
	equal := func(n uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: n, Jt: yes, Jf: no}
	}
	below := func(n uint32, yes, no uint8) unix.SockFilter { // the jumps of "not less" the other way round
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: n, Jt: no, Jf: yes}
	}
	return []unix.SockFilter{
		load(dataArch),
		equal(auditArch, 1, 0),
		answer(refuse | uint32(unix.ENOSYS)),
		load(dataCall),
		below(otherTable, 1, 0),
		answer(refuse | uint32(unix.ENOSYS)),
		equal(unix.SYS_IO_URING_SETUP, 0, 1),
		answer(refuse | uint32(unix.ENOSYS)),
		equal(unix.SYS_SOCKET, 0, 3),
		load(dataArg0),
		equal(unix.AF_VSOCK, 0, 1),
		answer(refuse | uint32(unix.EAFNOSUPPORT)),
		answer(allow),
	}
}

// wallOff puts all of this program's threads behind the wall, and with them whatever they start.
func wallOff() error {
	program := wall()
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	odd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&p)))
	if errno != 0 {
		return fmt.Errorf("seccomp: %w", errno)
	}
	if odd != 0 {
		return fmt.Errorf("seccomp: thread %d stays outside", odd)
	}
	return nil
}
