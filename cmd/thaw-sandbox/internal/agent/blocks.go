package agent

import (
	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/fsutil"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
	"gvisor.dev/gvisor/pkg/sync"
)

// # How much room a sparse file takes
//
// gVisor's tmpfs says of each file that it takes as many blocks as its size, holes included: to add up what a file
// really has is too slow for every call. Here it is done for files that are large enough to have holes worth telling
// of, after the call itself has been answered.

// smallFile is the size up to which nothing is added up, in blocks of 512 bytes.
const smallFile = 128

// statCall is one of the calls that tell what a file is.
type statCall struct {
	dir, path, buf, flags int // which argument it is; -1: there is none
	follow                bool
	extended              bool // it fills in a statx
}

func installStats() {
	for number, c := range statCalls {
		replaceCall(number, c.hook)
	}
}

func (c statCall) hook(was kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		n, ctl, err := was(t, sysno, args)
		if err != nil {
			return n, ctl, err
		}
		buf := args[c.buf].Pointer()
		if c.extended {
			var st linux.Statx
			if _, err := st.CopyIn(t, buf); err == nil && st.Mode&linux.S_IFMT == linux.S_IFREG && st.Blocks > smallFile {
				if blocks, ok := c.blocks(t, args); ok {
					st.Blocks = blocks
					st.CopyOut(t, buf)
				}
			}
			return n, ctl, nil
		}
		var st linux.Stat
		if _, err := st.CopyIn(t, buf); err == nil && st.Mode&linux.S_IFMT == linux.S_IFREG && st.Blocks > smallFile {
			if blocks, ok := c.blocks(t, args); ok {
				st.Blocks = int64(blocks)
				st.CopyOut(t, buf)
			}
		}
		return n, ctl, nil
	}
}

// blocks are those that the file of the call has, if it is in a tmpfs.
func (c statCall) blocks(t *kernel.Task, args arch.SyscallArguments) (uint64, bool) {
	dir, follow, empty := int32(linux.AT_FDCWD), c.follow, c.path < 0
	if c.dir >= 0 {
		dir = args[c.dir].Int()
	}
	if c.flags >= 0 {
		flags := args[c.flags].Int()
		follow = flags&linux.AT_SYMLINK_NOFOLLOW == 0
		if flags&linux.AT_EMPTY_PATH != 0 {
			var first [1]byte
			_, err := t.CopyInBytes(args[c.path].Pointer(), first[:])
			empty = args[c.path].Pointer() == 0 || err == nil && first[0] == 0
		}
	}
	if empty {
		file := t.GetFile(dir)
		if file == nil {
			return 0, false
		}
		defer file.DecRef(t)
		return blocksOf(file.Dentry())
	}
	at, release, err := pathOf(t, dir, args[c.path].Pointer(), follow)
	if err != nil {
		return 0, false
	}
	defer release()
	d, err := t.Kernel().VFS().GetDentryAt(t, t.Credentials(), &at, &vfs.GetDentryOptions{})
	if err != nil {
		return 0, false
	}
	defer d.DecRef(t)
	return blocksOf(d.Dentry())
}

func blocksOf(d *vfs.Dentry) (uint64, bool) {
	inode, ok := tmpfsInode(d)
	if !ok {
		return 0, false
	}
	mu, ok := field[*sync.RWMutex](inode.file, "dataMu")
	if !ok {
		return 0, false
	}
	data, ok := field[*fsutil.FileRangeSet](inode.file, "data")
	if !ok {
		return 0, false
	}
	mu.RLock()
	defer mu.RUnlock()
	return data.Span() / 512, true
}
