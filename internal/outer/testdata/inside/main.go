// Inside is the program of the tests of package outer: it says what it finds in the machine, and ends with a code.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

func main() {
	dir, _ := os.Getwd()
	fmt.Println(os.Getuid(), dir, os.Args[1:], os.Getenv("GIVEN"), os.Getenv("THAW_OUTER_MACHINE"))
	for _, name := range []string{"/given/file", "/proc/self/cgroup", "testdata/inside/main.go"} {
		b, err := os.ReadFile(name)
		fmt.Println(strings.SplitN(string(b), "\n", 2)[0], err)
	}
	root := ""
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); f[1] == "/" {
			root = f[2]
		}
	}
	fmt.Println("root", root)
	os.WriteFile("/tmp/report", []byte(strings.Repeat("r", 100_000)), 0o644)
	code, _ := strconv.Atoi(os.Args[1])
	os.Exit(code)
}
