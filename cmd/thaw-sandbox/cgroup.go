package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// enter puts the calling thread into cgroups of version 1, so that what it forks is born there.
func enter(tasks []string) error {
	for _, t := range tasks {
		if err := os.WriteFile(t, []byte("0"), 0); err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
	}
	return nil
}

// moveAll puts every process of the cgroup of version 1 into that of version 2, which a thread cannot enter alone. New ones are born into
// both, so it is done when a pass finds nobody outside.
func moveAll(tasks []string, procs string) error {
	if len(tasks) == 0 {
		return nil
	}
	from := filepath.Join(filepath.Dir(tasks[0]), "cgroup.procs")
	moved := make(map[string]bool)
	for {
		b, err := os.ReadFile(from)
		if err != nil {
			return fmt.Errorf("processes of the sandbox: %w", err)
		}
		news := false
		for _, pid := range strings.Fields(string(b)) {
			if moved[pid] {
				continue
			}
			moved[pid], news = true, true
			// One that has ended meanwhile is no error.
			_ = os.WriteFile(procs, []byte(pid), 0)
		}
		if !news {
			return nil
		}
	}
}
