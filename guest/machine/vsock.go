package machine

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// listenVsock takes connections on a port of the machine's vsock device; false: it has none. Each is taken as it comes:
// one that was made right after a restore may already be dead, and the next is behind it.
func listenVsock(port uint32, take taker) (bool, error) {
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err == unix.EAFNOSUPPORT {
		return false, nil
	}
	if err != nil {
		return false, os.NewSyscallError("socket", err)
	}
	if !hasVsock() {
		unix.Close(fd)
		return false, nil
	}
	if err := unix.Bind(fd, &unix.SockaddrVM{CID: unix.VMADDR_CID_ANY, Port: port}); err != nil {
		unix.Close(fd)
		return false, fmt.Errorf("vsock port %d: %w", port, err)
	}
	if err := unix.Listen(fd, 16); err != nil {
		unix.Close(fd)
		return false, fmt.Errorf("vsock port %d: %w", port, err)
	}
	go func() {
		for {
			c, _, err := unix.Accept4(fd, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
			if err != nil {
				if !sleepless(err) {
					time.Sleep(5 * time.Millisecond)
				}
				continue
			}
			go take(os.NewFile(uintptr(c), "vsock"))()
		}
	}()
	return true, nil
}

// hasVsock says whether there is a device that gives the machine an address.
func hasVsock() bool {
	f, err := os.Open("/dev/vsock")
	if err != nil {
		return false
	}
	defer f.Close()
	cid := make([]byte, 4)
	if err := ioctl(int(f.Fd()), unix.IOCTL_VM_SOCKETS_GET_LOCAL_CID, cid); err != nil {
		return false
	}
	return *(*uint32)(unsafe.Pointer(&cid[0])) != unix.VMADDR_CID_ANY
}

// ioctl is a call whose argument is memory.
func ioctl(fd int, request uint, arg []byte) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(unsafe.Pointer(&arg[0]))); errno != 0 {
		return errno
	}
	return nil
}
