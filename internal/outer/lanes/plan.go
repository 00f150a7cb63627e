package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"thaw/internal/outer"
	"thaw/sandbox/firecracker/install"
)

// lanes are all there are, in the order in which they run.
var lanes = []lane{
	{
		// Everything of microVMs that needs no machine: API, jails, images, memory, against fakes where a machine would be.
		name: "plumbing",
		groups: []group{
			{packages: []string{"./sandbox/firecracker"}, skip: suites},
			{packages: []string{"./sandbox/firecracker/fcapi", "./sandbox/firecracker/images", "./sandbox/firecracker/initramfs", "./sandbox/firecracker/install",
				"./sandbox/firecracker/kernel", "./sandbox/firecracker/kvm", "./sandbox/firecracker/jail", "./sandbox/firecracker/pages", "./guest/control"}},
		},
	},
	{
		// The same backend on machines that QEMU emulates on this host.
		name: "emulated",
		groups: []group{
			{packages: []string{"./sandbox/firecracker/qemu", "./guest/machine"}},
			{packages: []string{"./sandbox/firecracker"}, tests: suites},
			{packages: []string{"./runtimes/uniquetest", "./node"}, tests: mixed},
		},
	},
	{
		// The server with its gVisor backend under the kernel of a stock Debian 12.
		name: "cgroup-v2", kind: outer.CgroupV2,
		groups: []group{{packages: []string{"./internal/outer/cgroupv2", "./sandbox/host/cgroup"}}},
		prepare: func(in *inside) {
			// What a user has, so not what a test builds.
			if _, err := os.Stat("bin/thaw"); err != nil {
				in.fail(fmt.Errorf("%w: type make build", err))
			}
			in.file("bin/thaw", "/test/thaw")
			in.file(in.build("./internal/outer/cgroupv2/testdata/function"), "/test/function")
			in.program("node")
		},
	},
	{
		// The real Firecracker and its jailer, where virtual machines run inside the outer machine.
		name: "nested", kind: outer.Nested,
		groups: []group{
			{packages: []string{"./sandbox/firecracker/kvm", "./sandbox/firecracker/fcapi", "./sandbox/firecracker/jail"}},
			{packages: []string{"./sandbox/firecracker"}, heart: suiteHeart},
			{packages: []string{"./runtimes/uniquetest"}, tests: []string{"TestClonesOfMachinesDrawDifferentValues"}},
		},
		prepare: func(in *inside) {
			in.firecracker()
			in.guest()
			in.suite()
			in.hostNode()
		},
	},
}

// hostNode has the comparison of copies take this host's Node, which is in the machine: there it can install none.
func (in *inside) hostNode() {
	out, err := exec.CommandContext(in.ctx, "node", "--version").Output()
	if err != nil {
		return // the comparison says what it lacks
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(string(out), "v"), ".")
	in.flags = append(in.flags, "-var", "THAW_UNIQUE_MACHINES=nodejs"+major+".x")
}

// suiteHeart are those cases of the suite of sandboxes that differ most on Firecracker. What is emulated inside of what is
// emulated takes long. Node, images and what copies draw come with the comparison of copies.
const suiteHeart = "^(TestSuite|TestSnapshots)$/^(an_event_goes_in_and_the_response_comes_out|freeze_stops_threads_and_timers,_thaw_lets_them_go_on|" +
	"out_of_memory_ends_the_runtime|nothing_is_left_behind|Go)$" +
	"/^(|a_copy_goes_on_where_the_snapshot_was_taken|round.*)$"

// suites are the suite of sandboxes and that of their snapshots.
var suites = []string{"TestSuite", "TestSnapshots"}

// mixed are tests of lanes in packages that belong to none.
var mixed = []string{"TestMicroVM", "TestClonesOfMachinesDrawDifferentValues"}

// covered are the packages of this host's lanes, whose other tests nobody else needs to run.
func covered() (all []string) {
	for _, l := range lanes {
		for _, g := range l.groups {
			if l.kind == "" && !slices.Equal(g.tests, mixed) {
				all = append(all, g.packages...)
			}
		}
	}
	return all
}

// firecracker puts the programs in that THAW_FIRECRACKER and THAW_JAILER name, and else those of the pinned release.
func (in *inside) firecracker() {
	own := install.Choice{Firecracker: os.Getenv("THAW_FIRECRACKER"), Jailer: os.Getenv("THAW_JAILER")}
	cache, err := os.UserCacheDir()
	if err != nil {
		in.fail(&missingError{err.Error()})
		return
	}
	dir := filepath.Join(cache, "thaw", "microvm")
	if own == (install.Choice{}) {
		if err := install.Packaged(in.ctx, dir, func(string) {}); err != nil {
			in.fail(&missingError{"no Firecracker: " + err.Error()})
			return
		}
	}
	found := install.Find(in.ctx, dir, own, "")
	if found.NoPrograms != nil {
		in.fail(&missingError{"no Firecracker: " + found.NoPrograms.Error()})
		return
	}
	for name, here := range map[string]string{"FIRECRACKER": found.Programs.Firecracker, "JAILER": found.Programs.Jailer} {
		there := "/test/" + strings.ToLower(name)
		in.file(here, there)
		in.flags = append(in.flags, "-var", "THAW_"+name+"="+there)
	}
}

// guest puts a kernel in where installed ones are.
func (in *inside) guest() {
	dir := filepath.Join(in.dir, "microvm")
	err := os.Mkdir(dir, 0o755)
	if err == nil {
		err = install.DebianKernel(in.ctx, dir, func(string) {})
	}
	if err != nil {
		in.fail(&missingError{"no kernel for guests: " + err.Error()})
	}
	in.file(dir, "/root/.cache/thaw/microvm")
}

// suite puts in what the suites of monitors and sandboxes build where there is Go, and what their functions run on.
func (in *inside) suite() {
	const there = "/test/programs"
	for _, pkg := range []string{"./sandbox/firecracker/vmm/vmmtest/agent", "./cmd/thaw-guest", "./sandbox/sandboxtest/bootstrap", "./sandbox/sandboxtest/snapshotfn"} {
		in.file(in.build(pkg), there+"/"+filepath.Base(pkg))
	}
	in.flags = append(in.flags, "-var", "THAW_TEST_PROGRAMS="+there)
	for _, tool := range []string{"mkfs.erofs", "mkfs.ext4", "debugfs", "node", "cp"} {
		in.program(tool)
	}
}
