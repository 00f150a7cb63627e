// Package golden compares what a test produced with a file that a reviewer has read. `go test -update` writes the file.
package golden

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files instead of comparing with them")

// Equal fails the test when got differs from the file, and names the first line that does.
func Equal(t testing.TB, file, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (make it with: go test -run '^%s$' -update)", err, t.Name())
	}
	if string(b) == got {
		return
	}
	want, have := strings.Split(string(b), "\n"), strings.Split(got, "\n")
	for i := range max(len(want), len(have)) {
		w, h := "(end)", "(end)"
		if i < len(want) {
			w = want[i]
		}
		if i < len(have) {
			h = have[i]
		}
		if w != h {
			t.Fatalf("%s:%d\n  want %s\n  got  %s\n(if the change is meant: go test -run '^%s$' -update)", file, i+1, w, h, t.Name())
		}
	}
}
