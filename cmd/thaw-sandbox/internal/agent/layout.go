package agent

import (
	"crypto/hmac"
	"crypto/sha256"
	"io"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/rand"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"

	"thaw/guest/wire"
)

// # Where a process that will be saved has its memory
//
// Two versions of a function leave much the same in memory, and yet no two pages are equal when every pointer in them is another. So in an
// environment that makes a snapshot the kernel places stack, program and mappings not by chance but by a secret: the same for all snapshots of one function,
// another for each function and installation. All copies of a snapshot have one layout in any case. The guest hands the secret over before it
// starts the runtime; a kernel that was told none, or was restored, draws every layout at random.
//
// gVisor draws from pkg/rand, as everything in the kernel does, getrandom included. So what is answered from the secret is told by who asks: the
// three functions that place something, and nobody else.

// layoutReader stands between gVisor and its random numbers.
type layoutReader struct {
	next   io.Reader
	secret atomic.Pointer[[]byte] // nil: everything is random
}

var layout = layoutReader{next: rand.Reader}

// placers are who chooses an address, each with the name of what it places.
var placers = map[string]string{
	"gvisor.dev/gvisor/pkg/sentry/arch.(*Context64).NewMmapLayout":  "mappings",
	"gvisor.dev/gvisor/pkg/sentry/arch.(*Context64).PIELoadAddress": "program",
	"gvisor.dev/gvisor/pkg/sentry/mm.(*MemoryManager).MapStack":     "stack",
}

// placerDepth is how many calls lie at most between Read and a placer: Uint64, Int63, two Int63n, mmapRand.
const placerDepth = 8

// Read implements io.Reader.
func (l *layoutReader) Read(p []byte) (int, error) {
	if secret := l.secret.Load(); secret != nil && len(p) == 8 { // an Int63n
		if what := placed(); what != "" {
			sum := hmac.New(sha256.New, *secret)
			sum.Write([]byte(what))
			copy(p, sum.Sum(nil))
			// Int63n asks again for numbers near 2^63, and would be told the same.
			p[0], p[7] = p[0]&0x3f, p[7]&0x3f
			return len(p), nil
		}
	}
	return l.next.Read(p)
}

// placed says for what an address is being drawn; empty: something else is.
func placed() string {
	var pcs [placerDepth]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	for {
		f, more := frames.Next()
		if what := placers[f.Function]; what != "" {
			return what
		}
		if !more {
			return ""
		}
	}
}

// prctl takes the secret from the guest, which is the first process, and nobody else.
func (l *layoutReader) prctl(was kernel.SyscallFn) kernel.SyscallFn {
	return func(t *kernel.Task, sysno uintptr, args arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
		if args[0].Int() != wire.PrctlLayout {
			return was(t, sysno, args)
		}
		secret := make([]byte, wire.LayoutBytes)
		if t.ThreadGroup().ID() != 1 || args[2].Uint64() != wire.LayoutBytes {
			return 0, nil, unix.EINVAL
		}
		if _, err := t.CopyInBytes(args[1].Pointer(), secret); err != nil {
			return 0, nil, err
		}
		l.secret.Store(&secret)
		return 0, nil, nil
	}
}

// installLayout is called before the kernel exists.
func installLayout() {
	rand.Reader = &layout
	replaceCall(prctlNumber, layout.prctl)
}
