// Package pagestest has memory that another process serves, as a monitor has it: for tests, and for a fake of one.
package pagestest

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// PageSize is that of a page in bytes.
const PageSize = 4096

// Numbers of include/uapi/linux/userfaultfd.h.
const (
	ioctlNew      = 0xaa00
	ioctlAPI      = 0xc018aa3f
	ioctlRegister = 0xc020aa00
	api           = 0xaa
	eventRemove   = 1 << 3
	modeMissing   = 1
)

// Memory is empty until it is served. Whoever touches a page of it before waits, and cannot be interrupted.
type Memory struct {
	Parts       [][]byte // as large as was asked for
	Userfaultfd int
}

// Probe says why there is no userfaultfd for us.
func Probe() error {
	m, err := Open()
	if err == nil {
		err = m.Close()
	}
	return err
}

// Open makes memory in parts of so many bytes, registered with a userfaultfd that tells of what is given back, as
// Firecracker's is.
func Open(sizes ...int64) (*Memory, error) {
	dev, err := os.OpenFile("/dev/userfaultfd", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	fd, _, e := unix.Syscall(unix.SYS_IOCTL, dev.Fd(), ioctlNew, unix.O_CLOEXEC|unix.O_NONBLOCK)
	if e != 0 {
		return nil, fmt.Errorf("userfaultfd: %w", e)
	}
	m := &Memory{Userfaultfd: int(fd)}
	features := struct{ api, features, ioctls uint64 }{api, eventRemove, 0}
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, fd, ioctlAPI, uintptr(unsafe.Pointer(&features))); e != 0 {
		unix.Close(m.Userfaultfd)
		return nil, fmt.Errorf("userfaultfd: %w", e)
	}
	for _, size := range sizes {
		if err := m.add(int(size)); err != nil {
			m.Close()
			return nil, err
		}
	}
	return m, nil
}

func (m *Memory) add(size int) error {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	m.Parts = append(m.Parts, b)
	register := struct{ start, len, mode, ioctls uint64 }{address(b), uint64(size), modeMissing, 0}
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(m.Userfaultfd), ioctlRegister, uintptr(unsafe.Pointer(&register))); e != 0 {
		return fmt.Errorf("userfaultfd: register: %w", e)
	}
	return nil
}

func address(b []byte) uint64 { return uint64(uintptr(unsafe.Pointer(&b[0]))) }

// Message says where the memory is, as Firecracker 1.12 does.
func (m *Memory) Message() []byte {
	type region struct {
		Base    uint64 `json:"base_host_virt_addr"`
		Size    int    `json:"size"`
		Offset  int    `json:"offset"`
		Page    int    `json:"page_size"`
		PageKiB int    `json:"page_size_kib"`
	}
	var list []region
	at := 0
	for _, b := range m.Parts {
		list = append(list, region{address(b), len(b), at, PageSize, PageSize})
		at += len(b)
	}
	message, err := json.Marshal(list)
	if err != nil {
		panic(err)
	}
	return message
}

// HandOver gives the memory to the server that listens at a path.
func (m *Memory) HandOver(path string) error {
	_, err := Send(path, m.Message(), m.Userfaultfd) // left open, as Firecracker does
	return err
}

// Send sends a message with descriptors. The connection stays open.
func Send(path string, message []byte, descriptors ...int) (*net.UnixConn, error) {
	c, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	_, _, err = c.WriteMsgUnix(message, unix.UnixRights(descriptors...), nil)
	return c, err
}

// Page is a page, counted through all parts.
func (m *Memory) Page(i int64) []byte {
	for _, b := range m.Parts {
		if i*PageSize < int64(len(b)) {
			return b[i*PageSize : (i+1)*PageSize]
		}
		i -= int64(len(b)) / PageSize
	}
	panic("no such page")
}

// GiveBack lets go of pages that are in one part: they are zeros afterwards.
func (m *Memory) GiveBack(page, count int64) error {
	b := m.Page(page)
	return unix.Madvise(unsafe.Slice(&b[0], count*PageSize), unix.MADV_DONTNEED)
}

// Close lets go of all of it. Nobody may touch it any more.
func (m *Memory) Close() error {
	err := unix.Close(m.Userfaultfd)
	for _, b := range m.Parts {
		unix.Munmap(b) //nolint:errcheck // it is mapped
	}
	m.Parts = nil
	return err
}
