package agent

import (
	"sync"
	"sync/atomic"
	"weak"

	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/mm"

	"thaw/cmd/thaw-sandbox/internal/statefile"
)

// # How OpenSSL learns that it was copied
//
// OpenSSL's generators are part of a snapshot: every copy would go on with the same bytes. But at each draw OpenSSL compares getpid() with
// the value of its last seeding, because of fork, and seeds anew when it differs. Source: openssl_get_fork_id in OpenSSL's
// crypto/threads_pthread.c, and ossl_prov_drbg_generate. So this kernel's getpid tells those callers, and only those, a number that a restore changes.
// Who calls is seen by the address that the call returns to: it lies in a libcrypto.so, or in the generator's own functions of a program that
// carries OpenSSL inside (Node), which were looked up on the host at the checkpoint.

// forkIDs answer getpid.
type forkIDs struct {
	generation atomic.Uint32               // 0: never restored, everybody sees the true pid
	programs   map[string]statefile.Region // path inside -> region; set before generation
	known      sync.Map                    // site -> verdict
	count      atomic.Int32                // of known
}

var forkID forkIDs

// installForkID replaces getpid.
func installForkID() {
	replaceCall(getpidNumber, func(kernel.SyscallFn) kernel.SyscallFn { return forkID.getpid })
}

// site is one place in one address space. The pointer is weak: an address space that is gone is never mistaken for its successor.
type site struct {
	mm  weak.Pointer[mm.MemoryManager]
	ret uint64
}

type verdict struct {
	isGenerator bool
	code        [codeBytes]byte // before the return address: other code mapped there later is another place
}

const codeBytes = 16

// maxSites bounds what is remembered; past it everything is looked up again.
const maxSites = 512

// enter begins a generation: before the restored kernel runs its first instruction.
func (f *forkIDs) enter(generation uint32, programs map[string]statefile.Region) {
	f.programs = programs
	f.generation.Store(generation)
}

// offset is what generators see added to the pid: different from that of the generation before, so from what is in the snapshot. Pids of Linux have 22 bits
// at most; 9 remain of a positive pid_t. Source: PID_MAX_LIMIT, include/linux/threads.h.
func offset(generation uint32) uintptr { return uintptr(1+(generation-1)%511) << 22 }

func (f *forkIDs) getpid(t *kernel.Task, _ uintptr, _ arch.SyscallArguments) (uintptr, *kernel.SyscallControl, error) {
	pid := uintptr(t.ThreadGroup().ID())
	if g := f.generation.Load(); g != 0 && f.asksGenerator(t) {
		pid += offset(g)
	}
	return pid, nil, nil
}

func (f *forkIDs) asksGenerator(t *kernel.Task) bool {
	ret, ok := returnAddress(t)
	if !ok || ret < codeBytes {
		return false
	}
	var v verdict
	if _, err := t.CopyInBytes(hostarch.Addr(ret-codeBytes), v.code[:]); err != nil {
		return false
	}
	k := site{weak.Make(t.MemoryManager()), ret}
	if old, ok := f.known.Load(k); ok && old.(verdict).code == v.code {
		return old.(verdict).isGenerator
	}
	t.MemoryManager().ReadMapsDataInto(t, func(start, end hostarch.Addr, perms hostarch.AccessType, _ string, off uint64, _, _ uint32, _ uint64, file string) {
		if uint64(start) <= ret && ret < uint64(end) && perms.Execute {
			v.isGenerator = f.holdsGenerator(file, ret-uint64(start)+off)
		}
	})
	if f.count.Add(1) > maxSites {
		f.known.Clear()
		f.count.Store(1)
	}
	f.known.Store(k, v)
	return v.isGenerator
}

func (f *forkIDs) holdsGenerator(file string, off uint64) bool {
	if statefile.IsLibcrypto(file) {
		return true
	}
	r, ok := f.programs[file]
	return ok && r.Lo <= off && off < r.Hi
}
