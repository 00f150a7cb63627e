package runtimes

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strings"
)

// stateOf describes the files at paths as they are now, cheaply: one stat each.
func stateOf(paths []string) string {
	var b strings.Builder
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			fmt.Fprintf(&b, "%s gone\n", p)
			continue
		}
		fmt.Fprintf(&b, "%s %v %d %d\n", p, info.Mode(), info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}

// identity is the hash of everything that decides what a process of this runtime is made of. A snapshot maps files of read-only
// mounts anew when it is restored and does not look at their contents: a changed libc would go unnoticed, were it not in here.
func identity(p parts, state string) string {
	h := sha256.New()
	fmt.Fprintln(h, "identity 1", p.plan.Identifier, p.plan.Argv, p.plan.SnapStartArgv, p.plan.Candidates, p.interpreterVersion, p.clientVersion)
	for _, m := range p.plan.Mounts {
		fmt.Fprintln(h, m.Source, m.Target)
	}
	for _, vars := range []map[string]string{p.plan.Vars, p.plan.Reserved} {
		keys := make([]string, 0, len(vars))
		for k := range vars {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		for _, k := range keys {
			fmt.Fprintln(h, k, vars[k])
		}
	}
	fmt.Fprint(h, state)
	return hex.EncodeToString(h.Sum(nil))
}
