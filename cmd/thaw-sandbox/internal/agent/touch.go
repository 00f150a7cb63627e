package agent

import (
	"encoding/binary"
	"sync"

	"gvisor.dev/gvisor/pkg/abi/linux"
	"gvisor.dev/gvisor/pkg/context"
	"gvisor.dev/gvisor/pkg/errors/linuxerr"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/arch"
	"gvisor.dev/gvisor/pkg/sentry/kernel"
	"gvisor.dev/gvisor/pkg/sentry/mm"
	"gvisor.dev/gvisor/pkg/sentry/platform"

	"thaw/cmd/thaw-sandbox/internal/agent/calls"
)

// # What a restored program touches first
//
// The first touch of each mapping is a fault that goes through gVisor's kernel: a signal in the program's process, two changes of thread, a system call done
// there. A restored Node has a hundred of them up to its first answer, and its threads, which all wait in the same few functions, have theirs at once. So
// what one restore of a snapshot faulted at is told to the next, by way of the launcher, and is mapped before each process runs its first instruction.
//
// It is a hint. What is mapped is gVisor's decision, by the rules of a fault, and an address that is nothing there is passed over.

// touch is one fault: the process as its kernel numbers it, the page, and how it was accessed.
type touch struct {
	process uint32
	page    uint64
	access  byte // bits of touchRead and its like
}

const (
	touchRead = 1 << iota
	touchWrite
	touchExecute
)

const touchSize = 4 + 8 + 1

// maxTouches bounds what is kept of a snapshot.
const maxTouches = calls.MaxTouched / touchSize

func appendTouch(b []byte, t touch) []byte {
	b = binary.BigEndian.AppendUint32(b, t.process)
	b = binary.BigEndian.AppendUint64(b, t.page)
	return append(b, t.access)
}

// readTouches reads what appendTouch wrote, as far as it goes: at most maxTouches.
func readTouches(b []byte) []touch {
	var list []touch
	for len(b) >= touchSize && len(list) < maxTouches {
		list = append(list, touch{binary.BigEndian.Uint32(b), binary.BigEndian.Uint64(b[4:]), b[12]})
		b = b[touchSize:]
	}
	return list
}

func (t touch) accessType() hostarch.AccessType {
	return hostarch.AccessType{Read: t.access&touchRead != 0, Write: t.access&touchWrite != 0, Execute: t.access&touchExecute != 0}
}

func touchOf(process uint32, addr uint64, at hostarch.AccessType) touch {
	t := touch{process: process, page: addr &^ (hostarch.PageSize - 1)}
	if at.Read {
		t.access |= touchRead
	}
	if at.Write {
		t.access |= touchWrite
	}
	if at.Execute {
		t.access |= touchExecute
	}
	return t
}

// touches are those of the kernel that this process has loaded.
type touches struct {
	mu    sync.Mutex                       // guards what follows
	known []touch                          // of earlier restores
	list  []touch                          // those, and what was touched since
	seen  map[touch]bool                   // list; nil: nothing is noted
	begun map[*mm.MemoryManager]*sync.Once // nil: nothing is mapped
}

var touched touches

// learn takes what earlier restores of this snapshot touched: before its kernel is loaded.
func (t *touches) learn(known []touch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known = known
	t.list = append([]touch(nil), known...)
	t.seen = make(map[touch]bool)
	for _, k := range known {
		t.seen[k] = true
	}
	t.begun = make(map[*mm.MemoryManager]*sync.Once)
}

// all is what is worth to be known by the next restore.
func (t *touches) all() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	var b []byte
	for _, k := range t.list {
		b = appendTouch(b, k)
	}
	return b
}

// stop ends the noting.
func (t *touches) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.known, t.seen, t.begun = nil, nil, nil
}

// enter maps what is known of a process. All its threads wait for that: else each would fault at the same places.
func (t *touches) enter(task *kernel.Task, process uint32, space *mm.MemoryManager) {
	t.mu.Lock()
	once := t.begun[space]
	if once == nil && t.begun != nil {
		once = new(sync.Once)
		t.begun[space] = once
	}
	known := t.known
	t.mu.Unlock()
	if once == nil {
		return
	}
	once.Do(func() {
		for _, k := range known {
			if k.process != process {
				continue
			}
			if err := space.HandleUserFault(task, hostarch.Addr(k.page), k.accessType(), 0); linuxerr.Equals(linuxerr.EINTR, err) {
				return // the task is being killed
			}
		}
	})
}

func (t *touches) note(k touch) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seen != nil && !t.seen[k] && len(t.list) < maxTouches {
		t.seen[k] = true
		t.list = append(t.list, k)
	}
}

// touchContext is a thread that was loaded.
type touchContext struct {
	platform.Context
	entered bool // belongs to the task's goroutine, as does what follows
	process uint32
}

// Switch implements platform.Context: it lets the program run, up to its next system call, fault or signal.
func (c *touchContext) Switch(ctx context.Context, m platform.MemoryManager, ac *arch.Context64, cpu int32) (*linux.SignalInfo, hostarch.AccessType, error) {
	if !c.entered {
		c.entered = true
		task, isTask := ctx.(*kernel.Task)
		space, isSpace := m.(*mm.MemoryManager)
		if isTask && isSpace {
			c.process = uint32(task.ThreadGroup().ID())
			touched.enter(task, c.process, space)
		}
	}
	info, at, err := c.Context.Switch(ctx, m, ac, cpu)
	if err == platform.ErrContextSignal && at.Any() {
		touched.note(touchOf(c.process, info.Addr(), at))
	}
	return info, at, err
}
