// Command thaw-sandbox is the program behind every gVisor sandbox. The server writes it into its data folder and runs it as its launcher
// (see package launch); everything else it does is asked for by gVisor itself, which runs its own program again under other names:
//
//	thaw-sandbox launch   the launcher (internal/launcher)
//	thaw-sandbox rewrite  reads what a sandbox has saved (internal/rewriter)
//	runsc-sandbox         the user-space kernel of one sandbox, with an agent of ours in it (internal/agent)
//	runsc-gofer           the file server of one sandbox
//	/proc/self/exe        a helper of runsc-sandbox that unmounts /proc
//
// So a file's place says in which of these processes it runs. What they share is in internal/statefile, the form of a
// snapshot; internal/agent/calls, what the launcher asks of an agent; and internal/descriptors.
//
// It is a program of its own, not a face of the server, because starting it is paid three times for a sandbox: it links only what gVisor needs.
package main

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"gvisor.dev/gvisor/runsc/cli"
	"gvisor.dev/gvisor/runsc/cmd"
	"gvisor.dev/gvisor/runsc/cmd/sentry/sentrycmd"
	"gvisor.dev/gvisor/runsc/cmd/util"

	"thaw/cmd/thaw-sandbox/internal/agent"
	"thaw/cmd/thaw-sandbox/internal/descriptors"
	"thaw/cmd/thaw-sandbox/internal/launcher"
	"thaw/cmd/thaw-sandbox/internal/rewriter"
)

func main() {
	runtime.MemProfileRate = 0 // nobody asks for a profile, and what it keeps lies scattered over many pages
	switch os.Args[0] {
	case "runsc-sandbox":
		descriptors.CloseStrays()
		if err := agent.Install(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		runGvisor()
	case "runsc-gofer":
		descriptors.CloseStrays()
		debug.SetGCPercent(agent.GCPercent)
		time.AfterFunc(goferTrim, debug.FreeOSMemory) // what only its start needed
		runGvisor()
	case "/proc/self/exe":
		runGvisor()
	}
	if len(os.Args) > 1 && os.Args[1] == "rewrite" {
		rewriter.Main(os.Args[2:])
		return
	}
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case "launch":
			launcher.Main()
			return
		case "filters": // which compiled seccomp filters are in use; for tests and the curious
			for _, name := range agent.Filters() {
				fmt.Println(name)
			}
			return
		}
	}
	fmt.Fprintln(os.Stderr, "thaw-sandbox is run by thaw server, not by hand")
	os.Exit(2)
}

// goferTrim is when a file server has started, on all but the busiest machines. It may come twice: the first run of the program ends in the second.
const goferTrim = 700 * time.Millisecond

// runGvisor hands over to gVisor's own command line, with the three commands that it runs itself. It does not return.
func runGvisor() {
	cli.Run(nil, map[util.SubCommand]string{
		new(sentrycmd.Boot):   "",
		new(cmd.Gofer):        "",
		new(sentrycmd.Umount): "",
	}, nil)
	os.Exit(128)
}
