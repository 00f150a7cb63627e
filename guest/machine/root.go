package machine

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"

	"thaw/guest/control"
)

// Folders of the initramfs, outside of the function's root.
const (
	rootDir   = "/root.new" // where that is made
	drivesDir = "/drives"   // each drive is mounted at its number
)

// What nobody may do on a file system inside.
const harmless = unix.MS_NOSUID | unix.MS_NODEV

// makeRoot makes the function's root at rootDir.
func (h *host) makeRoot(b *control.Bind) error {
	if err := os.Mkdir(rootDir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount("root", rootDir, "tmpfs", harmless, "mode=755,size=64m"); err != nil {
		return err
	}
	tree, err := unix.OpenTree(unix.AT_FDCWD, rootDir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return err
	}
	h.root = os.NewFile(uintptr(tree), "root")
	dir, err := os.Open(rootDir)
	if err != nil {
		return err
	}
	defer dir.Close()
	for _, d := range append([]string{"/proc", "/sys", "/dev", "/tmp", "/root"}, b.Folders...) {
		if err := os.MkdirAll(inRoot(d), 0o755); err != nil {
			return err
		}
	}
	for name, text := range b.Files {
		if err := os.MkdirAll(path.Dir(inRoot(name)), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(inRoot(name), text, 0o644); err != nil {
			return err
		}
	}
	for _, u := range b.Users {
		if err := os.MkdirAll(inRoot(u.Home), 0o755); err != nil {
			return err
		}
		if err := os.Chown(inRoot(u.Home), u.UID, u.GID); err != nil {
			return err
		}
	}
	drives := map[int]*os.File{}
	for _, m := range b.Mounts {
		if drives[m.Drive] == nil {
			if drives[m.Drive], err = mountDrive(m.Drive); err != nil {
				return err
			}
			defer drives[m.Drive].Close()
		}
		if err := mountAt(dir, drives[m.Drive], m); err != nil {
			return fmt.Errorf("%s of drive %d at %s: %w", m.Path, m.Drive, m.Target, err)
		}
	}
	if err := mountTmp(b); err != nil {
		return fmt.Errorf("/tmp: %w", err)
	}
	if err := makeDevices(); err != nil {
		return fmt.Errorf("/dev: %w", err)
	}
	if err := mountKernel(); err != nil {
		return err
	}
	return unix.Mount("", rootDir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|harmless, "")
}

// rewriteFiles gives files of the root another content. They stay what they are, so a program that has one open reads it.
func (h *host) rewriteFiles(files map[string][]byte) error {
	for name, text := range files {
		fd, err := unix.Openat2(int(h.root.Fd()), path.Clean("/"+name), &unix.OpenHow{
			Flags: unix.O_WRONLY | unix.O_TRUNC | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
		})
		if err != nil {
			return &os.PathError{Op: "open", Path: name, Err: err}
		}
		f := os.NewFile(uintptr(fd), name)
		_, err = f.Write(text)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// inRoot is the path of a path inside; it does not leave the root.
func inRoot(p string) string { return rootDir + path.Clean("/"+p) }

// mountDrive mounts an image outside of the root, and opens what is in it.
func mountDrive(n int) (*os.File, error) {
	dev, err := driveDevice(n)
	if err != nil {
		return nil, err
	}
	at := filepath.Join(drivesDir, fmt.Sprint(n))
	if err := os.MkdirAll(at, 0o755); err != nil {
		return nil, err
	}
	if err := unix.Mount(dev, at, "erofs", unix.MS_RDONLY|harmless, ""); err != nil {
		return nil, fmt.Errorf("drive %d: %w", n, err)
	}
	return os.Open(at)
}

// below opens a path in a folder without leaving it, whatever links there are.
func below(dir *os.File, p string) (*os.File, error) {
	fd, err := unix.Openat2(int(dir.Fd()), path.Clean("/"+p), &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: p, Err: err}
	}
	return os.NewFile(uintptr(fd), p), nil
}

// mountAt binds a path of a drive to its target. A mount point that is missing is made where the root itself is, not in
// a drive, which nobody can write to.
func mountAt(root, drive *os.File, m control.Mount) error {
	from, err := below(drive, m.Path)
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := below(root, m.Target)
	if err != nil {
		if err := makePoint(from, inRoot(m.Target)); err != nil {
			return err
		}
		if to, err = below(root, m.Target); err != nil {
			return err
		}
	}
	defer to.Close()
	if err := unix.Mount(descriptor(from), descriptor(to), "", unix.MS_BIND, ""); err != nil {
		return err
	}
	// The descriptor is of the mount point, below what was mounted.
	top, err := below(root, m.Target)
	if err != nil {
		return err
	}
	defer top.Close()
	return unix.Mount("", descriptor(top), "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|harmless, "")
}

func descriptor(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

// makePoint makes a folder or a file, as what comes there is.
func makePoint(from *os.File, at string) error {
	info, err := from.Stat()
	if err != nil {
		return err
	}
	if info.IsDir() {
		return os.MkdirAll(at, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(at, os.O_CREATE|os.O_RDONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// mountTmp mounts the function's own place to write to: a disk, which does not count as memory and may be larger than
// it, or a tmpfs.
func mountTmp(b *control.Bind) error {
	at := inRoot("/tmp")
	if b.Tmp < 0 {
		return unix.Mount("tmp", at, "tmpfs", harmless, fmt.Sprintf("size=%d,mode=1777", b.TmpBytes))
	}
	dev, err := driveDevice(b.Tmp)
	if err != nil {
		return err
	}
	if err := unix.Mount(dev, at, "ext4", harmless|unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("drive %d: %w", b.Tmp, err)
	}
	if err := unix.Rmdir(at + "/lost+found"); err != nil && err != unix.ENOENT {
		return err
	}
	return unix.Chmod(at, 0o1777)
}

// mountKernel mounts what the kernel shows: processes, of which a function sees its own, and the machine.
func mountKernel() error {
	quiet := uintptr(harmless | unix.MS_NOEXEC)
	proc := inRoot("/proc")
	if err := unix.Mount("proc", proc, "proc", quiet, "hidepid=invisible"); err != nil {
		return fmt.Errorf("/proc: %w", err)
	}
	// The function's user can write to none of them; root without capabilities could.
	for _, p := range []string{"/sys", "/sysrq-trigger", "/irq"} {
		if err := readOnly(proc+p, proc+p, quiet); err != nil {
			return fmt.Errorf("/proc%s: %w", p, err)
		}
	}
	if err := readOnly("/sys", inRoot("/sys"), quiet); err != nil {
		return fmt.Errorf("/sys: %w", err)
	}
	return nil
}

// readOnly shows a path at another, or at its own, for reading alone. What a kernel does not have is left out.
func readOnly(from, at string, flags uintptr) error {
	if err := unix.Mount(from, at, "", unix.MS_BIND, ""); err != nil {
		if err == unix.ENOENT {
			return nil
		}
		return err
	}
	return unix.Mount("", at, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|flags, "")
}

// makeDevices makes the devices that programs expect. They are those of every kernel, and none of this machine's.
func makeDevices() error {
	dev := inRoot("/dev")
	if err := unix.Mount("dev", dev, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k"); err != nil {
		return err
	}
	for name, minor := range map[string]uint32{"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9} {
		if err := unix.Mknod(dev+"/"+name, unix.S_IFCHR|0o666, int(unix.Mkdev(1, minor))); err != nil {
			return err
		}
	}
	if err := unix.Mknod(dev+"/tty", unix.S_IFCHR|0o666, int(unix.Mkdev(5, 0))); err != nil {
		return err
	}
	if err := os.Mkdir(dev+"/pts", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("devpts", dev+"/pts", "devpts", unix.MS_NOSUID|unix.MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"); err != nil {
		return err
	}
	for name, to := range map[string]string{"ptmx": "pts/ptmx", "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"} {
		if err := os.Symlink(to, dev+"/"+name); err != nil {
			return err
		}
	}
	return unix.Mount("", dev, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NOEXEC, "")
}

// enterRoot makes it the root of this program and of all that it starts. The initramfs cannot be left by pivot_root, so
// the new root is put on top of it; only a process that may change its root could find what is below, and none may.
func enterRoot() error {
	if err := unix.Chdir(rootDir); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return err
	}
	if err := unix.Chroot("."); err != nil {
		return err
	}
	return unix.Chdir("/")
}
