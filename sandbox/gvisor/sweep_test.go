package gvisor

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"thaw/internal/childtest"
	"thaw/sandbox"
	"thaw/sandbox/host"
	"thaw/sandbox/host/cgroup"
	"thaw/sandbox/host/network"
)

// TestVictim is the server that is killed: it opens a backend with sandboxes in every state, says so, and waits for its death.
func TestVictim(t *testing.T) {
	dir := childtest.Arg(t)
	exe, guest := build(t)
	b, err := Open(context.Background(), Options{
		Dir: dir, SandboxExe: exe, GuestExe: guest, Blank: 1, Network: network.Options{Internet: true}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		s, err := b.Create(context.Background(), sandbox.Spec{
			ID: sandbox.ID(fmt.Sprintf("victim-%d", i)), MemoryMiB: 64, TmpMiB: 16, Mounts: []sandbox.Mount{{Source: "/usr/share", Target: "/opt"}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := s.Freeze(); err != nil {
				t.Fatal(err)
			}
		}
	}
	fmt.Println("ready")
	select {}
}

// traces are what sandboxes of a folder leave on a host: one line each.
func traces(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	exe, _ := build(t)
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range procs {
		if target, err := os.Readlink(p + "/exe"); err == nil && target == exe {
			list = append(list, "process "+p)
		}
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for sc := bufio.NewScanner(f); sc.Scan(); {
		if strings.Contains(sc.Text(), dir) {
			list = append(list, "mount "+sc.Text())
		}
	}
	hash := host.Hash(dir)
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + cgroup.Parent + "/" + hash + "*")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("/sys/fs/cgroup/" + cgroup.Parent + "/" + hash + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range append(groups, more...) {
		list = append(list, "cgroup "+g)
	}
	links, err := network.Undisturbed(netlink.LinkList)
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		if strings.HasPrefix(l.Attrs().Name, "tw"+hash) {
			list = append(list, "device "+l.Attrs().Name)
		}
	}
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := c.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, tb := range tables {
		if tb.Name == network.TableName(hash) {
			list = append(list, "table "+tb.Name)
		}
	}
	ents, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	for _, e := range ents {
		list = append(list, "file "+e.Name())
	}
	return list
}

// sandboxGroups are the folders of sandboxes' control groups.
func sandboxGroups(t *testing.T, hash string) []string {
	t.Helper()
	list, err := filepath.Glob("/sys/fs/cgroup/*/" + cgroup.Parent + "/" + hash + "/s*")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("/sys/fs/cgroup/" + cgroup.Parent + "/" + hash + "/s*")
	if err != nil {
		t.Fatal(err)
	}
	return append(list, more...)
}

// childOf is the only child of a process.
func childOf(t *testing.T, pid int) int {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, task := range tasks {
		b, err := os.ReadFile(task)
		if err != nil {
			continue // a thread that has ended
		}
		for _, f := range strings.Fields(string(b)) {
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, n)
		}
	}
	if len(all) != 1 {
		t.Fatalf("process %d has the children %v, not a launcher alone", pid, all)
	}
	return all[0]
}

// A server that is killed leaves nothing on the host but files and its network: its launcher ends the sandboxes and
// removes their groups. What is left, all of it when the launcher was killed, too, the next start removes.
func TestAKilledServerIsSweptUp(t *testing.T) {
	if !inLab(t) {
		return
	}
	for _, withLauncher := range []bool{false, true} {
		killed(t, withLauncher)
	}
}

func killed(t *testing.T, withLauncher bool) {
	t.Helper()
	exe, guest := build(t)
	dir := filepath.Join(t.TempDir(), "gvisor")
	server := child(t, "TestVictim", dir)
	server.Says("ready")
	alive := traces(t, dir)
	for _, kind := range []string{"process ", "cgroup ", "device ", "table ", "file "} {
		if !slices.ContainsFunc(alive, func(s string) bool { return strings.HasPrefix(s, kind) }) {
			t.Errorf("a running server shows no %s: the test looks in the wrong place", kind)
		}
	}
	if slices.ContainsFunc(alive, func(s string) bool { return strings.HasPrefix(s, "mount ") }) {
		t.Error("sandboxes' mounts are seen on the host")
	}
	if got := forwarding(t, "up0"); got != "1" {
		t.Errorf("forwarding of up0 is %s", got)
	}
	t.Run("another server of the folder is refused while it lives", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if b, err := Open(ctx, Options{Dir: dir, SandboxExe: exe, GuestExe: guest}); err == nil {
			b.Close()
			t.Error("it opened")
		}
		if now := traces(t, dir); len(now) < len(alive) {
			t.Errorf("it took something away: before %q, after %q", alive, now)
		}
	})
	if withLauncher { // the server must not see it go: it would make another
		server.Signal(syscall.SIGSTOP)
		unix.Kill(childOf(t, server.PID()), unix.SIGKILL)
	}
	server.Kill()
	if !withLauncher {
		until(t, "processes and groups of the sandboxes, frozen ones too, are gone without a next start", func() bool {
			return len(sandboxGroups(t, host.Hash(dir))) == 0 && !slices.ContainsFunc(traces(t, dir), func(s string) bool { return strings.HasPrefix(s, "process ") })
		})
	}
	b, err := Open(testContext(t), Options{Dir: dir, SandboxExe: exe, GuestExe: guest, Blank: -1, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range traces(t, dir) {
		if strings.HasPrefix(l, "device ") || strings.HasPrefix(l, "mount ") || strings.HasPrefix(l, "table ") {
			t.Errorf("left after the sweep: %s", l)
		}
	}
	until(t, "no process is left but the new launcher", func() bool {
		return !slices.ContainsFunc(traces(t, dir), func(s string) bool {
			return strings.HasPrefix(s, "process ") && s != fmt.Sprintf("process /proc/%d", b.launch.PID())
		})
	})
	until(t, "no folder of the earlier server is left", func() bool {
		list, err := filepath.Glob(filepath.Join(dir, sweptPrefix+"*"))
		return err == nil && len(list) == 0
	})
	until(t, "no group is left", func() bool { return len(sandboxGroups(t, b.hash)) == 0 })
	if got := forwarding(t, "up0"); got != "0" {
		t.Errorf("forwarding of up0 is %s after the sweep", got)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if left := traces(t, dir); len(left) > 0 {
		t.Errorf("left after Close: %q", left)
	}
}

func TestBlanksAreMadeAgain(t *testing.T) {
	b := open(t, func(o *Options) { o.Blank = 2 })
	for range 2 {
		awaitBlanks(t, b)
		before := blankNames(b)
		g := create(t, b, sandbox.Spec{})
		if !slices.Contains(before, g.Sandbox.(*Sandbox).name) {
			t.Errorf("sandbox %s was not one of the blank ones %q", g.Sandbox.(*Sandbox).name, before)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("also one that died", func(t *testing.T) {
		awaitBlanks(t, b)
		b.mu.Lock()
		victim := b.blanks.Ready[0]
		b.mu.Unlock()
		unix.Kill(victim.pid, unix.SIGKILL)
		<-victim.Exited()
		g := create(t, b, sandbox.Spec{})
		if g.Sandbox.(*Sandbox) == victim {
			t.Error("Create returned a dead one")
		}
		awaitBlanks(t, b)
	})
}

func blankNames(b *Backend) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var names []string
	for _, s := range b.blanks.Ready {
		names = append(names, s.name)
	}
	return names
}

func TestTheLaunchersDeathIsTheSandboxesEnd(t *testing.T) {
	b := open(t, nil)
	g := create(t, b, sandbox.Spec{})
	unix.Kill(b.launch.PID(), unix.SIGKILL)
	select {
	case <-g.Exited():
	case <-time.After(patience):
		t.Fatal("the sandbox lives on")
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	again := create(t, b, sandbox.Spec{ID: "again"})
	if got := again.must("echo alive"); got != "echo alive" {
		t.Errorf("echo answered %q", got)
	}
}

func TestTheGuestSeesNothingOfTheServer(t *testing.T) {
	b := open(t, nil)
	g := create(t, b, sandbox.Spec{})
	t.Run("its open files are three pipes and its stream", func(t *testing.T) {
		for line := range strings.Lines(g.must("stdio")) {
			f := strings.Fields(line)
			if len(f) == 2 && !strings.Contains("0 1 2 3", f[0]) && !strings.HasPrefix(f[1], "anon_inode") && !strings.HasPrefix(f[1], "/proc/") {
				t.Errorf("descriptor %s", line)
			}
		}
	})
	t.Run("what it prints goes nowhere but to the console kept for its death", func(t *testing.T) {
		g.must("print last words")
		until(t, "the console has it", func() bool { return strings.Contains(g.Sandbox.(*Sandbox).console.tail(), "last words") })
		g.send(10, nil, "") // wire.KindExit
		<-g.Exited()
		if e := g.Exit(); e.Err == nil || !strings.Contains(e.Err.Error(), "last words") {
			t.Errorf("exit %+v does not quote the console", e)
		}
	})
}
