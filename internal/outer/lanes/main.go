// Lanes runs the tests that need what many hosts lack, each group of them (a lane) where it can be had: on this host, or in
// an outer machine (package outer). Each lane ends with one line, also when it could run nothing:
//
//	lane NAME: N ran, M skipped (REASON: K; ...)
//	lane NAME: skipped: REASON
//
// A lane that lacks a package is skipped. A test that fails in one makes the exit code 1.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

func main() {
	runtime.LockOSThread() // children end with the thread that started them
	flags := flag.String("flags", "", "further flags of go test for lanes of this host, such as -race")
	verbose := flag.Bool("v", false, "print what passing tests print, too")
	whole := flag.Bool("whole", false, "run all cases of suites, not the heart of them alone; "+allVar+"=1 has what they make smaller for slow machines, too")
	list := flag.Bool("list", false, "print the packages whose tests all run in lanes of this host, then a pattern of the tests of others that do")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: lanes [flags] [NAME...], of %s\n", strings.Join(names(), ", "))
		flag.PrintDefaults()
	}
	flag.Parse()
	if *list {
		fmt.Printf("%s\n%s\n", strings.ReplaceAll(strings.Join(covered(), " "), "./", "thaw/"), pattern(mixed))
		return
	}
	chosen := flag.Args()
	if len(chosen) == 0 {
		chosen = names()
	}
	for _, name := range chosen {
		if !slices.Contains(names(), name) {
			flag.Usage()
			os.Exit(2)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed := false
	for _, l := range lanes {
		if !slices.Contains(chosen, l.name) {
			continue
		}
		r := &results{out: os.Stdout, verbose: *verbose}
		err := l.run(ctx, strings.Fields(*flags), *whole, r)
		failed = failed || r.failed() || err != nil && !errors.As(err, new(*missingError))
		fmt.Printf("lane %s: %s\n", l.name, r.line(err))
	}
	if failed {
		os.Exit(1)
	}
}

func names() (all []string) {
	for _, l := range lanes {
		all = append(all, l.name)
	}
	return all
}
