// Package seccompfile is the form of the compiled seccomp filters that thaw-sandbox carries: written by gen, read by every sandbox.
package seccompfile

import (
	"bytes"
	"encoding/gob"
	"runtime/debug"

	"gvisor.dev/gvisor/pkg/seccomp/precompiledseccomp"
)

// File is one file's content.
type File struct {
	Gvisor   string // release that the filters were computed from
	Programs []precompiledseccomp.Program
}

// Gvisor is the release of gVisor that this program is built with, as go.mod has it; empty when the program does not know.
func Gvisor() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path != "gvisor.dev/gvisor" {
			continue
		}
		if m.Replace != nil {
			return m.Replace.Path + "@" + m.Replace.Version + " " + m.Replace.Sum
		}
		return m.Version + " " + m.Sum
	}
	return ""
}

// Encode is the reverse of Decode.
func Encode(f File) ([]byte, error) {
	var b bytes.Buffer
	err := gob.NewEncoder(&b).Encode(f)
	return b.Bytes(), err
}

// Decode returns nothing unless the file is whole and of this program's own release of gVisor: another's filters may allow what
// this one must not, or forbid what it needs.
func Decode(b []byte) []precompiledseccomp.Program {
	var f File
	if len(b) == 0 || gob.NewDecoder(bytes.NewReader(b)).Decode(&f) != nil || f.Gvisor == "" || f.Gvisor != Gvisor() {
		return nil
	}
	return f.Programs
}
