package firecracker

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"thaw/internal/childtest"
	"thaw/sandbox/host"
	"thaw/sandbox/host/cgroup"
	"thaw/sandbox/host/network"
)

// TestVictim is the server that is killed: it opens a backend with sandboxes in every state, says whose processes they
// are, and waits for its death.
func TestVictim(t *testing.T) {
	o := testOptions(t, childtest.Arg(t))
	o.Slots, o.Network = 1, network.Options{Internet: true}
	b, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	var pids []int
	for i := range 2 {
		s, err := b.Create(context.Background(), testSpec(fmt.Sprint("victim-", i)))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			if err := s.Freeze(); err != nil {
				t.Fatal(err)
			}
		}
		pids = append(pids, s.PIDs()...)
	}
	awaitSlots(t, b, 1)
	b.work.mu.Lock()
	pids = append(pids, b.work.slots.Ready[0].PIDs()...)
	b.work.mu.Unlock()
	fmt.Println(pids)
	select {}
}

// traces are what sandboxes of a folder leave on a host: one line each.
func traces(t *testing.T, dir string) (list []string) {
	t.Helper()
	hash := host.Hash(dir)
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/"} {
		groups, err := filepath.Glob(pattern + cgroup.Parent + "/" + hash + "/*")
		if err != nil {
			t.Fatal(err)
		}
		for _, g := range groups {
			if fi, err := os.Stat(g); err == nil && fi.IsDir() {
				list = append(list, "cgroup "+g)
			}
		}
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
	ents, _ := os.ReadDir(dir)
	for _, e := range ents {
		list = append(list, "file "+e.Name())
	}
	return list
}

// What a server leaves that was killed is found by the next one: frozen machines, running ones and slots that waited.
func TestTheNextServerSweeps(t *testing.T) {
	needRoot(t)
	dir := filepath.Join(t.TempDir(), "microvms")
	for p := filepath.Dir(dir); p != os.TempDir() && p != "/"; p = filepath.Dir(p) {
		os.Chmod(p, 0o711)
	}
	server := childtest.Start(t, "TestVictim", dir)
	var pids []int
	for _, f := range strings.Fields(strings.Trim(server.Line(), "[]")) {
		var pid int
		if _, err := fmt.Sscan(f, &pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	alive := traces(t, dir)
	for _, kind := range []string{"cgroup ", "device ", "file "} {
		if !slices.ContainsFunc(alive, func(s string) bool { return strings.HasPrefix(s, kind) }) {
			t.Errorf("a running server shows no %s: the test looks in the wrong place", kind)
		}
	}
	if len(pids) != 3 {
		t.Fatalf("its machines are processes %v", pids)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if b, err := Open(ctx, testOptions(t, dir)); err == nil {
		b.Close()
		t.Error("another server of the folder opened while it lives")
	}
	if now := traces(t, dir); len(now) < len(alive) {
		t.Errorf("it took something away: before %q, after %q", alive, now)
	}
	server.Kill()
	b, err := Open(testContext(t), testOptions(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range pids {
		until(t, "the machines of the earlier server are gone", func() bool {
			state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			return err != nil || strings.Contains(string(state), ") Z ") || unix.Kill(pid, 0) != nil
		})
	}
	until(t, "nothing else of it is left", func() bool {
		return !slices.ContainsFunc(traces(t, dir), func(s string) bool {
			return strings.HasPrefix(s, "cgroup ") || strings.HasPrefix(s, "device ") || strings.HasPrefix(s, "file "+sweptPrefix)
		})
	})
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if left := traces(t, dir); len(left) > 0 {
		t.Errorf("left after Close: %q", left)
	}
}
