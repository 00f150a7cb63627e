package proctree

import (
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestDescendants(t *testing.T) {
	cmd := exec.Command("sh", "-c", "sh -c 'sleep 1000 & echo $!; wait' & echo $!; wait")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	buf := make([]byte, 100)
	for strings.Count(text.String(), "\n") < 2 {
		n, err := out.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(buf[:n])
	}
	want := []int{cmd.Process.Pid}
	for _, f := range strings.Fields(text.String()) {
		pid, _ := strconv.Atoi(f)
		want = append(want, pid)
	}
	slices.Sort(want)
	for name, find := range map[string]func(int, []int) []int{"by children": Descendants, "by parents": slow} {
		got := find(os.Getpid(), nil)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	if s := State(want[0]); s != 'S' && s != 'R' {
		t.Errorf("state of a sleeper: %c", s)
	}
	for _, pid := range want {
		p, _ := os.FindProcess(pid)
		p.Kill()
	}
	cmd.Wait()
	for deadline := time.Now().Add(10 * time.Second); State(cmd.Process.Pid) != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a process that was waited for has a state")
		}
	}
	if got := Descendants(cmd.Process.Pid, nil); len(got) != 0 {
		t.Errorf("descendants of nobody: %v", got)
	}
}
