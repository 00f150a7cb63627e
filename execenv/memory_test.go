package execenv

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"thaw/function"
	"thaw/guest/wire"
)

type lines []string

func (l *lines) Append(_ time.Time, text string)      { *l = append(*l, text) }
func (l *lines) AppendLines(_ time.Time, text string) { *l = append(*l, text) }
func (l *lines) Room() <-chan struct{}                { return nil }

// At the memory limit it is the limit that ended the runtime, and the log says what was there, whatever the kernel's last
// word to the process was and whoever was heard first. What dies below the limit dies by itself. E-073
func TestExitAtTheMemoryLimit(t *testing.T) {
	t.Parallel()
	segfault := wire.Exited{Code: -1, Signal: int(syscall.SIGSEGV)}
	for _, c := range []struct {
		name       string
		told, read bool // the driver was told of the limit before the exit; it was reached before the exit, and is read after it
		exit       wire.Exited
		killed     bool
		processes  string
	}{
		{name: "the guest killed it", told: true, exit: wire.Exited{OutOfMemory: true, Processes: 7, Code: -1, Signal: 9}, killed: true, processes: "its 7 processes"},
		{name: "it had no page before the guest looked", told: true, exit: segfault, killed: true, processes: "its processes"},
		{name: "it had no page when the guest looked", told: true, exit: wire.Exited{OutOfMemory: true, Processes: 1, Code: -1, Signal: 11}, killed: true, processes: "its process"},
		{name: "its exit is read first", read: true, exit: wire.Exited{Code: 134}, killed: true, processes: "its processes"},
		{name: "below the limit", exit: segfault},
		{name: "an extension at the limit", told: true, exit: wire.Exited{Extension: "x", Code: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log lines
			limit := make(chan struct{}, 1)
			d := &driver{o: Options{Version: &function.Version{MemoryMiB: 128}, Sink: &log}, link: link{memory: limit}}
			if c.told {
				d.killForMemory()
			}
			if c.read {
				limit <- struct{}{}
			}
			got := c.exit
			d.processExited(&got)
			if !c.killed {
				if got != c.exit || len(log) > 0 {
					t.Errorf("it became %+v, and the log %q", got, log)
				}
				return
			}
			if !got.OutOfMemory || got.Reason() != "Runtime exited with error: signal: killed" {
				t.Errorf("it became %+v: %s", got, got.Reason())
			}
			if all := strings.Join(log, ""); !strings.HasPrefix(all, "[thaw] Out of memory: the function has 128 MB, "+c.processes+" held 128 MB, and the runtime was killed.") || len(log) != 1 {
				t.Errorf("the log is %q", log)
			}
		})
	}
}
