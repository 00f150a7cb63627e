package uniquetest

import (
	"os"
	"slices"
	"strings"
	"testing"

	"thaw/sandbox/firecracker/firecrackertest"
)

// machinesVar names the runtimes that are tried in machines, separated by commas, or is all. Without it one is, of which no client could do
// what the guest does for OpenSSL: machines are emulated here, and slow.
const machinesVar, machinesDefault = "THAW_UNIQUE_MACHINES", "nodejs22.x"

// In a machine nobody answers for the sandbox's kernel: its own generator is part of the snapshot, and OpenSSL cannot be told by getpid.
// Copies must differ all the same. E-130
func TestClonesOfMachinesDrawDifferentValues(t *testing.T) {
	chosen := os.Getenv(machinesVar)
	if chosen == "" {
		chosen = machinesDefault
	}
	type row struct{ identifier, handler, file string }
	rows := []row{
		{"nodejs18.x", "index.handler", "index.js"},
		{"nodejs20.x", "index.handler", "index.js"},
		{"nodejs22.x", "index.handler", "index.js"},
		{"nodejs24.x", "index.handler", "index.js"},
		{"python3.12", "app.handler", "app.py"},
		{"java17", "example.Draws::handle", "example/Draws.java"},
		{"java25", "example.Draws::handle", "example/Draws.java"},
		{"provided.al2023", "bootstrap", "bootstrap"},
	}
	for name := range strings.SplitSeq(chosen, ",") {
		if name != "all" && !slices.ContainsFunc(rows, func(r row) bool { return r.identifier == name }) {
			t.Fatalf("%s is %q, and %s is none of %v", machinesVar, chosen, name, rows)
		}
	}
	b := firecrackertest.Open(t, nil) // its kernel has no VMGENID: what makes copies differ is our own word alone
	for _, r := range rows {
		t.Run(r.identifier, func(t *testing.T) {
			if chosen != "all" && !strings.Contains(","+chosen+",", ","+r.identifier+",") {
				t.Skipf("%s=%s, or all, tries it", machinesVar, r.identifier)
			}
			f := function{plan: plan(t, r.identifier), handler: r.handler, task: taskOf(t, r.file)}
			if strings.HasPrefix(r.identifier, "java") {
				compile(t, f)
			}
			compare(t, b, f, clones(t, 2), "DRAW_BEFORE=1")
		})
	}
}
