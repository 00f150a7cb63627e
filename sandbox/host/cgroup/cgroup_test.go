package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// A group needs no sandbox: any process lives in one, is frozen, counted and ended there. With version 2 alone, too.
func TestAGroupHoldsAnyProcess(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("control groups need root")
	}
	for _, onlyV2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("version 2 alone: %v", onlyV2), func(t *testing.T) {
			hash := fmt.Sprintf("test%d%v", os.Getpid(), onlyV2)
			c, err := Open(hash, onlyV2)
			if err != nil {
				t.Skip(err)
			}
			t.Cleanup(c.RemoveParents)
			g, err := c.Make("one")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := g.Remove(); err != nil {
					t.Error(err)
				}
			})
			cmd := exec.Command("sh", "-c", "while :; do :; done")
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cmd.Process.Kill() })
			for _, procs := range g.Procs() {
				if err := os.WriteFile(procs, []byte(fmt.Sprint(cmd.Process.Pid)), 0); err != nil {
					t.Fatal(err)
				}
			}
			if got := g.PIDs(); !slices.Equal(got, []int{cmd.Process.Pid}) {
				t.Errorf("it holds %v, want %d", got, cmd.Process.Pid)
			}
			freezes(t, g, cmd.Process.Pid)
			if left := c.Leftovers(); len(left) != 1 || !slices.Equal(left[0].PIDs(), g.PIDs()) {
				t.Errorf("the next server would find %d groups", len(left))
			}
			if err := g.SetFrozen(true, nil); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(g.LimitCPU(0.01), g.Claim(true)); err != nil {
				t.Fatal(err)
			}
			g.Kill() // also what is frozen
			claims := map[string]string{"cpu.cfs_quota_us": "-1", "cpu.shares": "262144"}
			if c.onlyV2() {
				claims = map[string]string{"cpu.max": "max 100000", "cpu.weight": "10000"}
			}
			for name, want := range claims {
				if got, err := os.ReadFile(g.file("cpu", name)); c.HasCPU() && (err != nil || strings.TrimSpace(string(got)) != want) {
					t.Errorf("what dies has %s %q, %v; want %s", name, got, err, want)
				}
			}
			if err := cmd.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
				t.Errorf("it ended with %v", err)
			}
			if err := g.Remove(); err != nil {
				t.Error(err)
			}
			if len(c.Leftovers()) > 0 {
				t.Error("a group is left")
			}
		})
	}
}

// freezes wants a busy process to use no processor while its group is frozen, and to go on afterwards.
func freezes(t *testing.T, g *Group, pid int) {
	t.Helper()
	used := func() string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid)) // nanoseconds on a processor come first
		if err != nil {
			t.Fatal(err)
		}
		return strings.Fields(string(b))[0]
	}
	if err := g.SetFrozen(true, nil); err != nil {
		t.Fatal(err)
	}
	before := used()
	time.Sleep(50 * time.Millisecond) // in which nothing may happen
	if now := used(); now != before {
		t.Errorf("frozen, it used the processor: %s ns, then %s", before, now)
	}
	if err := g.SetFrozen(false, nil); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); used() == before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not go on after the thaw")
		}
	}
}

// Of several mounts of a hierarchy the usual one counts: others are containers', or a program's that has mounted one for a
// while.
func TestWhichMountCounts(t *testing.T) {
	const (
		v2       = "30 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
		unified  = "30 25 0:26 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n"
		other    = "90 25 0:26 / /tmp/other/cgroup rw - cgroup2 none rw\n"
		third    = "91 25 0:26 / /sys/fs/cgroups-of-mine rw - cgroup2 none rw\n"
		freezer  = "31 25 0:27 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"
		strange  = "92 25 0:27 / /mnt/freezer rw - cgroup cgroup rw,freezer\n"
		noMounts = "25 1 0:1 / / rw - ext4 /dev/vda rw\n"
	)
	for _, c := range []struct{ mounts, v2, freezer string }{
		{noMounts, "", ""},
		{v2, "/sys/fs/cgroup", ""},
		{v2 + other, "/sys/fs/cgroup", ""},
		{other + v2, "/sys/fs/cgroup", ""},
		{third + v2 + other, "/sys/fs/cgroup", ""},
		{other + third, "/tmp/other/cgroup", ""},
		{freezer + unified, "/sys/fs/cgroup/unified", "/sys/fs/cgroup/freezer"},
		{other + freezer + strange, "", "/sys/fs/cgroup/freezer"},
		{strange + other, "/tmp/other/cgroup", "/mnt/freezer"},
		{strange + freezer, "", "/sys/fs/cgroup/freezer"},
	} {
		h := &Hierarchies{v1: map[string]string{}}
		if err := h.find(strings.NewReader(c.mounts), false); err != nil || h.v2 != c.v2 || h.v1["freezer"] != c.freezer {
			t.Errorf("%q, %q, %v; want %q, %q of\n%s", h.v2, h.v1["freezer"], err, c.v2, c.freezer, c.mounts)
		}
	}
}
