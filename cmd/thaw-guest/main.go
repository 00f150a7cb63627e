// Thaw-guest is PID 1 of every sandbox: it runs a function's runtime and talks to the thaw server on descriptor 3. It takes no arguments.
package main

import (
	"os"
	"runtime"

	"thaw/guest"
)

func init() { runtime.LockOSThread() }

func main() { os.Exit(guest.Main()) }
