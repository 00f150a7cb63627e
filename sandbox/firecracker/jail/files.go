package jail

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// # How a file gets into a jail
//
// Firecracker opens paths, as the slot's user. In this order:
//
//	a name   a hard link, on the same file system: it costs nothing, and all jails share the file's pages
//	a mount  of the file in the jail's own mount namespace, where the file system is another: shared as well
//	a copy   with holes kept, of what has no name any more, or may not be read by the slot's user
//
// What is not the machine's own must not be the slot user's to write: it is root's, or the mount is read-only.

// give gives the jail a file to read.
func (x *Machine) give(path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return x.giveFile(f, name)
}

// giveFile gives the jail an open file to read.
func (x *Machine) giveFile(f *os.File, name string) error {
	read, write, err := access(f, x.slot.UID, x.slot.GID)
	if err != nil {
		return err
	}
	if read {
		if !write && x.link(f, name) == nil {
			return nil
		}
		if x.mount(f, name, true) == nil {
			return nil
		}
	}
	return x.copyIn(f, name)
}

// giveWritable gives the jail a file that is the machine's own, to write. What it writes is in the caller's file.
func (x *Machine) giveWritable(path, name string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Chown(x.slot.UID, x.slot.GID); err != nil {
		return err
	}
	linked := x.link(f, name)
	if linked == nil {
		return nil
	}
	if mounted := x.mount(f, name, false); mounted != nil {
		return fmt.Errorf("drive %s: %w", path, errors.Join(linked, mounted))
	}
	return nil
}

// access says what a user may do with a file. Root may do all: its jails have read-only mounts.
func access(f *os.File, uid, gid int) (read, write bool, err error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return false, false, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	mode := st.Mode
	switch {
	case uid == 0:
		return true, true, nil
	case int(st.Uid) == uid: // it could change the mode
		return true, true, nil
	case int(st.Gid) == gid:
		mode >>= 3
	}
	return mode&4 != 0, mode&2 != 0, nil
}

// letRead lets the slot's user read a file of ours that a snapshot was saved to. Whoever else is on this host is kept
// away from it by the folder that it lies in.
func letRead(f *os.File, uid, gid int) error {
	if read, _, err := access(f, uid, gid); err != nil || read {
		return err
	}
	fi, err := f.Stat()
	if err != nil {
		return err
	}
	return f.Chmod(fi.Mode().Perm() | 0o044)
}

// link gives a file a name in the jail. It fails where the file has no name left, or is of another file system.
func (x *Machine) link(f *os.File, name string) error {
	if err := unix.Linkat(int(f.Fd()), "", int(x.root.Fd()), name, unix.AT_EMPTY_PATH); err != nil {
		return &os.LinkError{Op: "link", Old: f.Name(), New: name, Err: err}
	}
	return nil
}

// mount shows a file in the jail's mount namespace alone: the mount goes with the process. Without a jailer there is no
// such namespace, and nobody to keep out: a symbolic link does.
func (x *Machine) mount(f *os.File, name string, readOnly bool) error {
	if x.m.opt.Unjailed {
		return x.symlink(f, name)
	}
	tree, err := unix.OpenTree(int(f.Fd()), "", unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_EMPTY_PATH)
	if err != nil {
		return &os.PathError{Op: "mount", Path: f.Name(), Err: err}
	}
	defer unix.Close(tree)
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC}
	if readOnly {
		attr.Attr_set |= unix.MOUNT_ATTR_RDONLY
	}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return &os.PathError{Op: "mount", Path: f.Name(), Err: err}
	}
	at, err := unix.Openat(int(x.root.Fd()), name, unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o400)
	if err != nil {
		return &os.PathError{Op: "create", Path: name, Err: err}
	}
	unix.Close(at)
	err = inMounts(x.pidfd, func() error {
		return unix.MoveMount(tree, "", unix.AT_FDCWD, "/"+name, unix.MOVE_MOUNT_F_EMPTY_PATH)
	})
	if err != nil {
		return &os.PathError{Op: "mount", Path: name, Err: errors.Join(err, unix.Unlinkat(int(x.root.Fd()), name, 0))}
	}
	return nil
}

func (x *Machine) symlink(f *os.File, name string) error {
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	if there, err := os.Stat(f.Name()); err != nil || !filepath.IsAbs(f.Name()) || !os.SameFile(there, mine) {
		return fmt.Errorf("%s has no name any more", f.Name())
	}
	return unix.Symlinkat(f.Name(), int(x.root.Fd()), name)
}

// copyIn copies a file into the jail, where its user may read it.
func (x *Machine) copyIn(from *os.File, name string) error {
	to, err := x.create(name)
	if err != nil {
		return err
	}
	err = copyHoles(to, from)
	if err == nil && x.slot.UID != 0 {
		err = to.Chmod(0o444)
	}
	return errors.Join(err, to.Close())
}

// create makes a new file in the jail.
func (x *Machine) create(name string) (*os.File, error) {
	fd, err := unix.Openat(int(x.root.Fd()), name, unix.O_CREAT|unix.O_EXCL|unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, &os.PathError{Op: "create", Path: name, Err: err}
	}
	return os.NewFile(uintptr(fd), name), nil
}

// lent is a file of the caller that Firecracker writes.
type lent struct {
	x       *Machine
	file    *os.File
	name    string
	owner   unix.Stat_t // whose it was
	foreign bool        // the jail has one of its own instead, which is copied
}

// lend lets Firecracker write a file of the caller's.
func (x *Machine) lend(f *os.File, name string) (*lent, error) {
	l := &lent{x: x, file: f, name: name}
	if err := unix.Fstat(int(f.Fd()), &l.owner); err != nil {
		return nil, &os.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if err := unix.Unlinkat(int(x.root.Fd()), name, 0); err != nil && !errors.Is(err, unix.ENOENT) { // of the snapshot that this machine is from
		if !errors.Is(err, unix.EBUSY) {
			return nil, &os.PathError{Op: "remove", Path: name, Err: err}
		}
	}
	if l.foreign = x.link(f, name) != nil; l.foreign {
		own, err := x.create(name)
		if err != nil {
			return nil, err
		}
		return l, errors.Join(own.Chown(x.slot.UID, x.slot.GID), own.Close())
	}
	return l, f.Chown(x.slot.UID, x.slot.GID)
}

// back takes the file back, with what was written.
func (l *lent) back() error {
	defer unix.Unlinkat(int(l.x.root.Fd()), l.name, 0) //nolint:errcheck // the slot's folder is removed with it
	if !l.foreign {
		return l.file.Chown(int(l.owner.Uid), int(l.owner.Gid))
	}
	// What the jail's user has put there may be anything, as a link to what only root reads.
	fd, err := unix.Openat(int(l.x.root.Fd()), l.name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: l.name, Err: err}
	}
	own := os.NewFile(uintptr(fd), l.name)
	defer own.Close()
	if fi, err := own.Stat(); err != nil || !fi.Mode().IsRegular() {
		return errors.Join(fmt.Errorf("%s in the jail is no file", l.name), err)
	}
	return copyHoles(l.file, own)
}
