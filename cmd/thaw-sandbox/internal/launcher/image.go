package launcher

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// openImage mounts an image of a file system, at no path yet: the mount is the descriptor, and goes with its last copy.
// The loop device under it goes with the mount.
func openImage(path string) (tree int, err error) {
	device, err := loopDevice(path)
	if err != nil {
		return -1, fmt.Errorf("image: %w", err)
	}
	defer unix.Close(device) // the mount holds it
	fs, err := unix.Fsopen("erofs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("image: %w", err)
	}
	defer unix.Close(fs)
	for _, set := range []func() error{
		func() error { return unix.FsconfigSetString(fs, "source", fmt.Sprintf("/proc/self/fd/%d", device)) },
		func() error { return unix.FsconfigSetFlag(fs, "ro") },
		func() error { return unix.FsconfigCreate(fs) },
	} {
		if err := set(); err != nil {
			return -1, fmt.Errorf("image: %w", err)
		}
	}
	if tree, err = unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0); err != nil {
		return -1, fmt.Errorf("image: %w", err)
	}
	return tree, nil
}

// loopTries is how often another device is asked for: between the question and the answer somebody else can take it.
const loopTries = 64

// loopDevice gives a file a block device, which goes when nobody has it open any more.
func loopDevice(path string) (device int, err error) {
	file, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	defer unix.Close(file)
	control, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("loop devices: %w", err)
	}
	defer unix.Close(control)
	for range loopTries {
		n, err := unix.IoctlRetInt(control, unix.LOOP_CTL_GET_FREE)
		if err != nil {
			return -1, fmt.Errorf("loop devices: %w", err)
		}
		device, err := unix.Open(fmt.Sprintf("/dev/loop%d", n), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return -1, fmt.Errorf("loop device: %w", err)
		}
		c := unix.LoopConfig{Fd: uint32(file), Info: unix.LoopInfo64{Flags: unix.LO_FLAGS_READ_ONLY | unix.LO_FLAGS_AUTOCLEAR}}
		if err = unix.IoctlLoopConfigure(device, &c); err == nil {
			return device, nil
		}
		unix.Close(device)
		if !errors.Is(err, unix.EBUSY) {
			return -1, fmt.Errorf("loop device: %w", err)
		}
	}
	return -1, fmt.Errorf("loop devices: %w", unix.EBUSY)
}
