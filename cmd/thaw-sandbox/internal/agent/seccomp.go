package agent

import (
	"maps"
	"slices"
	_ "unsafe" // for go:linkname

	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
	"gvisor.dev/gvisor/runsc/boot/filter"

	"thaw/cmd/thaw-sandbox/internal/agent/seccompfile"
)

// Every sandbox installs a seccomp filter before it runs a guest. The published gVisor module carries no compiled ones, so each
// sandbox would compile its own: 30 ms idle, three times that on a busy machine. seccomp_GOARCH.gob has the ones that ours need,
// computed by gen. They are of use to the very release of gVisor that they were computed from only (seccompfile checks), and are looked up by
// a key that spells out every option they depend on. Where either differs, the sandbox compiles.

//go:linkname precompiledPrograms gvisor.dev/gvisor/runsc/boot/filter.precompiledPrograms
var precompiledPrograms map[string]precompiledseccomp.Program

// loadSeccomp puts the compiled filters where gVisor looks for them.
func loadSeccomp() {
	programs := seccompfile.Decode(seccompPrograms)
	if len(programs) == 0 {
		return
	}
	filter.GetPrecompiled("") // makes the map
	for _, p := range programs {
		precompiledPrograms[p.Name] = p
	}
}

// Filters are the names of the compiled filters that are in use.
func Filters() []string {
	loadSeccomp()
	return slices.Sorted(maps.Keys(precompiledPrograms))
}
