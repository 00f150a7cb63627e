package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"thaw/internal/outer"
	"thaw/sandbox/firecracker/install"
)

// lanes are all there are, in the order in which they run.
var lanes = []lane{
	{
		// The server with its gVisor backend under the kernel of a stock Debian 12.
		name: "cgroup-v2", kind: outer.CgroupV2,
		packages: []string{"./internal/outer/cgroupv2", "./sandbox/host/cgroup"},
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
		packages: []string{"./sandbox/firecracker/kvm", "./sandbox/firecracker/fcapi"},
		prepare: func(in *inside) {
			in.firecracker()
		},
	},
	{
		// Machines in it, and sandboxes in them.
		name: "firecracker", kind: outer.Nested, packages: []string{"./sandbox/firecracker/jail", "./internal/outer/nested"},
		prepare: func(in *inside) {
			in.firecracker()
			in.suite()
		},
	},
}

// suitePrograms are what the suite of sandboxes is about, and suiteTools what images are made with.
var (
	suitePrograms = []string{"./sandbox/firecracker/vmm/vmmtest/agent", "./cmd/thaw-guest", "./sandbox/sandboxtest/bootstrap", "./sandbox/sandboxtest/snapshotfn"}
	suiteTools    = []string{"mkfs.erofs", "mkfs.ext4", "debugfs", "node"}
)

// suite puts in what the suite of sandboxes needs, where there is no Go to build it with, and the kernel of its machines.
func (in *inside) suite() {
	const there = "/test/programs"
	for _, pkg := range suitePrograms {
		in.file(in.build(pkg), there+"/"+filepath.Base(pkg))
	}
	in.flags = append(in.flags, "-var", "THAW_TEST_PROGRAMS="+there)
	for _, tool := range suiteTools {
		in.program(tool)
	}
	in.kernel()
}

// kernel puts in the kernel for guests, where the install package finds it.
func (in *inside) kernel() {
	cache, err := os.UserCacheDir()
	if err != nil {
		in.fail(&missingError{err.Error()})
		return
	}
	dir := filepath.Join(cache, "thaw", "microvm")
	if err := install.DebianKernel(in.ctx, dir, func(string) {}); err != nil {
		in.fail(&missingError{"no kernel for guests: " + err.Error()})
		return
	}
	in.file(dir, "/root/.cache/thaw/microvm")
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
