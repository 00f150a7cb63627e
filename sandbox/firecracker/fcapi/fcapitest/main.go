package fcapitest

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"thaw/sandbox/firecracker/fcapi"
)

// DefaultVersion is what a fake program is that is just named firecracker.
const DefaultVersion = "1.12.1"

// IsProgram says whether this test's program runs as a fake Firecracker: it does when it is named firecracker, or
// firecracker-1.16.0 to be that release. A jailer hands down no environment, so the name must do.
func IsProgram() bool { return strings.HasPrefix(filepath.Base(os.Args[0]), "firecracker") }

// Main is the fake program. It ends as Firecracker does: when it is killed, or with status 1 after a failed load.
func Main() int {
	name := strings.TrimPrefix(filepath.Base(os.Args[0]), "firecracker")
	v, err := fcapi.ParseVersion(DefaultVersion)
	if name != "" {
		v, err = fcapi.ParseVersion(strings.TrimPrefix(name, "-"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	flags := flag.NewFlagSet("firecracker", flag.ExitOnError)
	printVersion := flags.Bool("version", false, "")
	socket := flags.String("api-sock", "run/firecracker.socket", "")
	for _, ignored := range []string{"id", "level", "start-time-us", "start-time-cpu-us", "parent-cpu-time-us"} {
		flags.String(ignored, "", "")
	}
	flags.Parse(os.Args[1:]) //nolint:errcheck // it exits
	if *printVersion {
		fmt.Printf("Firecracker v%v\n\n", v)
		return 0
	}
	dir, err := os.Getwd()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	f, err := Open(dir, *socket, v, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	<-f.Ended()
	f.Close()
	fmt.Fprintln(os.Stderr, "[fake:main] Firecracker exiting with error. exit_code=1")
	return 1
}
