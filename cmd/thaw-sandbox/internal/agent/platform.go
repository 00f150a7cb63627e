package agent

import (
	"reflect"
	"sync"
	"sync/atomic"
	"time"
	"unsafe" // also for go:linkname

	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/platform"
	"gvisor.dev/gvisor/pkg/sentry/platform/systrap"
)

// Systrap has system calls done in a function's address space by a thread there, which it talks to through seccomp notifications where the
// kernel has them, and through a futex otherwise. A notification does not survive the freezer: every freeze interrupts the waiting thread, which
// then posts another one, and the kernel counts both. After two freezes the sandbox receives one more than there is, takes the error (ENOENT)
// for the death of the thread, and kills the process that wanted no more than some memory: Node died in the first garbage collection after a
// few freezes. So the futex is used, which is waited for again after a thaw.
//
// Seen with kernel 6.18 and gVisor release 20260905: without this, one connection of back-to-back invokes lost its runtime within 140 to
// 1,700 invokes.

//go:linkname seccompNotifyIsSupported gvisor.dev/gvisor/pkg/sentry/platform/systrap.seccompNotifyIsSupported
var seccompNotifyIsSupported bool

// constructor makes platforms that forget, once they have found out, that notifications are there.
type constructor struct{ platform.Constructor }

// platforms counts those that were made: the first is for a new kernel, the second for one that will be loaded.
var platforms int

func (c constructor) New(o platform.Options) (platform.Platform, error) {
	p, err := c.Constructor.New(o)
	seccompNotifyIsSupported = false
	if platforms++; err != nil {
		return p, err
	}
	p = knownPlatform{p}
	if platforms < 2 {
		return p, nil
	}
	return restorePlatform{p}, readyAddressSpaces(p)
}

// knownPlatform remembers the kernel that it is made for.
type knownPlatform struct{ platform.Platform }

// NewContext implements platform.Platform. It is called for each task.
func (p knownPlatform) NewContext(ctx context.Context) platform.Context {
	if k := kernel.KernelFromContext(ctx); k != nil && running.Load() != k {
		running.Store(k)
	}
	return wholeContext{p.Platform.NewContext(ctx)}
}

// readyProcesses is how many host processes for address spaces a restore finds ready: the guest's and the runtime's. To fork them was 5 ms of a restore.
const readyProcesses = 2

// readyAddressSpaces leaves address spaces where gVisor keeps those that were used: it takes them from there first.
func readyAddressSpaces(p platform.Platform) error {
	var spaces []platform.AddressSpace
	defer func() {
		for _, s := range spaces {
			s.Release()
		}
	}()
	for range readyProcesses {
		s, err := p.NewAddressSpace()
		if err != nil {
			return err
		}
		spaces = append(spaces, s)
	}
	return nil
}

// restorePlatform is the platform of a kernel that is loaded. It sees the kernel's parts while they are loaded.
type restorePlatform struct{ platform.Platform }

var calibrate sync.Once

// NewContext implements platform.Platform. It is called for each task that is loaded, and for those that are made later.
func (p restorePlatform) NewContext(ctx context.Context) platform.Context {
	if k := kernel.KernelFromContext(ctx); k != nil {
		calibrate.Do(func() { go calibrateClocks(k) })
	}
	return &touchContext{Context: p.Platform.NewContext(ctx)}
}

// calibrateClocks lets programs read the time without a system call. gVisor's clocks are calibrated by two samples a second apart, and the first is of
// the load: for the first second after each restore every reading was a call (a restored Node makes 300 of them up to its first answer, 15 ms). So the second sample is
// taken some milliseconds after the first, while the rest of the kernel loads, which makes the rate right to some ten parts in a million; the usual ones follow
// after a second, and correct it. It returns when that is done, or the kernel was not loaded in time.
func calibrateClocks(k *kernel.Kernel) {
	for range calibrateLimit / calibratePause {
		if t := updaterTimer(k.Timekeeper()); t != nil {
			time.Sleep(calibrateBase)
			t.Reset(0)
			return
		}
		time.Sleep(calibratePause)
	}
}

// updaterTimer is what the goroutine waits for that takes the samples. It is there from the first sample on.
func updaterTimer(tk *kernel.Timekeeper) *time.Timer {
	if tk == nil {
		return nil // not loaded yet
	}
	f := reflect.ValueOf(tk).Elem().FieldByName("timer")
	if !f.IsValid() || f.Type() != reflect.TypeFor[*time.Timer]() {
		return nil
	}
	return (*time.Timer)(atomic.LoadPointer((*unsafe.Pointer)(unsafe.Pointer(f.UnsafeAddr()))))
}

const (
	calibrateBase  = 3 * time.Millisecond // between the two samples, at least
	calibratePause = time.Millisecond
	calibrateLimit = 10 * time.Second
)

var _ = (*systrap.Systrap)(nil) // it registers itself before hookPlatform looks

// hookPlatform must run before a kernel is made.
func hookPlatform() {
	if c, err := platform.Lookup("systrap"); err == nil {
		platform.Register("systrap", constructor{c})
	}
}
