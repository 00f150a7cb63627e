package main

import (
	"bytes"
	"encoding/gob"
	_ "unsafe" // for go:linkname

	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
	"gvisor.dev/gvisor/runsc/boot/filter"
)

// Every sandbox installs a seccomp filter before it runs a guest. The published gVisor module carries no compiled ones, so each
// sandbox would compile its own: 30 ms idle, three times that on a busy machine. seccomp_GOARCH.gob is the one that ours need,
// computed by gen. It is looked up by a key that spells out every option it depends on: when gVisor or an option has changed, the
// key differs, nothing is found, and the sandbox compiles.

//go:linkname precompiledPrograms gvisor.dev/gvisor/runsc/boot/filter.precompiledPrograms
var precompiledPrograms map[string]precompiledseccomp.Program

// loadSeccomp puts the compiled filter where gVisor looks for it. A damaged file is as good as none.
func loadSeccomp() {
	if len(seccompPrograms) == 0 {
		return
	}
	var ps []precompiledseccomp.Program
	if gob.NewDecoder(bytes.NewReader(seccompPrograms)).Decode(&ps) != nil {
		return
	}
	filter.GetPrecompiled("") // makes the map
	for _, p := range ps {
		precompiledPrograms[p.Name] = p
	}
}
