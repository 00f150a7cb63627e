package jail_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"thaw/sandbox/firecracker/fcapi/fcapitest"
	"thaw/sandbox/firecracker/jail"
	"thaw/sandbox/firecracker/vmm"
)

// place is where a snapshot's files lie, and what a restore makes of them.
type place struct {
	name   string
	dir    func(t testing.TB, here string) string
	gone   bool // the files have no names any more
	shared bool // two machines share the memory file's pages
}

var places = []place{
	{name: "the jail's file system", dir: func(_ testing.TB, here string) string { return here }, shared: true},
	{name: "another file system", dir: otherFileSystem, shared: true},
	{name: "files without names", dir: func(_ testing.TB, here string) string { return here }, gone: true},
}

// A machine is saved into files wherever they lie, and two go on from them, each in a jail of its own.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	for _, unjailed := range []bool{false, true} {
		opt := jail.Options{Firecracker: fake(t, fcapitest.DefaultVersion), Unjailed: unjailed}
		if !unjailed {
			opt.Jailer = jailer(t)
		}
		m, err := jail.New(t.Context(), opt)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range places {
			t.Run(map[bool]string{true: "unjailed, ", false: ""}[unjailed]+p.name, func(t *testing.T) {
				snapshot(t, m, p, func(s vmm.Slot) vmm.Slot {
					if unjailed { // another user does not reach what lies in a test's folder
						s.UID, s.GID = 0, 0
					}
					return s
				})
			})
		}
	}
}

func snapshot(t *testing.T, m vmm.Monitor, p place, as func(vmm.Slot) vmm.Slot) {
	c := groups(t)
	here := t.TempDir()
	dir := p.dir(t, here)
	cfg := config(t, dir)
	state, memory := file(t, dir, "saved-state"), file(t, dir, "saved-memory")
	if p.gone {
		if err := errors.Join(os.Remove(state.Name()), os.Remove(memory.Name())); err != nil {
			t.Fatal(err)
		}
	}
	x := open(t, m, as(slot(t, c, "original")))
	if err := x.Boot(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	ask(t, x, "set kept")
	if err := errors.Join(x.Pause(t.Context()), x.Pause(t.Context()), x.Snapshot(t.Context(), state, memory), x.Close()); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(memory.Fd()), &st); err != nil || st.Size != 4<<20 || st.Blocks*512 > 128<<10 || st.Uid != 0 {
		t.Errorf("the memory has %d bytes, %d of them on disk, and is of user %d: %v", st.Size, st.Blocks*512, st.Uid, err)
	}
	before := content(t, memory)
	var clones []vmm.Machine
	for _, name := range []string{"first", "second"} {
		x := open(t, m, as(slot(t, c, name)))
		if err := x.Restore(t.Context(), cfg, vmm.Saved{State: state, Memory: memory}); err != nil {
			t.Fatal(err)
		}
		if got := ask(t, x, "get"); got != "kept" {
			t.Errorf("%s remembers %q", name, got)
		}
		ask(t, x, "set "+name)
		clones = append(clones, x)
	}
	if a, b := memoryInode(t, clones[0]), memoryInode(t, clones[1]); (a == b && a == st.Ino) != p.shared {
		t.Errorf("the memory file is %d, in the machines %d and %d; shared %v", st.Ino, a, b, p.shared)
	}
	if got := ask(t, clones[0], "get"); got != "first" {
		t.Errorf("the first has %q from the second", got)
	}
	again := []*os.File{file(t, dir, "again-state"), file(t, dir, "again-memory")}
	if err := errors.Join(clones[1].Pause(t.Context()), clones[1].Snapshot(t.Context(), again[0], again[1])); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(before, content(t, memory)) {
		t.Error("the saved memory has changed")
	}
}

// A release that loses the ports of a machine that goes on says so, instead of losing them.
func TestResume(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]string{"1.12.1": "", "1.16.1": "loses the machine's ports"} {
		m, err := jail.New(t.Context(), jail.Options{Firecracker: fake(t, release), Unjailed: true})
		if err != nil {
			t.Fatal(err)
		}
		x := open(t, m, vmm.Slot{Name: "resumed", Dir: t.TempDir()})
		if err := errors.Join(x.Boot(t.Context(), config(t, t.TempDir())), x.Resume(t.Context()), x.Pause(t.Context())); err != nil {
			t.Fatal(err)
		}
		if err := x.Resume(t.Context()); (err != nil) != (want != "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", release, err)
		}
	}
}

// memoryInode is the memory file as the machine's process sees it.
func memoryInode(t *testing.T, x vmm.Machine) uint64 {
	t.Helper()
	root := rootOf(t, x.PIDs()[0])
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(root, "memory"), &st); err != nil {
		t.Fatal(err)
	}
	return st.Ino
}

func rootOf(t *testing.T, pid int) string {
	t.Helper()
	return fmt.Sprintf("/proc/%d/cwd", pid)
}

func content(t *testing.T, f *os.File) []byte {
	t.Helper()
	fi, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(io.NewSectionReader(f, 0, fi.Size()))
	if err != nil {
		t.Fatal(err)
	}
	return b
}
