// Firecracker is a fake one, as a program: see package fcapitest.
package main

import (
	"os"

	"thaw/sandbox/firecracker/fcapi/fcapitest"
)

func main() { os.Exit(fcapitest.Main()) }
