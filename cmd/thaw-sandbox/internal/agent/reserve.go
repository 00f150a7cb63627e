package agent

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
	"gvisor.dev/gvisor/pkg/hostarch"
	"gvisor.dev/gvisor/pkg/sentry/memmap"

	"thaw/cmd/thaw-sandbox/internal/agent/calls"
	"thaw/cmd/thaw-sandbox/internal/descriptors"
)

// # Memory that is there before it is needed
//
// More than half of the time that a page takes to load goes to the host's allocation of it: the file of a sandbox's memory is empty until then. A
// sandbox that waits for a snapshot has the pages of the one that was restored last in its file already, zeroed and mapped, so that loading is copying. What
// the snapshot that comes has elsewhere is written to the file; what it does not need is given back before anything is loaded.

// maxReserve is how much memory a waiting sandbox holds for that, in bytes.
const maxReserve = 64 << 20

const rangeSize = 8

// maxRanges bounds a layout.
const maxRanges = calls.MaxLayout / rangeSize

func appendRange(b []byte, r memmap.FileRange) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(r.Start/hostarch.PageSize))
	return binary.BigEndian.AppendUint32(b, uint32(r.Length()/hostarch.PageSize))
}

// readRanges reads what appendRange wrote, as far as it is a list of ranges in ascending order.
func readRanges(b []byte) []memmap.FileRange {
	var list []memmap.FileRange
	end := uint64(0)
	for ; len(b) >= rangeSize && len(list) < maxRanges; b = b[rangeSize:] {
		start := uint64(binary.BigEndian.Uint32(b)) * hostarch.PageSize
		n := uint64(binary.BigEndian.Uint32(b[4:])) * hostarch.PageSize
		if start < end || n == 0 {
			return nil
		}
		end = start + n
		list = append(list, memmap.FileRange{Start: start, End: end})
	}
	return list
}

// merge sorts ranges and joins those that touch.
func merge(list []memmap.FileRange) []memmap.FileRange {
	slices.SortFunc(list, func(a, b memmap.FileRange) int {
		if a.Start < b.Start {
			return -1
		}
		return 1
	})
	var out []memmap.FileRange
	for _, r := range list {
		if n := len(out); n > 0 && r.Start <= out[n-1].End {
			out[n-1].End = max(out[n-1].End, r.End)
			continue
		}
		out = append(out, r)
	}
	return out
}

// parts splits each range of list at the bounds of those in by, which are in order, and calls f for every piece.
func parts(list, by []memmap.FileRange, f func(piece memmap.FileRange, inside bool)) {
	for _, r := range list {
		i, _ := slices.BinarySearchFunc(by, r.Start, func(b memmap.FileRange, at uint64) int {
			if b.End <= at {
				return -1
			}
			return 1
		})
		for ; i < len(by) && by[i].Start < r.End; i++ {
			if r.Start < by[i].Start {
				f(memmap.FileRange{Start: r.Start, End: by[i].Start}, false)
				r.Start = by[i].Start
			}
			in := memmap.FileRange{Start: r.Start, End: min(r.End, by[i].End)}
			f(in, true)
			r.Start = in.End
		}
		if r.Start < r.End {
			f(r, false)
		}
	}
}

// reserve is what is there. The zero value is nothing. Its methods but note, layout and copy are called one after the other.
type reserve struct {
	want []memmap.FileRange
	fd   int // of the memory file, ours; 0: none
	have []memmap.FileRange
	mem  []byte // the file, mapped from its beginning

	mu   sync.Mutex // guards used
	used []memmap.FileRange
}

// make allocates the wanted memory. Best effort: what it cannot do is done at the restore.
func (r *reserve) make() {
	if r.fd != 0 || len(r.want) == 0 {
		return
	}
	fd := memoryFile()
	if fd < 0 {
		return
	}
	r.fd = fd
	size := int64(r.want[len(r.want)-1].End)
	if unix.Ftruncate(fd, size) != nil { // gVisor makes it as large as the snapshot's when it loads
		return
	}
	mem, err := unix.Mmap(fd, 0, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return
	}
	r.mem = mem
	left := uint64(maxReserve)
	for _, w := range r.want {
		w.End = min(w.End, w.Start+left)
		if w.Length() == 0 || unix.Madvise(mem[w.Start:w.End], unix.MADV_POPULATE_WRITE) != nil {
			break
		}
		left -= w.Length()
		r.have = append(r.have, w)
	}
}

// memoryFile finds the file in which gVisor keeps the memory of the kernel that it is about to load, and returns a descriptor of our own; -1 for none. There is
// another, of the kernel that the process began with; that one is not empty.
func memoryFile() int {
	for _, fd := range descriptors.Own() {
		var st unix.Stat_t
		if target, err := os.Readlink(fmt.Sprintf("%s/%d", descriptors.Folder, fd)); err != nil || !strings.HasPrefix(target, "/memfd:runsc-memory") || unix.Fstat(fd, &st) != nil || st.Size != 0 {
			continue
		}
		if own, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0); err == nil {
			return own
		}
	}
	return -1
}

// fit gives back what a snapshot with this layout does not need: all, when its layout is not known.
func (r *reserve) fit(layout []memmap.FileRange) {
	var keep []memmap.FileRange
	parts(r.have, layout, func(piece memmap.FileRange, inside bool) {
		if inside {
			keep = append(keep, piece)
			return
		}
		unix.Fallocate(r.fd, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, int64(piece.Start), int64(piece.Length()))
	})
	r.have = keep
}

// note keeps where pages were loaded to.
func (r *reserve) note(to memmap.FileRange) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used = append(r.used, to)
}

// copy writes what belongs to a range, if all of it is reserved. A snapshot's file that is cut short meanwhile is left to the other way, which has an error for it.
func (r *reserve) copy(to memmap.FileRange, from []byte) (whole bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			whole = false
		}
	}()
	parts([]memmap.FileRange{to}, r.have, func(piece memmap.FileRange, inside bool) { whole = inside && piece == to })
	if whole {
		copy(r.mem[to.Start:to.End], from)
	}
	return whole
}

// layout is where pages were loaded to.
func (r *reserve) layout() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used = merge(r.used)
	var b []byte
	for _, u := range r.used[:min(len(r.used), maxRanges)] {
		b = appendRange(b, u)
	}
	return b
}

// close is called when all pages are loaded. What was reserved is the kernel's now.
func (r *reserve) close() {
	if r.mem != nil {
		unix.Munmap(r.mem)
	}
	if r.fd != 0 {
		unix.Close(r.fd)
	}
	r.mem, r.have, r.fd = nil, nil, 0
}
