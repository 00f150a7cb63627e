package kvm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Requests of KVM. Source: Linux, include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h.
const (
	getAPIVersion    = 0xae00
	createVM         = 0xae01
	checkExtension   = 0xae03
	getMmapSize      = 0xae04
	getSupportedCPU  = 0xc008ae05
	createVCPU       = 0xae41
	setMemory        = 0x4020ae46
	setTSSAddress    = 0xae47
	createIRQChip    = 0xae60
	createPIT2       = 0x4040ae77
	runVCPU          = 0xae80
	getRegs          = 0x8090ae81
	setRegs          = 0x4090ae82
	getSregs         = 0x8138ae83
	setSregs         = 0x4138ae84
	setCPUID2        = 0x4008ae90
	apiVersion       = 12
	exitIO           = 2
	exitShutdown     = 8
	exitFailEntry    = 9
	exitInternal     = 17
	tssAddress       = 0xfffbd000 // as Firecracker's
	speakerDummy     = 1
	mostCPUIDEntries = 256
)

// capabilities are those that Firecracker refuses to start without.
// Source: Firecracker 1.12, src/vmm/src/arch/x86_64/kvm.rs, DEFAULT_CAPABILITIES.
var capabilities = []struct {
	number uintptr
	name   string
}{
	{0, "IRQCHIP"}, {3, "USER_MEMORY"}, {4, "SET_TSS_ADDR"}, {7, "EXT_CPUID"}, {14, "MP_STATE"}, {32, "IRQFD"}, {33, "PIT2"}, {35, "PIT_STATE2"},
	{36, "IOEVENTFD"}, {39, "ADJUST_CLOCK"}, {41, "VCPU_EVENTS"}, {50, "DEBUGREGS"}, {55, "XSAVE"}, {56, "XCRS"},
}

type segment struct {
	base                                      uint64
	limit                                     uint32
	selector                                  uint16
	kind, present, dpl, db, s, l, g, avl, not uint8
	_                                         uint8
}

type descriptorTable struct {
	base  uint64
	limit uint16
	_     [3]uint16
}

type sregs struct {
	cs, ds, es, fs, gs, ss, tr, ldt         segment
	gdt, idt                                descriptorTable
	cr0, cr2, cr3, cr4, cr8, efer, apicBase uint64
	interrupts                              [4]uint64
}

type regs struct {
	rax, rbx, rcx, rdx, rsi, rdi, rsp, rbp, r8, r9, r10, r11, r12, r13, r14, r15, rip, rflags uint64
}

type memoryRegion struct {
	slot, flags            uint32
	guest, size, userspace uint64
}

type cpuid struct {
	n, _    uint32
	entries [mostCPUIDEntries][40]byte
}

// machine is a virtual machine with one processor.
type machine struct {
	fd, vm, vcpu int
	memory, run  []byte
	steps        []step
}

func probe(ctx context.Context) error {
	return runSteps(ctx, long64)
}

// runSteps runs a program in a machine of its own.
func runSteps(ctx context.Context, steps []step) error {
	// A signal ends a call that runs the guest, so it must stay on one thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	m := &machine{fd: -1, vm: -1, vcpu: -1, steps: steps}
	defer m.close()
	if err := m.open(); err != nil {
		return err
	}
	if err := m.make(); err != nil {
		return err
	}
	fill(m.memory, steps)
	if err := m.real(ctx); err != nil {
		return err
	}
	return m.long(ctx)
}

func (m *machine) open() error {
	fd, err := unix.Open(Device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENXIO) || errors.Is(err, unix.ENODEV):
		return &UnusableError{Reason: "this host has no " + Device, Absent: true}
	case errors.Is(err, os.ErrPermission):
		return &UnusableError{Reason: "this user may not open " + Device, Denied: true}
	case err != nil:
		return unusable("%s: %v", Device, err)
	}
	m.fd = fd
	if v, err := ioctl(fd, getAPIVersion, 0); err != nil || v != apiVersion {
		return unusable("%s speaks version %d of its interface, not %d (%v)", Device, v, apiVersion, err)
	}
	for _, c := range capabilities {
		if v, err := ioctl(fd, checkExtension, c.number); err != nil || v == 0 {
			return unusable("it lacks KVM_CAP_%s, which Firecracker needs", c.name)
		}
	}
	return nil
}

