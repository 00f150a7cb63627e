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
