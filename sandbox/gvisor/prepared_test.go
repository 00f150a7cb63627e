package gvisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"thaw/sandbox"
)

// keeper is a snapshot of a program that keeps memory of a known content.
func keeper(t *testing.T, b *Backend, name string, bytes int64, seed int) folder {
	t.Helper()
	g := create(t, b, sandbox.Spec{ID: sandbox.ID(name)})
	g.must("keep %d %d", bytes, seed)
	d := folder(t.TempDir())
	if err := g.Checkpoint(testContext(t), d); err != nil {
		t.Fatal(err)
	}
	return d
}

func heldBy(t *testing.T, s sandbox.Sandbox) int64 {
	t.Helper()
	n, err := s.(*Sandbox).group.MemoryHeld()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A waiting sandbox has memory ready for the snapshot that was restored last. Whichever comes finds its own content, and no more memory than without.
func TestMemoryIsReadyForTheLastSnapshot(t *testing.T) {
	b := open(t, func(o *Options) { o.Blank = 1 })
	if !b.groups.HasMemory() {
		t.Skip("no memory controller: what is held cannot be seen")
	}
	const small, large = 16 << 20, 40 << 20
	kinds := []struct {
		d    folder
		seed int
		held int64 // by the first copy: nothing was ready for it
	}{{d: keeper(t, b, "small", small, 1), seed: 1}, {d: keeper(t, b, "large", large, 2), seed: 2}}
	waiting := int64(0) // what a sandbox holds that waits, before anything is known
	for i, which := range []int{0, 1, 1, 0, 0, 1, 0, 1} {
		awaitArmed(t, b)
		b.mu.Lock()
		armed := b.armed.Ready[0]
		b.mu.Unlock()
		ready := heldBy(t, armed)
		switch last := ready - waiting; {
		case i == 0:
			waiting = ready
		case i > 0 && last < small/2:
			t.Errorf("restore %d: the waiting sandbox holds %d MiB more than one that expects nothing", i, last>>20)
		case last > maxReady:
			t.Errorf("restore %d: the waiting sandbox holds %d MiB", i, last>>20)
		}
		k := &kinds[which]
		s, err := b.Restore(testContext(t), sandbox.Spec{ID: sandbox.ID(fmt.Sprint("copy-", i)), MemoryMiB: 256, TmpMiB: 16}, k.d)
		if err != nil {
			t.Fatal(err)
		}
		g := again(t, s)
		g.must("echo alive")
		held := heldBy(t, s)
		if k.held == 0 {
			k.held = held
		} else if held > k.held+8<<20 {
			t.Errorf("restore %d of %d: it holds %d MiB, the first held %d", i, which, held>>20, k.held>>20)
		}
		if got := g.must("kept %d", k.seed); got != "yes" {
			t.Errorf("restore %d of %d: %s", i, which, got)
		}
		for range 2 { // the first freeze and the second: what was learned is asked for
			if err := s.Freeze(); err != nil {
				t.Fatal(err)
			}
			if err := s.Thaw(); err != nil {
				t.Fatal(err)
			}
			if got := g.must("kept %d", k.seed); got != "yes" {
				t.Errorf("restore %d of %d after a freeze: %s", i, which, got)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		// The next waiting one is to be made with what was learned now: the one that is there, or under way, goes.
		awaitArmed(t, b)
		b.mu.Lock()
		old := b.armed.Ready
		b.armed.Ready = nil
		b.mu.Unlock()
		for _, o := range old {
			o.Close()
		}
		b.armed.LookAgain()
	}
}

// maxReady is what a sandbox may hold ready, with what its own heap keeps for that.
const maxReady = 64<<20 + 8<<20

// switches are the voluntary changes of context of all threads of a sandbox so far: a system call of its programs is at least one.
func switches(t *testing.T, s sandbox.Sandbox) (sum int) {
	t.Helper()
	for _, pid := range s.(*Sandbox).PIDs() {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
		for _, f := range files {
			b, _ := os.ReadFile(f)
			_, rest, _ := strings.Cut(string(b), "\nvoluntary_ctxt_switches:")
			if f := strings.Fields(rest); len(f) > 0 {
				n, _ := strconv.Atoi(f[0])
				sum += n
			}
		}
	}
	return sum
}

// gVisor's clocks are calibrated a second after a load; until then each reading would be a system call.
func TestARestoredProgramReadsTheTimeWithoutSystemCalls(t *testing.T) {
	b := open(t, nil)
	d := keeper(t, b, "original", 1<<10, 1)
	s, err := b.Restore(testContext(t), sandbox.Spec{ID: "copy", MemoryMiB: 128, TmpMiB: 16}, d)
	if err != nil {
		t.Fatal(err)
	}
	g := again(t, s)
	g.must("echo ready")
	const readings = 20000
	before := switches(t, s)
	g.must("times %d", readings)
	if n := switches(t, s) - before; n > readings/4 {
		t.Errorf("%d readings of the clock made %d changes of context", readings, n)
	}
}