// make makes what Firecracker makes, in its order.
func (m *machine) make() (err error) {
	step := func(what string, call func() (int, error)) (v int) {
		if err != nil {
			return -1
		}
		if v, err = call(); err != nil {
			err = unusable("%s: %v", what, err)
			return -1
		}
		return v
	}
	m.vm = step("KVM_CREATE_VM", func() (int, error) { return ioctl(m.fd, createVM, 0) })
	step("KVM_SET_TSS_ADDR", func() (int, error) { return ioctl(m.vm, setTSSAddress, tssAddress) })
	step("KVM_CREATE_IRQCHIP", func() (int, error) { return ioctl(m.vm, createIRQChip, 0) })
	step("KVM_CREATE_PIT2", func() (int, error) {
		return ioctlAt(m.vm, createPIT2, unsafe.Pointer(&[16]uint32{speakerDummy}))
	})
	step("memory of a machine", func() (_ int, err error) {
		m.memory, err = unix.Mmap(-1, 0, memory, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		return 0, err
	})
	step("KVM_SET_USER_MEMORY_REGION", func() (int, error) {
		region := memoryRegion{size: memory, userspace: uint64(uintptr(unsafe.Pointer(&m.memory[0])))}
		return ioctlAt(m.vm, setMemory, unsafe.Pointer(&region))
	})
	m.vcpu = step("KVM_CREATE_VCPU", func() (int, error) { return ioctl(m.vm, createVCPU, 0) })
	ids := &cpuid{n: mostCPUIDEntries}
	step("KVM_GET_SUPPORTED_CPUID", func() (int, error) { return ioctlAt(m.fd, getSupportedCPU, unsafe.Pointer(ids)) })
	step("KVM_SET_CPUID2", func() (int, error) { return ioctlAt(m.vcpu, setCPUID2, unsafe.Pointer(ids)) })
	size := step("KVM_GET_VCPU_MMAP_SIZE", func() (int, error) { return ioctl(m.fd, getMmapSize, 0) })
	step("memory of a processor", func() (_ int, err error) {
		m.run, err = unix.Mmap(m.vcpu, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		return 0, err
	})
	return err
}

func (m *machine) close() {
	for _, b := range [][]byte{m.run, m.memory} {
		if b != nil {
			unix.Munmap(b) //nolint:errcheck // it was mapped
		}
	}
	for _, fd := range []int{m.vcpu, m.vm, m.fd} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// real runs a few instructions as a processor does when it is switched on.
func (m *machine) real(ctx context.Context) error {
	var s sregs
	if _, err := ioctlAt(m.vcpu, getSregs, unsafe.Pointer(&s)); err != nil {
		return unusable("KVM_GET_SREGS: %v", err)
	}
	s.cs.base, s.cs.selector = 0, 0
	return m.goOn(ctx, &s, &regs{rip: code16, rflags: 2}, realAnswer)
}

// long runs what a kernel of 64 bits needs.
func (m *machine) long(ctx context.Context) error {
	var s sregs
	if _, err := ioctlAt(m.vcpu, getSregs, unsafe.Pointer(&s)); err != nil {
		return unusable("KVM_GET_SREGS: %v", err)
	}
	s.cs = segment{limit: 0xffffffff, selector: 8, kind: 11, present: 1, s: 1, l: 1, g: 1}
	data := segment{limit: 0xffffffff, selector: 16, kind: 3, present: 1, db: 1, s: 1, g: 1}
	s.ds, s.es, s.fs, s.gs, s.ss = data, data, data, data, data
	s.gdt = descriptorTable{base: gdt, limit: 3*8 - 1}
	s.idt = descriptorTable{base: idt, limit: 32*16 - 1}
	s.cr0 = 1<<0 | 1<<4 | 1<<5 | 1<<31  // PE, ET, NE, PG
	s.cr3 = pml4                        //
	s.cr4 = 1<<5 | 1<<9 | 1<<10 | 1<<18 // PAE, OSFXSR, OSXMMEXCPT, OSXSAVE
	s.efer = 1<<8 | 1<<10               // LME, LMA
	before := threadTime()
	if err := m.goOn(ctx, &s, &regs{rip: code64, rsp: stack, rflags: 2}, longAnswer); err != nil {
		return err
	}
	// Hardware takes 3 ms for the loop, an emulated processor 20; the thread's own time, since the host may be busy.
	if took := threadTime() - before; took > 500*time.Millisecond {
		return unusable("it runs about %d million instructions a second: each is interpreted", 2*turns/1_000_000*int64(time.Second)/int64(took))
	}
	return nil
}

// goOn sets the registers and lets the guest run until it writes its answer.
func (m *machine) goOn(ctx context.Context, s *sregs, r *regs, answer byte) error {
	if _, err := ioctlAt(m.vcpu, setSregs, unsafe.Pointer(s)); err != nil {
		return unusable("KVM_SET_SREGS: %v", err)
	}
	if _, err := ioctlAt(m.vcpu, setRegs, unsafe.Pointer(r)); err != nil {
		return unusable("KVM_SET_REGS: %v", err)
	}
	defer m.kickWhenDone(ctx)()
	for {
		_, err := ioctl(m.vcpu, runVCPU, 0)
		switch {
		case ctx.Err() != nil && !errors.Is(context.Cause(ctx), errTime):
			return context.Cause(ctx)
		case ctx.Err() != nil:
			return unusable("a virtual machine did not get past %s in %v", m.where(), limit)
		case errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN):
			continue // a signal of this program's own
		case err != nil:
			return unusable("KVM_RUN: %v", err)
		}
		return m.judge(answer)
	}
}

// judge says whether the guest stopped because it wrote its answer. Source of the offsets: struct kvm_run.
func (m *machine) judge(answer byte) error {
	why := binary.LittleEndian.Uint32(m.run[8:])
	if why == exitIO {
		at := binary.LittleEndian.Uint64(m.run[40:])
		out := m.run[32] == 1 && binary.LittleEndian.Uint16(m.run[34:]) == port
		if out && at < uint64(len(m.run)) && m.run[at] == answer {
			return nil
		}
		return unusable("a virtual machine wrote what its program does not")
	}
	name := map[uint32]string{exitShutdown: "it was shut down", exitFailEntry: "the processor refused to enter it", exitInternal: "KVM could not emulate the instruction"}[why]
	if name == "" {
		name = fmt.Sprintf("exit reason %d", why)
	}
	return unusable("it runs no guest's instructions in hardware: a virtual machine stopped at %s (%s)", m.where(), name)
}

// where names what the guest was about to do.
func (m *machine) where() string {
	var r regs
	if _, err := ioctlAt(m.vcpu, getRegs, unsafe.Pointer(&r)); err != nil {
		return "an unknown place"
	}
	if r.rip < code64 {
		return "an instruction in real mode"
	}
	return stepAt(m.steps, r.rip)
}

// kickWhenDone ends a call that runs the guest when ctx does. What it returns must be called before the machine ends.
func (m *machine) kickWhenDone(ctx context.Context) func() {
	thread, ended := unix.Gettid(), make(chan struct{})
	var over atomic.Bool
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		for !over.Load() {
			m.run[1] = 1                                    // immediate_exit: the next call returns at once
			unix.Tgkill(unix.Getpid(), thread, unix.SIGURG) //nolint:errcheck // the thread is there; Go's runtime takes the signal
			time.Sleep(time.Millisecond)
		}
	})
	return func() {
		over.Store(true)
		if !stop() {
			<-ended
		}
	}
}

func threadTime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

func ioctl(fd int, request, arg uintptr) (int, error) {
	v, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, arg)
	if errno != 0 {
		return 0, errno
	}
	return int(v), nil
}

// ioctlAt passes the address of something of Go's, which must stay where it is as long as the call lasts.
func ioctlAt(fd int, request uintptr, arg unsafe.Pointer) (int, error) {
	v, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	if errno != 0 {
		return 0, errno
	}
	return int(v), nil
}
