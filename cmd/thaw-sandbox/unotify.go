package main

import (
	_ "unsafe" // for go:linkname

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

// withoutNotify is a platform that forgets, once it has found out, that notifications are there.
type withoutNotify struct{ platform.Constructor }

func (w withoutNotify) New(o platform.Options) (platform.Platform, error) {
	p, err := w.Constructor.New(o)
	seccompNotifyIsSupported = false
	return p, err
}

var _ = (*systrap.Systrap)(nil) // it registers itself before hookPlatform looks

// hookPlatform must run before a kernel is made.
func hookPlatform() {
	if c, err := platform.Lookup("systrap"); err == nil {
		platform.Register("systrap", withoutNotify{c})
	}
}
