package jail_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/sandbox/firecracker/fcapi/fcapitest"
	"thaw/sandbox/firecracker/jail"
	"thaw/sandbox/firecracker/pages"
	"thaw/sandbox/firecracker/pages/pagestest"
	"thaw/sandbox/firecracker/vmm"
)

// breaking is saved memory whose disk can break.
type breaking struct {
	*os.File
	size   int64
	broken atomic.Bool
}

func (b *breaking) Size() int64 { return b.size }

func (b *breaking) ReadAt(p []byte, off int64) (int, error) {
	if b.broken.Load() {
		return 0, errors.New("the disk is gone")
	}
	return b.File.ReadAt(p, off)
}

// A machine goes on from memory that is served page by page, in its jail; the next one has it before it asks. A machine
// whose memory cannot be served any more ends, and says why.
func TestServedMemory(t *testing.T) {
	t.Parallel()
	if err := pagestest.Probe(); err != nil {
		t.Skipf("no userfaultfd: %v", err)
	}
	for _, unjailed := range []bool{false, true} {
		t.Run(map[bool]string{true: "unjailed", false: "jailed"}[unjailed], func(t *testing.T) {
			opt := jail.Options{Firecracker: fake(t, fcapitest.DefaultVersion), Unjailed: unjailed}
			if !unjailed {
				opt.Jailer = jailer(t)
			}
			m, err := jail.New(t.Context(), opt)
			if err != nil {
				t.Fatal(err)
			}
			servedMemory(t, m, unjailed)
		})
	}
}

func servedMemory(t *testing.T, m vmm.Monitor, unjailed bool) {
	c, dir := groups(t), t.TempDir()
	cfg := config(t, dir)
	as := func(name string) vmm.Slot {
		s := slot(t, c, name)
		if unjailed {
			s.UID, s.GID = 0, 0
		}
		return s
	}
	state, memory := file(t, dir, "state"), file(t, dir, "memory")
	x := open(t, m, as("original"))
	if err := x.Boot(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	ask(t, x, "set kept")
	if err := errors.Join(x.Pause(t.Context()), x.Snapshot(t.Context(), state, memory), x.Close()); err != nil {
		t.Fatal(err)
	}
	for i := range int64(4) { // something in other pages than the first
		if _, err := memory.WriteAt([]byte{byte(i + 1)}, (100+i)*pages.Size); err != nil {
			t.Fatal(err)
		}
	}
	source := &breaking{File: memory, size: 4 << 20}
	var set pages.WorkingSet
	for _, name := range []string{"traced", "next"} {
		trace := new(pages.Trace)
		s := as(name)
		x := open(t, m, s)
		if err := x.Restore(t.Context(), cfg, vmm.Saved{State: state, Pages: source, WorkingSet: set, Trace: trace}); err != nil {
			t.Fatal(err)
		}
		// A page that is asked for before its turn counts as a fault: what is there is known by the trace's pages.
		traced := func(what string, n int64) {
			t.Helper()
			for end := time.Now().Add(time.Minute); trace.WorkingSet().Pages() < n; time.Sleep(time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%s is not there: %+v", what, trace.Counts())
				}
			}
		}
		traced("the working set", set.Pages())
		got := ask(t, x, "get")
		for i := range 4 {
			got += fmt.Sprint(" ", ask(t, x, fmt.Sprint("touch ", 100+i)))
		}
		if got != "kept 1 <nil> 2 <nil> 3 <nil> 4 <nil>" {
			t.Errorf("%s has %q", name, got)
		}
		traced("what was asked for", 5) // a fault is answered before it is traced
		if n := trace.Counts(); trace.WorkingSet().Pages() != 5 || n.Copied != 5*pages.Size || (n.Prefetched > 0) != (name == "next") {
			t.Errorf("%s: %+v", name, n)
		}
		set = trace.WorkingSet()
		if name == "traced" {
			x.Close()
			continue
		}
		source.broken.Store(true)
		go func() { // nobody answers
			if c, err := x.Dial(t.Context(), 7); err == nil {
				fmt.Fprintln(c, "touch 200")
			}
		}()
		<-x.Exited()
		if err := x.Err(); err == nil || !strings.Contains(err.Error(), "the disk is gone") {
			t.Errorf("its memory is gone, and it says %v", err)
		}
		x.Close()
	}
	x = open(t, m, as("nothing"))
	if err := x.Restore(t.Context(), cfg, vmm.Saved{State: state}); err == nil {
		t.Error("a restore without memory")
	}
	var st unix.Stat_t
	if err := unix.Stat(rootOf(t, x.PIDs()[0])+"/pages.sock", &st); !errors.Is(err, unix.ENOENT) {
		t.Errorf("a socket of nobody: %v", err)
	}
}
