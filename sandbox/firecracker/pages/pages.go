// Package pages gives a machine that is already running its memory, page by page: the server of its userfaultfd.
//
// A monitor that restores a machine maps empty memory, registers it with a userfaultfd, and sends that descriptor, with a list of the
// regions, in one message over a socket that lies in its jail. From then on a Server owns the memory's contents. It copies
// the working set, the pages that an earlier copy of the same snapshot asked for, in runs; and it answers faults, which are the
// pages that were asked for otherwise. Pages of zeros are not copied: the machine shares the kernel's one.
//
// Life of a server:
//
//	Listen -> waiting -> serving -> ended
//	             |          |
//	             +----------+--> failed
//
// Waiting: nobody has connected, or what came is not whole yet. Serving: the regions are known; the socket is gone.
// Ended: Close was called, or the memory is gone with its process. Failed: nothing is served any more, and whoever touches a
// page waits for ever, the kernel included: the owner must end the monitor's process, and says Err.
//
// What comes from the monitor is not trusted: it has one connection, by the slot's own user, with one message of at most
// maxMessage bytes and one descriptor, which is a userfaultfd; regions lie within the saved memory and not over each other; and
// no event makes the server keep more than a few bits for each page. Whatever a monitor that was taken over says, pages of
// its own snapshot are copied to its own memory, and nothing else.
//
// Source: Linux, Documentation/admin-guide/mm/userfaultfd.rst and include/uapi/linux/userfaultfd.h; Firecracker,
// docs/snapshotting/handling-page-faults-on-snapshot-resume.md.
package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"sync"
)

// Size is that of a page in bytes.
const Size = 4096

// Source is saved memory. It is read at any offset, by several at once.
type Source interface {
	io.ReaderAt
	Size() int64
}

// Run is pages that come one after another.
type Run struct{ Page, Count int64 }

// WorkingSet is what a machine asks for after its restore, in the order in which it does.
type WorkingSet []Run

// Pages is how many there are.
func (w WorkingSet) Pages() (n int64) {
	for _, r := range w {
		n += r.Count
	}
	return n
}

// marks a marshalled working set, with the version of its form.
const mark = "thaw working set 1\n"

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Marshal writes a working set: the mark, each run as the distance from the end of the last one and its length, both as varints,
// and a checksum.
func (w WorkingSet) Marshal() []byte {
	b, end := []byte(mark), int64(0)
	for _, r := range w {
		b = binary.AppendVarint(b, r.Page-end)
		b = binary.AppendUvarint(b, uint64(r.Count))
		end = r.Page + r.Count
	}
	return appendSum(b)
}

func appendSum(b []byte) []byte {
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

var errWorkingSet = errors.New("not a working set, or a damaged one")

// ParseWorkingSet reads what Marshal wrote, of a memory with so many bytes. No page is in it twice.
func ParseWorkingSet(b []byte, size int64) (WorkingSet, error) {
	if len(b) < len(mark)+4 || string(b[:len(mark)]) != mark {
		return nil, errWorkingSet
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.Checksum(body, castagnoli) != sum {
		return nil, errWorkingSet
	}
	var w WorkingSet
	var end int64
	all := pagesOf(size)
	for body = body[len(mark):]; len(body) > 0; {
		skip, n := binary.Varint(body)
		if n <= 0 {
			return nil, errWorkingSet
		}
		count, k := binary.Uvarint(body[n:])
		if k <= 0 || skip < -all || skip > all || count == 0 || count > uint64(all) {
			return nil, errWorkingSet
		}
		body = body[n+k:]
		r := Run{end + skip, int64(count)}
		if r.Page < 0 || r.Page+r.Count > all {
			return nil, errWorkingSet
		}
		w = append(w, r)
		end = r.Page + r.Count
	}
	if w.overlaps() {
		return nil, errWorkingSet
	}
	return w, nil
}

func (w WorkingSet) overlaps() bool {
	sorted := slices.Clone(w)
	slices.SortFunc(sorted, func(a, b Run) int { return int(min(max(a.Page-b.Page, -1), 1)) })
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Page < sorted[i-1].Page+sorted[i-1].Count {
			return true
		}
	}
	return false
}

func pagesOf(size int64) int64 { return (size + Size - 1) / Size }

// maxTraced bounds the pages of a trace, and so of a working set: 1 GiB.
const maxTraced = 1 << 18

// Counts is what a server has done.
type Counts struct {
	Faults     int64 // that were answered
	Prefetched int64 // bytes that were there before anybody asked
	Copied     int64 // bytes of both; pages of zeros do not count
	Zeros      int64 // pages of zeros
	Calls      int64 // ioctls
	Removed    int64 // pages that the machine has given back
}

// Trace is what became of one memory: it belongs to whoever wants to know, and fills while a Server serves. The zero value is empty.
type Trace struct {
	mu     sync.Mutex
	counts Counts
	order  []int64 // pages, as they were first asked for
}

// Counts is as of now.
func (t *Trace) Counts() Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// WorkingSet is what was asked for up to now, prefetched pages included: neighbours as one run, runs in the order in which their first
// pages were asked for.
func (t *Trace) WorkingSet() WorkingSet {
	t.mu.Lock()
	order := slices.Clone(t.order)
	t.mu.Unlock()
	at := make(map[int64]int, len(order)) // place in the order
	for i, p := range order {
		at[p] = i
	}
	sorted := slices.Sorted(slices.Values(order))
	type ranked struct {
		Run
		first int
	}
	var runs []ranked
	for _, p := range sorted {
		if n := len(runs); n > 0 && runs[n-1].Page+runs[n-1].Count == p {
			runs[n-1].Count++
			runs[n-1].first = min(runs[n-1].first, at[p])
			continue
		}
		runs = append(runs, ranked{Run{p, 1}, at[p]})
	}
	slices.SortFunc(runs, func(a, b ranked) int { return a.first - b.first })
	w := make(WorkingSet, len(runs))
	for i, r := range runs {
		w[i] = r.Run
	}
	return w
}

// Asked notes pages that a machine has asked for, for monitors that serve memory themselves.
func (t *Trace) Asked(pages ...int64) { t.add(Counts{Faults: int64(len(pages))}, pages...) }

func (t *Trace) add(c Counts, asked ...int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.Faults += c.Faults
	t.counts.Prefetched += c.Prefetched
	t.counts.Copied += c.Copied
	t.counts.Zeros += c.Zeros
	t.counts.Calls += c.Calls
	t.counts.Removed += c.Removed
	t.order = append(t.order, asked[:min(len(asked), maxTraced-len(t.order))]...)
}

// RefusedError says why what came from a monitor is not served.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "page server: refused: " + e.Reason }

func refuse(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }
