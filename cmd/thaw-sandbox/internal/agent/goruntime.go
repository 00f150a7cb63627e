package agent

import (
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// restoreProcs is how many goroutines may run at once while a kernel loads. gVisor gives its runtime as many places as
// there are cores, and a goroutine that waits in a system call keeps its place until the runtime's monitor, which
// sleeps for up to 10 ms in an idle process, takes it away: two that connected to the file server kept everybody else
// waiting for 15 ms of each restore on two cores. Each place has memory of its own for every size of object: eight are
// no faster, and take 0.8 MB more.
const restoreProcs = 4

// mapProgram maps what of our own program is in the host's cache, as far as it is: the kernel's state decodes with code
// and types that a sandbox has never run before, and each first touch was a fault on the way of a restore. It changes
// no memory that is counted as ours. Best effort.
func mapProgram() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	exe := ""
	for line := range strings.Lines(string(maps)) {
		f := strings.Fields(line) // range permissions offset device inode path
		if len(f) < 6 {
			continue
		}
		if exe == "" {
			exe = f[5] // the program comes first
		}
		from, to, _ := strings.Cut(f[0], "-")
		lo, err1 := strconv.ParseUint(from, 16, 64)
		hi, err2 := strconv.ParseUint(to, 16, 64)
		if err1 == nil && err2 == nil && f[5] == exe && strings.HasPrefix(f[1], "r") && f[1][1] == '-' {
			unix.Syscall(unix.SYS_MADVISE, uintptr(lo), uintptr(hi-lo), unix.MADV_POPULATE_READ)
		}
	}
}

// warmBytes is how much of its own heap a sandbox has ready for the kernel that it is going to load.
const warmBytes = 12 << 20

// warmHeap touches memory that the load is going to need: each page that the heap grows by is a fault, and one that the
// host clears first. It stays where it is as long as the collector pauses, and resumeCollector gives back what was not
// used.
func warmHeap() {
	b := make([]byte, warmBytes)
	for i := 0; i < len(b); i += os.Getpagesize() {
		b[i] = 1
	}
	runtime.KeepAlive(b)
	b = nil
	runtime.GC()
}

// usualProcs is what it was before widen.
var usualProcs int

func widen() { usualProcs = runtime.GOMAXPROCS(restoreProcs) }

func narrow() { runtime.GOMAXPROCS(usualProcs) }

// GCPercent is how far the sandbox's own heap may grow between collections. gVisor clears the sandbox's environment, so
// GOGC would not reach it. A sandbox allocates little and lives long: at the default its own heap doubles before it is
// collected, in every sandbox.
const GCPercent = 20

// restoreHeap is where the collector comes back during a restore, in bytes. The kernels of small functions need 10 to
// 20 MB to load, most of it garbage.
const restoreHeap = 96 << 20

// pauseCollector is for the time in which a kernel loads: a heap that grows from nothing is collected again and again,
// which took a third of a restore's processor time. It begins while the sandbox waits: each change stops the whole
// program, and the runtime would return what warmHeap touched within seconds.
func pauseCollector() {
	debug.SetMemoryLimit(restoreHeap)
	debug.SetGCPercent(-1)
}

// largeState is a kernel's state whose objects may need more than restoreHeap, in bytes: they take some ten times as
// much as their encoding.
const largeState = restoreHeap / 16

// paceCollector is for the load of a large state. What lives would soon be more than restoreHeap, and a collector that
// cannot get below its limit runs all the time. So it runs as the heap grows, and the function's memory is taken for
// what lives and half as much.
func paceCollector() {
	debug.SetGCPercent(50)
	debug.SetMemoryLimit(math.MaxInt64)
}

func resumeCollector() {
	debug.SetMemoryLimit(math.MaxInt64)
	debug.SetGCPercent(GCPercent)
	runtime.GC() // what pools keep goes with the second collection
	debug.FreeOSMemory()
}
