package agent

import (
	"crypto/rand"
	"encoding/binary"
	"reflect"
	"strings"
	"sync"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/atomicbitops"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/fspath"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/kernel/auth"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// # What gVisor's files lack
//
// Files without a name (O_TMPFILE): gVisor knows none. On a tmpfs, which /tmp is, such a file is made here under a name
// that nobody can guess, and the name is taken away before the call returns. linkat can give it another, unless O_EXCL
// said that nobody shall.
//
// Shared memory: the service has no /dev/shm, nor has the sandbox (the guest removes it). The C library of the service
// then says ENOSYS; later ones open a file there and would say ENOENT. So it is ENOSYS here for everybody.

// shmDir is the folder of POSIX shared memory and semaphores.
const shmDir = "/dev/shm/"

// installFiles is called before the kernel exists.
func installFiles() {
	for number, at := range openCalls {
		replaceCall(number, func(was kernel.SyscallFn) kernel.SyscallFn { return opens(was, at) })
	}
	replaceCall(openat2Number, opens2)
	replaceCall(linkatNumber, links)
	installStats()
}

// opens is open (at 0) and openat (at 1): at is how many arguments stand before the path.
func opens(was kernel.SyscallFn, at int) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		dir := int32(linux.AT_FDCWD)
		if at > 0 {
			dir = args[0].Int()
		}
		addr, flags := args[at].Pointer(), args[at+1].Uint()
		if wantsNameless(flags) {
			if fd, err := openNameless(t, dir, addr, flags, args[at+2].ModeT()); !linuxerr.Equals(linuxerr.EOPNOTSUPP, err) {
				return fd, nil, err
			}
		}
		n, ctl, err := was(t, sysno, args)
		if err != nil && linuxerr.Equals(linuxerr.ENOENT, err) && shmIsMeant(t, addr) {
			err = linuxerr.ENOSYS
		}
		return n, ctl, err
	}
}

// wantsNameless says whether flags are right for a file without a name; where they are wrong, gVisor says so.
func wantsNameless(flags uint32) bool {
	return flags&linux.O_TMPFILE != 0 && flags&(linux.O_PATH|linux.O_CREAT) == 0 && flags&linux.O_DIRECTORY != 0 && flags&linux.O_ACCMODE != linux.O_RDONLY
}

// openat2Number is the same everywhere.
const openat2Number = 437

// opens2 is openat2. Its open_how is flags, mode and resolve, of 8 bytes each, little-endian; with a way to resolve
// paths there are no files without a name.
func opens2(was kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		var how [24]byte
		if _, err := t.CopyInBytes(args[2].Pointer(), how[:]); err == nil && args[3].SizeT() == uint(len(how)) {
			flags, mode, resolve := binary.LittleEndian.Uint64(how[:]), binary.LittleEndian.Uint64(how[8:]), binary.LittleEndian.Uint64(how[16:])
			if flags>>32 == 0 && mode&^0o7777 == 0 && resolve == 0 && wantsNameless(uint32(flags)) {
				if fd, err := openNameless(t, args[0].Int(), args[1].Pointer(), uint32(flags), uint(mode)); !linuxerr.Equals(linuxerr.EOPNOTSUPP, err) {
					return fd, nil, err
				}
			}
		}
		return was(t, sysno, args)
	}
}

func shmIsMeant(t *kernel.Task, addr hostarch.Addr) bool {
	path, err := t.CopyInString(addr, linux.PATH_MAX)
	return err == nil && strings.HasPrefix(path, shmDir)
}

// pathOf is what a path names, as the task sees it: what is done with it ends before release is called.
func pathOf(t *kernel.Task, dir int32, addr hostarch.Addr, follow bool) (pop vfs.PathOperation, release func(), err error) {
	text, err := t.CopyInString(addr, linux.PATH_MAX)
	if err != nil {
		return pop, nil, err
	}
	path := fspath.Parse(text)
	root := t.FSContext().RootDirectory()
	pop = vfs.PathOperation{Root: root, Start: root, Path: path, FollowFinalSymlink: follow}
	switch {
	case path.Absolute:
		return pop, func() { root.DecRef(t) }, nil
	case dir == linux.AT_FDCWD:
		pop.Start = t.FSContext().WorkingDirectory()
	default:
		file := t.GetFile(dir)
		if file == nil {
			root.DecRef(t)
			return pop, nil, linuxerr.EBADF
		}
		pop.Start = file.VirtualDentry()
		pop.Start.IncRef()
		file.DecRef(t)
	}
	return pop, func() { pop.Start.DecRef(t); root.DecRef(t) }, nil
}

// linkable marks a file without a name that may be given one. Only root could see the mark.
const linkable = linux.XATTR_TRUSTED_PREFIX + "thaw.linkable"

