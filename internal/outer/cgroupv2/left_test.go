package cgroupv2

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/nftables"
)

// groups is where the server's control groups lie.
const groups = "/sys/fs/cgroup/thaw"

// frozenGroups counts the control groups of sandboxes that are frozen, as the kernel says.
func frozenGroups() (n int) {
	filepath.WalkDir(groups, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "cgroup.events" {
			if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), "frozen 1") {
				n++
			}
		}
		return nil
	})
	return n
}

// machineNow lists what is in this machine that a server makes: processes, mounts, control groups, network devices,
// names of network namespaces, tables of rules. Nothing else runs in it: what a later list has more was left.
func machineNow(t *testing.T) (all []string) {
	t.Helper()
	add := func(what string, paths ...string) {
		for _, p := range paths {
			all = append(all, what+" "+p)
		}
	}
	self := strconv.Itoa(os.Getpid())
	procs, _ := filepath.Glob("/proc/[0-9]*")
	for _, p := range procs {
		exe, err := os.Readlink(p + "/exe") // threads of the kernel have none
		if err == nil && filepath.Base(p) != self && filepath.Base(p) != "1" {
			add("process", filepath.Base(p)+" "+exe)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		add("mount", strings.Fields(line)[4]) // where. Source: proc_pid_mountinfo(5)
	}
	filepath.WalkDir("/sys/fs/cgroup", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			add("control group", p)
		}
		return nil
	})
	devices, _ := filepath.Glob("/sys/class/net/*")
	add("network device", devices...)
	names, _ := filepath.Glob("/run/netns/*")
	add("network namespace", names...)
	c, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := c.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		add("table of rules", table.Name)
	}
	slices.Sort(all)
	return all
}

func more(before, after []string) []string {
	return slices.DeleteFunc(slices.Clone(after), func(what string) bool { return slices.Contains(before, what) })
}
