package firecracker

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"thaw/guest/wire"
	"thaw/sandbox"
	"thaw/sandbox/host/cgroup"
)

func TestASandboxLives(t *testing.T) {
	b := open(t, nil)
	if caps := b.Capabilities(); b.Name() != "fake" || !caps.Isolates || !caps.Mounts || !caps.Images || !caps.Snapshots || caps.SnapshotKey == "" {
		t.Errorf("%s has capabilities %+v", b.Name(), caps)
	}
	x := create(t, b, "one")
	if st := x.ask("hello"); st.Calls != 1 || st.Mounts != 1 || st.Fresh == "" {
		t.Errorf("it says %+v", st)
	}
	if used, err := x.MemoryUsed(); err != nil || used != 2<<20 {
		t.Errorf("memory used is %d, %v", used, err)
	}
	var disk unix.Stat_t
	if err := unix.Stat(x.disks.tmp, &disk); err != nil || disk.Uid != uint32(x.uid) || disk.Size < 16<<20 || disk.Mode&0o777 != 0o600 {
		t.Errorf("disk of /tmp: %+v, %v", disk, err)
	}
	if err := x.Thaw(); err != nil {
		t.Errorf("thaw of what runs: %v", err)
	}
	for range 3 {
		if err := x.Freeze(); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if used, err := x.MemoryUsed(); err != nil || used != 2<<20 || time.Since(began) > memoryLimit/2 {
		t.Errorf("memory of what is frozen is %d, %v after %v", used, err, time.Since(began))
	}
	for range 3 {
		if err := x.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
	if st := x.ask("after"); st.Calls != 2 {
		t.Errorf("it says %+v", st)
	}
	x.ask("oom")
	select {
	case <-x.MemoryExceeded():
	case <-time.After(patience):
		t.Error("nobody hears that it is out of memory")
	}
	if err := x.Freeze(); err != nil {
		t.Fatal(err)
	}
	pids := x.PIDs()
	if err := x.Close(); err != nil {
		t.Error(err)
	}
	if exit := x.Exit(); !exit.Asked || exit.Err != nil || exit.OutOfMemory {
		t.Errorf("exit %+v", exit)
	}
	if len(pids) != 1 || unix.Kill(pids[0], 0) == nil {
		t.Errorf("of processes %v one is left", pids)
	}
	for _, change := range []func() error{x.Freeze, x.Thaw} {
		if err := change(); !errors.Is(err, sandbox.ErrClosed) {
			t.Errorf("a change after Close says %v", err)
		}
	}
	if _, err := x.MemoryUsed(); err == nil {
		t.Error("a closed sandbox holds memory")
	}
}

// Monitors run as users of their own: no two slots have the same, and one is given again when its slot is gone.
func TestEachSlotHasItsUser(t *testing.T) {
	b := open(t, nil)
	one, two := create(t, b, "one"), create(t, b, "two")
	if one.uid == two.uid || one.uid < freeUIDs || one.uid > 0x7fffffff {
		t.Errorf("users are %d and %d", one.uid, two.uid)
	}
	for _, x := range []*box{one, two} {
		status, err := os.ReadFile("/proc/" + strconv.Itoa(x.PIDs()[0]) + "/status")
		if err != nil || !strings.Contains(string(status), "Uid:\t"+strconv.Itoa(x.uid)+"\t") {
			t.Errorf("the monitor's process is no user %d: %v", x.uid, err)
		}
	}
	uid := one.uid
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	if three := create(t, b, "three"); three.uid != uid {
		t.Errorf("the next slot's user is %d, not %d", three.uid, uid)
	}
}

func TestAMachineThatEndsByItself(t *testing.T) {
	b := open(t, nil)
	for _, c := range []struct {
		name, words string
		end         func(x *box)
	}{
		{"its guest dies", "Kernel panic", func(x *box) { x.send(wire.KindInvoke, nil, "die") }},
		{"its monitor is killed", "killed", func(x *box) { unix.Kill(x.PIDs()[0], unix.SIGKILL) }},
		{"its owner hangs up", "its guest has ended", func(x *box) { x.Conn().Close() }},
		{"its guest says nonsense", "broken off", func(x *box) { x.send(wire.KindInvoke, nil, "break off") }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			x := create(t, b, "ends-"+strings.ReplaceAll(c.name, " ", "-"))
			c.end(x)
			select {
			case <-x.Exited():
			case <-time.After(patience):
				t.Fatal("nobody notices")
			}
			if exit := x.Exit(); exit.Asked || exit.Err == nil || !strings.Contains(exit.Err.Error(), c.words) {
				t.Errorf("exit %+v, want %q in it", exit, c.words)
			}
			if err := x.Freeze(); !errors.Is(err, sandbox.ErrClosed) {
				t.Errorf("freeze of one that has ended: %v", err)
			}
		})
	}
}

// The group around a monitor holds it, whatever it does.
func TestAMonitorThatTakesMemory(t *testing.T) {
	b := open(t, nil)
	if !b.groups.HasMemory() {
		t.Skip("memory is not counted on this host: it has no memory cgroup")
	}
	x := create(t, b, "eats")
	x.send(wire.KindInvoke, wire.Invoke{RequestID: "1"}, "eat")
	select {
	case <-x.Exited():
	case <-time.After(patience):
		t.Fatal("it goes on")
	}
	if exit := x.Exit(); !exit.OutOfMemory || exit.Asked || exit.Err == nil {
		t.Errorf("exit %+v", exit)
	}
}

// What a machine writes to its disk of /tmp is no reason to end it, where that disk takes memory, too.
func TestRoomForADiskInMemory(t *testing.T) {
	shm, err := os.MkdirTemp("/dev/shm", "thaw-test-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(shm) })
	if err := os.Chmod(shm, 0o711); err != nil {
		t.Fatal(err)
	}
	limit := func(dir string) int64 {
		b := open(t, func(o *Options) { o.Dir = filepath.Join(dir, "microvms") })
		if !b.groups.HasMemory() {
			t.Skip("memory is not counted on this host: it has no memory cgroup")
		}
		return memoryLimitOf(create(t, b, "disk").group)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(t.TempDir(), &fs); err != nil || fs.Type == unix.TMPFS_MAGIC {
		t.Skipf("temporary files are in memory here, too, or nobody knows where: %v", err)
	}
	onDisk := limit(openFolder(t))
	if got, want := limit(shm)-onDisk, int64(testSpec("").TmpMiB)<<20; got != want || onDisk < int64(machineMemory(testMemoryMiB))<<20 {
		t.Errorf("a disk in memory has %d bytes more of %d, want %d", got, onDisk, want)
	}
}

// A guest that does not answer costs whoever asks for memory a second, and then the last answer counts.
func TestAGuestThatHasNoTimeToCount(t *testing.T) {
	b := open(t, func(o *Options) { o.Args = "slowmemory" })
	x := create(t, b, "mute")
	if _, err := x.MemoryUsed(); err == nil {
		t.Error("memory that nobody has ever counted")
	}
	if err := x.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := x.Thaw(); err != nil {
		t.Fatal(err)
	}
	if st := x.ask("still there"); st.Calls != 1 {
		t.Errorf("it says %+v", st)
	}
}

// What computes stands still in the machine before it is frozen, and goes on with it (control.Freeze).
func TestWhatComputesStandsStill(t *testing.T) {
	for _, args := range []string{"", "computing"} {
		b := open(t, func(o *Options) { o.Args = args })
		x := create(t, b, "computes")
		for range 2 {
			if err := x.Freeze(); err != nil {
				t.Fatal(err)
			}
			if x.freezing.held != (args == "computing") {
				t.Errorf("with %q: held is %v", args, x.freezing.held)
			}
			if used, err := x.MemoryUsed(); err != nil || used == 0 {
				t.Errorf("%d bytes, %v", used, err)
			}
			if err := x.Thaw(); err != nil {
				t.Fatal(err)
			}
			if st := x.ask("goes on"); st.Held {
				t.Errorf("with %q it still stands still", args)
			}
		}
		x.freezer = func(want bool, closing <-chan struct{}) error {
			if want {
				return cgroup.ErrFreezeLate
			}
			return nil
		}
		if err := x.Freeze(); !errors.Is(err, cgroup.ErrFreezeLate) {
			t.Errorf("it says %v", err)
		}
		if st := x.ask("the freeze is undone"); st.Held {
			t.Errorf("with %q it stands still after a freeze that failed", args)
		}
	}
}

// A machine that runs again, and whose guest does not let the function go on, is of no use: only Close is left.
func TestAGuestThatDoesNotGoOn(t *testing.T) {
	t.Parallel()
	b := open(t, func(o *Options) { o.Args = "computing mutethaw" })
	x := create(t, b, "deaf")
	if err := x.Freeze(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := x.Thaw(); err == nil || !strings.Contains(err.Error(), "the guest does not answer") {
			t.Errorf("it says %v", err)
		}
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

// A freeze that fails is undone; one that cannot be undone, and a thaw that fails, leave only Close.
func TestAFreezerThatFails(t *testing.T) {
	b := open(t, nil)
	gone := errors.New("the freezer is gone")
	for _, c := range []struct {
		name   string
		freeze bool  // the change that fails
		undo   error // of the undo of a freeze
		stuck  bool
	}{
		{"freeze", true, nil, false},
		{"freeze, and its undo", true, gone, true},
		{"thaw", false, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := create(t, b, "stuck-"+strconv.Itoa(len(c.name)))
			real := x.freezer
			if !c.freeze {
				if err := x.Freeze(); err != nil {
					t.Fatal(err)
				}
			}
			x.freezer = func(want bool, closing <-chan struct{}) error {
				if want == c.freeze {
					return errors.Join(real(want, closing), cgroup.ErrFreezeLate)
				}
				return errors.Join(real(want, closing), c.undo)
			}
			change := x.Thaw
			if c.freeze {
				change = x.Freeze
			}
			if err := change(); !errors.Is(err, cgroup.ErrFreezeLate) {
				t.Fatalf("it says %v", err)
			}
			x.freezer = real
			for _, later := range []func() error{x.Freeze, x.Thaw} {
				if err := later(); (err != nil) != c.stuck || c.stuck && !errors.Is(err, cgroup.ErrFreezeLate) {
					t.Errorf("a later change says %v", err)
				}
			}
			if !c.stuck {
				x.ask("it runs")
			}
			if err := x.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNamesAndMountsAreChecked(t *testing.T) {
	b := open(t, nil)
	create(t, b, "taken")
	for what, change := range map[string]func(*sandbox.Spec){
		"a name that is taken":     func(s *sandbox.Spec) { s.ID = "taken" },
		"no name":                  func(s *sandbox.Spec) { s.ID = "" },
		"a path as name":           func(s *sandbox.Spec) { s.ID = "../a" },
		"a mount over the root":    func(s *sandbox.Spec) { s.Mounts[0].Target = "/" },
		"a mount out of its root":  func(s *sandbox.Spec) { s.Mounts[0].Target = "/opt/../proc" },
		"a mount of a relative":    func(s *sandbox.Spec) { s.Mounts[0].Source = "usr" },
		"a mount of what is gone":  func(s *sandbox.Spec) { s.Mounts[0].Source = "/is/not/there" },
		"a mount over /tmp itself": func(s *sandbox.Spec) { s.Mounts[0].Target = "/tmp" },
	} {
		spec := testSpec("fine")
		change(&spec)
		if s, err := b.Create(testContext(t), spec); err == nil {
			s.Close()
			t.Errorf("%s: a sandbox was made", what)
		}
	}
	create(t, b, "fine") // its name was given back each time
}
