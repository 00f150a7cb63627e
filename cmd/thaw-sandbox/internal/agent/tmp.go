package agent

import (
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/fspath"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/fsimpl/tmpfs"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/pgalloc"
	slinux "gvisor.dev/gvisor/pkg/sentry/syscalls/linux"
	"gvisor.dev/gvisor/pkg/sentry/vfs"
)

// A function's /tmp does not count into its memory, and may be larger than it. So it must not be in the sandbox's memory file, where everything
// else that gVisor calls a tmpfs is, but in a file on disk, whose pages the host can write out and drop. gVisor makes such a tmpfs when
// the spec asks for one (package gvisor does, see writeSpec), but then its size has to be known when the sandbox starts. A blank sandbox is started before
// anybody knows. The guest mounts a tmpfs on /tmp when it is told the size; that mount, and only that, is turned here into giving the one
// which is there that size.

// tmpTarget is the mount point that this is about.
const tmpTarget = "/tmp"

// hookMount replaces the sandbox's mount system call. It must run before a kernel is made.
func hookMount() {
	table, number := slinux.AMD64, uintptr(165)
	if runtime.GOARCH == "arm64" {
		table, number = slinux.ARM64, 40
	}
	call, ok := table.Table[number]
	if !ok || call.Name != "mount" {
		return
	}
	mount := call.Fn
	call.Fn = func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		if size, ok := asksForTmp(t, args); ok && resizeTmp(t, size) {
			return 0, nil, nil
		}
		return mount(t, sysno, args)
	}
	table.Table[number] = call
	table.Init()
}

// asksForTmp says whether this is mount(_, "/tmp", "tmpfs", flags, "...size=BYTES...") by someone who may mount, and returns BYTES.
func asksForTmp(t *kernel.Task, args arch.SyscallArguments) (bytes uint64, ok bool) {
	const others = linux.MS_REMOUNT | linux.MS_BIND | linux.MS_MOVE | linux.MS_SHARED | linux.MS_PRIVATE | linux.MS_SLAVE | linux.MS_UNBINDABLE
	if args[3].Uint64()&others != 0 || !t.Credentials().HasCapabilityIn(linux.CAP_SYS_ADMIN, t.MountNamespace().Owner) {
		return 0, false
	}
	text := func(i int) string {
		if args[i].Pointer() == 0 {
			return ""
		}
		s, err := t.CopyInString(args[i].Pointer(), hostarch.PageSize)
		if err != nil {
			return "" // the real call will say so
		}
		return s
	}
	if text(1) != tmpTarget || text(2) != tmpfs.Name {
		return 0, false
	}
	for _, o := range strings.Split(text(4), ",") {
		if v, is := strings.CutPrefix(o, "size="); is {
			n, err := strconv.ParseUint(v, 10, 64)
			return n, err == nil && n > 0
		}
	}
	return 0, false
}

// resizeTmp gives the tmpfs on /tmp a size, if that is one on disk. The fields are not gVisor's to show, so they are looked up by name: where they
// are missing, the guest gets an ordinary tmpfs in memory. TestTmpIsNotMemory notices.
func resizeTmp(t *kernel.Task, bytes uint64) bool {
	root := t.FSContext().RootDirectory()
	defer root.DecRef(t)
	vd, err := t.Kernel().VFS().GetDentryAt(t, t.Credentials(), &vfs.PathOperation{Root: root, Start: root, Path: fspath.Parse(tmpTarget)}, &vfs.GetDentryOptions{})
	if err != nil {
		return false
	}
	defer vd.DecRef(t)
	fs := reflect.ValueOf(vd.Mount().Filesystem().Impl())
	if fs.Kind() != reflect.Pointer || fs.Type().String() != "*tmpfs.filesystem" {
		return false
	}
	mf, size := fs.Elem().FieldByName("mf"), fs.Elem().FieldByName("maxSizeInPages")
	if !mf.IsValid() || mf.Type() != reflect.TypeFor[*pgalloc.MemoryFile]() || !size.IsValid() || size.Kind() != reflect.Uint64 {
		return false
	}
	if mf.Pointer() == reflect.ValueOf(t.Kernel().MemoryFile()).Pointer() {
		return false
	}
	pages, ok := hostarch.ToPagesRoundUp(bytes)
	if !ok {
		return false
	}
	// Nobody else runs in the sandbox yet, so nobody reads it meanwhile.
	*(*uint64)(unsafe.Pointer(size.UnsafeAddr())) = pages
	return true
}