// openNameless opens a new file in a folder. EOPNOTSUPP: there are none in that file system.
func openNameless(t *kernel.Task, dirfd int32, addr hostarch.Addr, flags uint32, mode uint) (uintptr, error) {
	at, release, err := pathOf(t, dirfd, addr, flags&linux.O_NOFOLLOW == 0)
	if err != nil {
		return 0, err
	}
	defer release()
	fs, creds := t.Kernel().VFS(), t.Credentials()
	if !at.Path.Absolute && !at.Path.HasComponents() {
		return 0, linuxerr.ENOENT
	}
	folder, err := fs.OpenAt(t, creds, &at, &vfs.OpenOptions{Flags: linux.O_PATH | linux.O_DIRECTORY})
	if err != nil {
		return 0, err
	}
	defer folder.DecRef(t)
	if reflect.TypeOf(folder.Mount().Filesystem().Impl()).String() != "*tmpfs.filesystem" {
		return 0, linuxerr.EOPNOTSUPP
	}
	named := vfs.PathOperation{Root: at.Root, Start: folder.VirtualDentry(), Path: fspath.Parse(".thaw-" + rand.Text())}
	file, err := fs.OpenAt(t, creds, &named, &vfs.OpenOptions{
		Flags: flags&^(linux.O_TMPFILE|linux.O_DIRECTORY|linux.O_TRUNC) | linux.O_CREAT | linux.O_EXCL | linux.O_LARGEFILE,
		Mode:  linux.FileMode(mode & (0777 | linux.S_ISUID | linux.S_ISGID | linux.S_ISVTX) &^ t.FSContext().Umask()),
	})
	if err != nil {
		return 0, err
	}
	defer file.DecRef(t)
	if flags&linux.O_EXCL == 0 {
		if err := fs.SetXattrAt(t, auth.NewRootCredentials(creds.UserNamespace), &named, &vfs.SetXattrOptions{Name: linkable}); err != nil {
			t.Debugf("file without a name: %v", err) // it will have none
		}
	}
	if err := fs.UnlinkAt(t, creds, &named); err != nil {
		return 0, err
	}
	fd, err := t.NewFDFrom(0, file, kernel.FDFlags{CloseOnExec: flags&linux.O_CLOEXEC != 0})
	return uintptr(fd), err
}

// linking keeps two calls from giving the same file its first name.
var linking sync.Mutex

// links is linkat. A file whose last name is gone can have no other, and tmpfs refuses it; one that never had any is
// lent a name for the call.
func links(was kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		from, release, err := pathOf(t, args[0].Int(), args[1].Pointer(), args[4].Int()&linux.AT_SYMLINK_FOLLOW != 0)
		if err != nil {
			return was(t, sysno, args)
		}
		defer release()
		fs, root := t.Kernel().VFS(), auth.NewRootCredentials(t.Credentials().UserNamespace)
		file, err := fs.GetDentryAt(t, t.Credentials(), &from, &vfs.GetDentryOptions{})
		if err != nil {
			return was(t, sysno, args)
		}
		defer file.DecRef(t)
		inode, ok := tmpfsInode(file.Dentry())
		if !ok {
			return was(t, sysno, args)
		}
		linking.Lock()
		defer linking.Unlock()
		self := vfs.PathOperation{Root: from.Root, Start: file}
		if _, err := fs.GetXattrAt(t, root, &self, &vfs.GetXattrOptions{Name: linkable}); err != nil || inode.names.Load() != 0 {
			return was(t, sysno, args)
		}
		inode.refs.IncRef() // of its name
		inode.names.Store(1)
		n, ctl, err := was(t, sysno, args)
		inode.names.Add(^uint32(0))
		if err != nil {
			file.Dentry().Impl().DecRef(t) // not the last one: file has another
			return n, ctl, err
		}
		_ = fs.RemoveXattrAt(t, root, &self, linkable) // it has a name now, and is as any other
		return n, ctl, err
	}
}

// tmpfsNode is what has to be known of a regular file in a tmpfs.
type tmpfsNode struct {
	names *atomicbitops.Uint32
	refs  interface{ IncRef() }
	file  reflect.Value // *tmpfs.regularFile
}

// tmpfsInode looks into a dentry. The fields are not gVisor's to show, so they are looked up by name; where they are
// missing, no file is one of a tmpfs, and TestFiles notices.
func tmpfsInode(d *vfs.Dentry) (n tmpfsNode, ok bool) {
	v := reflect.ValueOf(d.Impl())
	if v.Kind() != reflect.Pointer || v.Type().String() != "*tmpfs.dentry" {
		return n, false
	}
	inode := v.Elem().FieldByName("inode")
	if inode.Kind() != reflect.Pointer || inode.IsNil() {
		return n, false
	}
	impl := inode.Elem().FieldByName("impl")
	if impl.Kind() != reflect.Interface || impl.Elem().Kind() != reflect.Pointer || impl.Elem().Type().String() != "*tmpfs.regularFile" {
		return n, false
	}
	n.file = impl.Elem()
	n.names, ok = field[*atomicbitops.Uint32](inode, "nlink")
	if !ok {
		return n, false
	}
	n.refs, ok = field[interface{ IncRef() }](inode, "refs")
	return n, ok
}

// field is a pointer to a field of the struct that p points to, as a T.
func field[T any](p reflect.Value, name string) (T, bool) {
	f := p.Elem().FieldByName(name)
	if !f.IsValid() {
		var none T
		return none, false
	}
	as, ok := reflect.NewAt(f.Type(), f.Addr().UnsafePointer()).Interface().(T)
	return as, ok
}
