package launcher

import (
	"fmt"
	"os"
	"strconv"
)

// enter puts this process into cgroups, so that what it forks is born there. All of it, though only one thread forks: gVisor's library chooses
// the thread, and version 2 does not part threads.
func enter(procs []string) error {
	me := []byte(strconv.Itoa(os.Getpid()))
	for _, p := range procs {
		if err := os.WriteFile(p, me, 0); err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
	}
	return nil
}
