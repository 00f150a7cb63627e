package vmmtest

import (
	"os"
	"testing"
	"time"

	"thaw/sandbox/firecracker/pages"
	"thaw/sandbox/firecracker/vmm"
)

// served restores copies from memory that is no file for their monitor. One that serves it while the machine runs says what was
// asked for, and the next machine, which is given that before, asks for little. The memory's sum is known.
func served(t *testing.T, s *Suite, saved snapshot, want string, disk func(name string) string) {
	info, err := saved.saved.Memory.Stat()
	if err != nil {
		t.Fatal(err)
	}
	source := memoryFile{saved.saved.Memory, info.Size()}
	var set pages.WorkingSet
	var asked int64
	for _, what := range []string{"on demand", "with its working set"} {
		p, trace := saved, new(pages.Trace)
		p.config.Drives = []vmm.Drive{{Path: disk(what), Writable: true}}
		p.saved = vmm.Saved{State: saved.saved.State, Pages: source, WorkingSet: set, Trace: trace}
		g := s.restore(t, p)
		began := time.Now()
		if got := g.sum(); got != want {
			t.Errorf("%s: the copy has another memory than the machine that was saved", what)
		}
		c := trace.Counts()
		t.Logf("%s: read 16 MiB in %v; since the restore %d faults, %d calls, %d kB copied, %d kB of them before, %d pages of zeros",
			what, time.Since(began).Round(time.Millisecond), c.Faults, c.Calls, c.Copied>>10, c.Prefetched>>10, c.Zeros)
		g.end()
		if set != nil && c.Faults > asked/4 {
			t.Errorf("%s it asks for %d pages, without for %d", what, c.Faults, asked)
		}
		if set, asked = trace.WorkingSet(), c.Faults; asked == 0 {
			t.Log("this monitor has all of the memory before the machine runs")
			return
		}
	}
}

// memoryFile is saved memory.
type memoryFile struct {
	*os.File
	size int64
}

func (m memoryFile) Size() int64 { return m.size }
