// Thaw-guest is PID 1 of every sandbox: it runs a function's runtime and talks to the thaw server on descriptor 3. A
// kernel that starts it gives it none: then it prepares the machine, which is its own, and talks by the machine's ports.
// It takes no arguments.
package main

import (
	"os"
	"runtime"

	"thaw/guest"
	"thaw/guest/machine"
)

func init() { runtime.LockOSThread() }

func main() {
	if machine.Wanted() {
		os.Exit(machine.Main())
	}
	os.Exit(guest.Main())
}
