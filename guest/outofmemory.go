package guest

import (
	"os"
	"strconv"
	"syscall"
)

// outOfMemory ends the runtime as the kernel would at the limit. Its exit says so, and how many processes there were.
func (g *Guest) outOfMemory() {
	g.mu.Lock()
	gen := g.gen
	kills := g.place.kills()
	news := kills > g.kills
	g.kills = kills
	g.mu.Unlock()
	if gen == nil || news {
		return // the kernel has killed already, perhaps processes of an earlier generation
	}
	processes := g.others()
	gen.mu.Lock()
	if !gen.oom {
		gen.oom, gen.processes = true, processes
	}
	gen.mu.Unlock()
	g.procs.signalGroup(syscall.SIGKILL)
}

// others counts the processes that are not the guest's own; 0: it cannot be told.
func (g *Guest) others() (n int) {
	if !g.asPID1 || g.place.machine() { // there the kernel's own are in /proc, too
		return 0
	}
	f, err := os.Open("/proc")
	if err != nil {
		return 0
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return 0
	}
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 1 {
			n++
		}
	}
	return n
}
