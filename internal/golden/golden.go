// Package golden compares what a test produced with a file that a reviewer has read. `go test -update` writes the file.
package golden

import (
	"flag"
	"fmt"
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

// Moves compares every move of a state machine with the file, a line each: for all states and events below these. It
// holds that what is refused leaves the state as it is and does nothing.
func Moves[S, E interface {
	~uint8
	fmt.Stringer
}, A any](t testing.TB, file string, states S, events E, next func(S, E) (S, []A, error)) {
	t.Helper()
	var table strings.Builder
	for s := range states {
		for e := range events {
			to, do, err := next(s, e)
			refused := ""
			if err != nil {
				refused = " refused"
				if to != s || len(do) > 0 {
					t.Errorf("%v + %v was refused yet did something", s, e)
				}
			}
			fmt.Fprintf(&table, "%v + %v -> %v %v%s\n", s, e, to, do, refused)
		}
	}
	Equal(t, file, table.String())
}
