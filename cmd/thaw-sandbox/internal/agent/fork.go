package agent

import (
	"reflect"
	"sync"
	"unsafe"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/mm"
)

// # What a forked child costs
//
// After a fork, parent and child share their pages until one of them writes. gVisor then copies 2 MiB around the page
// that is written, so that it can be backed by a huge page: each worker of Python's multiprocessing cost 7 to 9 MiB for
// some hundred KiB that it changed, and twelve of them were the death of a function of 128 MiB. In stacks gVisor copies
// one page more on both sides and no more. What it does is decided by the mark of a mapping (MAP_STACK), which means
// nothing else to it but that there are no huge pages. So before a fork all private mappings of the process get that
// mark, and the child inherits it. Mappings that are made later, and processes that never fork, are as before.

// installForks is called before the kernel exists. Who shares memory (CLONE_VM) makes a thread, or a child that
// executes something at once.
func installForks() {
	replaceCall(cloneNumber, func(was kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			if args[0].Uint64()&linux.CLONE_VM == 0 {
				copyLittle(t.MemoryManager())
			}
			return was(t, sysno, args)
		}
	})
	replaceCall(clone3Number, func(was kernel.SyscallFn) kernel.SyscallFn {
		return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
			var flags [8]byte // the first member of clone_args; little-endian
			if _, err := t.CopyInBytes(args[0].Pointer(), flags[:]); err == nil && uint64(flags[1])<<8&linux.CLONE_VM == 0 {
				copyLittle(t.MemoryManager())
			}
			return was(t, sysno, args)
		}
	})
	if forkNumber != 0 {
		replaceCall(forkNumber, func(was kernel.SyscallFn) kernel.SyscallFn {
			return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
				copyLittle(t.MemoryManager())
				return was(t, sysno, args)
			}
		})
	}
}

// mappings is where gVisor keeps what is mapped: in nodes of a tree. The fields are not gVisor's to show, so they are
// looked up by name; where they are missing, forked children cost what they did, and TestForkedChildrenAreSmall
// notices.
type mappings struct {
	ok                             bool
	lock, root                     uintptr // in a MemoryManager
	lockType                       reflect.Type
	count, inner, values, children uintptr // in a node
	size                           uintptr // of a mapping
	private, growsDown, isStack    uintptr // in a mapping
}

var lookMappings = sync.OnceValue(func() (m mappings) {
	offset := func(t reflect.Type, name string, kind reflect.Kind) (uintptr, reflect.Type) {
		f, ok := t.FieldByName(name)
		if !ok || f.Type.Kind() != kind {
			panic(name) // recovered below
		}
		return f.Offset, f.Type
	}
	defer func() {
		if recover() != nil {
			m = mappings{}
		}
	}()
	manager := reflect.TypeFor[mm.MemoryManager]()
	vmas, set := offset(manager, "vmas", reflect.Struct)
	root, node := offset(set, "root", reflect.Struct)
	m.root = vmas + root
	m.lock, m.lockType = offset(manager, "mappingMu", reflect.Struct)
	m.count, _ = offset(node, "nrSegments", reflect.Int)
	m.inner, _ = offset(node, "hasChildren", reflect.Bool)
	values, all := offset(node, "values", reflect.Array)
	m.values = values
	m.children, _ = offset(node, "children", reflect.Array)
	mapping := all.Elem()
	m.size = mapping.Size()
	m.private, _ = offset(mapping, "private", reflect.Bool)
	m.growsDown, _ = offset(mapping, "growsDown", reflect.Bool)
	m.isStack, _ = offset(mapping, "isStack", reflect.Bool)
	m.ok = true
	return m
})

// copyLittle marks the private mappings of a process.
func copyLittle(of *mm.MemoryManager) {
	m := lookMappings()
	if !m.ok || of == nil {
		return
	}
	at := unsafe.Pointer(of)
	lock, ok := reflect.NewAt(m.lockType, unsafe.Add(at, m.lock)).Interface().(sync.Locker)
	if !ok {
		return
	}
	lock.Lock()
	defer lock.Unlock()
	m.mark(unsafe.Add(at, m.root))
}

func (m *mappings) mark(node unsafe.Pointer) {
	n := *(*int)(unsafe.Add(node, m.count))
	for i := range n {
		mapping := unsafe.Add(node, m.values+uintptr(i)*m.size)
		if *(*bool)(unsafe.Add(mapping, m.private)) && !*(*bool)(unsafe.Add(mapping, m.growsDown)) {
			*(*bool)(unsafe.Add(mapping, m.isStack)) = true
		}
	}
	if !*(*bool)(unsafe.Add(node, m.inner)) {
		return
	}
	for i := range n + 1 {
		m.mark(*(*unsafe.Pointer)(unsafe.Add(node, m.children+uintptr(i)*unsafe.Sizeof(uintptr(0)))))
	}
}
