package snapstart

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// openMemory makes a folder that is in memory alone. It is a file system that is mounted nowhere: only this process
// reaches it, by its descriptor, and it is gone with the process, however that ends. Close frees it.
func openMemory() (*memoryFolder, error) {
	fs, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("folder in memory: %w", err)
	}
	defer unix.Close(fs)
	unix.FsconfigSetFlag(fs, "noswap") //nolint:errcheck // Linux 6.4; before, what is swapped out is on the swap's disk
	err = unix.FsconfigSetString(fs, "mode", "0700")
	if err == nil {
		err = unix.FsconfigCreate(fs)
	}
	if err != nil {
		return nil, fmt.Errorf("folder in memory: %w", err)
	}
	fd, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV|unix.MOUNT_ATTR_NOEXEC)
	if err != nil {
		return nil, fmt.Errorf("folder in memory: %w", err)
	}
	return &memoryFolder{os.NewFile(uintptr(fd), "memory")}, nil
}

type memoryFolder struct{ f *os.File }

// Path reaches the folder in this process and in no other.
func (m *memoryFolder) Path() string { return "/proc/self/fd/" + strconv.Itoa(int(m.f.Fd())) }

// Close frees it when the last file of it is closed.
func (m *memoryFolder) Close() error { return m.f.Close() }

// memoryShare is the part of the host's memory that snapshots in memory may take.
const memoryShare = 4

func hostMemory() (int64, error) {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 0, fmt.Errorf("memory of the host: %w", err)
	}
	return int64(info.Totalram) * int64(info.Unit), nil
}
