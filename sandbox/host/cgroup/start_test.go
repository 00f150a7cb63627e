package cgroup

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// A program is born in the group, and no thread of its parent is there afterwards, whatever became of it.
func TestStartInAGroup(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("control groups need root")
	}
	for _, onlyV2 := range []bool{false, true} {
		c, err := Open(fmt.Sprintf("start%d%v", os.Getpid(), onlyV2), onlyV2)
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(c.RemoveParents)
		g, err := c.Make("one")
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sleep", "1000")
		undone := false
		in := func() (func() error, error) { return func() error { undone = true; return nil }, nil }
		if err := g.Start(cmd, in); err != nil || !undone {
			t.Fatal(err, undone)
		}
		for _, dir := range g.dirs() {
			if got := PIDs(dir); !slices.Equal(got, []int{cmd.Process.Pid}) {
				t.Errorf("%s holds %v, want %d", dir, got, cmd.Process.Pid)
			}
		}
		if err := g.Start(exec.Command("/none"), nil); !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
		refused := errors.New("refused")
		if err := g.Start(exec.Command("true"), func() (func() error, error) { return nil, refused }); !errors.Is(err, refused) {
			t.Error(err)
		}
		for _, dir := range g.dirs() {
			if b, err := os.ReadFile(filepath.Join(dir, "tasks")); err == nil && string(b) != fmt.Sprintln(cmd.Process.Pid) {
				t.Errorf("threads of %s: %q", dir, b)
			}
		}
		g.Kill()
		cmd.Wait()
		if err := g.Remove(); err != nil {
			t.Error(err)
		}
	}
}
