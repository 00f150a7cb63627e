package launcher

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"thaw/sandbox"
)

// shareMount makes a folder a mount of its own whose later submounts are carried into the mount namespaces copied from this one: that
// of the sandbox's gofer.
func shareMount(dir string) error {
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", dir, err)
	}
	// First private, or it would stay in the peer group of the mount it was taken from.
	for _, flag := range []uintptr{unix.MS_PRIVATE, unix.MS_SHARED} {
		if err := unix.Mount("", dir, "", flag, ""); err != nil {
			unix.Unmount(dir, unix.MNT_DETACH)
			return fmt.Errorf("share mount %s: %w", dir, err)
		}
	}
	return nil
}

// unmountTree takes the shared mount and all below it away.
func unmountTree(dir string) error {
	if err := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount %s: %w", dir, err)
	}
	return nil
}

// bindAll mounts files, folders and images of the host below root, read-only, in the order given.
func bindAll(root string, mounts []sandbox.Mount) error {
	rootFD, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("root %s: %w", root, err)
	}
	defer unix.Close(rootFD)
	for _, m := range mounts {
		if err := bind(rootFD, m); err != nil {
			return fmt.Errorf("mount %s at %s: %w", m.Source, m.Target, err)
		}
	}
	return nil
}

// bind makes the mount complete before it attaches it: what is changed on an attached mount is not carried to its copies, so a
// read-only remount would leave the one that the gofer sees writable.
func bind(rootFD int, m sandbox.Mount) error {
	tree, err := openSource(m)
	if err != nil {
		return err
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return fmt.Errorf("read-only: %w", err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(tree, &st); err != nil {
		return err
	}
	target, err := mountPoint(rootFD, m.Target, st.Mode&unix.S_IFMT == unix.S_IFDIR)
	if err != nil {
		return err
	}
	defer unix.Close(target)
	return unix.MoveMount(tree, "", target, "", unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH)
}

// openSource makes a mount that is at no path yet.
func openSource(m sandbox.Mount) (tree int, err error) {
	if m.Image {
		return openImage(m.Source)
	}
	if tree, err = unix.OpenTree(unix.AT_FDCWD, m.Source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC); err != nil {
		return -1, fmt.Errorf("open source: %w", err)
	}
	return tree, nil
}

// mountPoint opens a path below root, and makes it where it is missing. No step leaves root, whatever links a package's folders hold.
func mountPoint(rootFD int, path string, dir bool) (int, error) {
	how := &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	parts := strings.Split(strings.TrimPrefix(filepath.Clean("/"+path), "/"), "/")
	at := "."
	for i, name := range parts {
		parent := at
		at = filepath.Join(at, name)
		fd, err := unix.Openat2(rootFD, at, how)
		if errors.Is(err, os.ErrNotExist) {
			if err := makeEntry(rootFD, parent, name, dir || i < len(parts)-1, how); err != nil {
				return -1, err
			}
			fd, err = unix.Openat2(rootFD, at, how)
		}
		if err != nil {
			return -1, fmt.Errorf("mount point %s: %w", at, err)
		}
		if i == len(parts)-1 {
			return fd, nil
		}
		unix.Close(fd)
	}
	return -1, errors.New("mount point is the root")
}

func makeEntry(rootFD int, parent, name string, dir bool, how *unix.OpenHow) error {
	p, err := unix.Openat2(rootFD, parent, how)
	if err != nil {
		return err
	}
	defer unix.Close(p)
	if dir {
		if err := unix.Mkdirat(p, name, 0o755); err != nil {
			return fmt.Errorf("make folder %s: %w", name, err)
		}
		return nil
	}
	f, err := unix.Openat(p, name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return fmt.Errorf("make file %s: %w", name, err)
	}
	return unix.Close(f)
}
