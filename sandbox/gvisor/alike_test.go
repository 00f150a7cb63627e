package gvisor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"thaw/sandbox"
)

// Snapshots of one program, each made in a sandbox of its own, have most of their kernels in common: what further versions take depends on it. As gVisor saves them,
// it is 55 %. Some of them differ in what they hold, so that only the two count that have most in common.
func TestSavedKernelsAreAlike(t *testing.T) {
	b := open(t, nil)
	const window = 16
	var kernels [][]byte
	best := 0.0
	for i := range 3 {
		g := create(t, b, sandbox.Spec{ID: sandbox.ID(fmt.Sprint("original-", i))})
		g.must("echo alive")
		d := folder(t.TempDir())
		if err := g.Checkpoint(testContext(t), d); err != nil {
			t.Fatal(err)
		}
		if got := restored(t, b, fmt.Sprint("copy-", i), d).must("echo alive"); got != "echo alive" {
			t.Errorf("a copy says %q", got)
		}
		state, err := os.ReadFile(filepath.Join(string(d), partState))
		if err != nil {
			t.Fatal(err)
		}
		_, kernel, _ := bytes.Cut(state, []byte{'}'})
		there := map[string]bool{}
		for i := range len(kernel) - window {
			there[string(kernel[i:i+window])] = true
		}
		for _, k := range kernels {
			found := 0
			for i := range len(k) - window {
				if there[string(k[i:i+window])] {
					found++
				}
			}
			best = max(best, float64(found)/float64(len(k)))
		}
		kernels = append(kernels, kernel)
	}
	if best < 0.67 {
		t.Errorf("saved kernels have %.0f %% of their bytes in common", 100*best)
	}
}
