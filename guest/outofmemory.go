package guest

import (
	"fmt"
	"os"
	"strconv"
	"syscall"

	"thaw/guest/wire"
)

// outOfMemory ends the runtime as the kernel would at the limit. The log says what was there: the exit of a runtime
// that was killed does not.
func (g *Guest) outOfMemory(m wire.OutOfMemory) {
	g.mu.Lock()
	gen := g.gen
	g.mu.Unlock()
	if gen == nil {
		return
	}
	gen.mu.Lock()
	again := gen.oom
	gen.oom = true
	gen.mu.Unlock()
	if m.LimitMiB > 0 && !again {
		gen.out.say(outOfMemoryLine(m, g.others())) // its exit takes the line along
	}
	g.procs.signalGroup(syscall.SIGKILL)
}

func outOfMemoryLine(m wire.OutOfMemory, processes int) string {
	who := "its process"
	if processes > 1 {
		who = fmt.Sprintf("its %d processes", processes)
	}
	line := fmt.Sprintf("[thaw] Out of memory: the function has %d MB, %s held %d MB, and the runtime was killed.", m.LimitMiB, who, m.HeldBytes>>20)
	if processes > 1 {
		line += " A forked child has a copy of each page that it or its parent has written to since."
	}
	return line
}

// others counts the processes that are not the guest's own; 0: it cannot be told.
func (g *Guest) others() (n int) {
	if !g.asPID1 {
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
