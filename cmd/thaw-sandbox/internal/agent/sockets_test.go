package agent

import (
	"os"
	"slices"
	"testing"
)

func TestTakeSockets(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	old := os.Args
	defer func() { os.Args = old }()
	t.Run("the run before the last leaves everything", func(t *testing.T) {
		os.Args = []string{"runsc-sandbox", "boot", "--setup-root", "--pass-fd=77:1000", "id"}
		want := slices.Clone(os.Args)
		if f := takeSockets(); f != nil || !slices.Equal(os.Args, want) {
			t.Errorf("%v %q", f, os.Args)
		}
	})
	t.Run("none was given", func(t *testing.T) {
		os.Args = []string{"runsc-sandbox", "boot", "--setup-root=false", "id"}
		if f := takeSockets(); len(f) > 0 || len(os.Args) != 4 {
			t.Errorf("%v %q", f, os.Args)
		}
	})
}
